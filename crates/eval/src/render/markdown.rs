//! A document as Markdown.

use super::document::{Alignment, Block, Column, Document, Item, Span, Table, Text};

/// Blocks with a blank line between them.
pub(super) fn render(document: &Document) -> String {
    document.blocks.iter().map(block).collect::<Vec<_>>().join("\n\n") + "\n"
}

fn block(block: &Block) -> String {
    match block {
        Block::Heading { level, text } => format!("{} {}", "#".repeat(usize::from(*level)), words(text)),
        Block::Paragraph(text) => words(text),
        Block::List(items) => items.iter().map(item).collect::<Vec<_>>().join("\n"),
        Block::Table(content) | Block::ArmTable { table: content, .. } => table(content),
        Block::Figure(figure) => {
            // An indented block needs no fence that a label could break out of.
            let plot = figure.plot.lines().into_iter().map(|line| format!("    {line}"));
            [words(&figure.caption), String::new()].into_iter().chain(plot).collect::<Vec<_>>().join("\n")
        }
    }
}

/// The verbatim lines are an indented block, which needs no fence that a log could break out of.
fn item(item: &Item) -> String {
    let verbatim: String = item.verbatim.iter().map(|line| format!("\n      {line}")).collect();
    let blank = if verbatim.is_empty() { "" } else { "\n" };
    format!("- {}{blank}{verbatim}", words(&item.text))
}

fn words(text: &Text) -> String {
    let words = |span: &Span| match span {
        Span::Plain(words) => one_line(words),
        Span::Emphasis(words) => format!("*{}*", one_line(words)),
        Span::Strong(words) => format!("**{}**", one_line(words)),
        Span::Code(name) => format!("`{}`", one_line(name)),
    };
    text.0.iter().map(words).collect()
}

/// A line break would end a title, an item or a row.
fn one_line(words: &str) -> String {
    words.replace(['\n', '\r'], " ")
}

fn table(content: &Table) -> String {
    let cell = |words: &String| one_line(words).replace('|', "\\|");
    let titles: Vec<String> = content.columns.iter().map(|column| cell(&column.title)).collect();
    let rows: Vec<Vec<String>> = content.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().chain([&titles]).filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width).collect();
    let columns = || content.columns.iter().zip(&widths);
    let line = |row: &Vec<String>| {
        let padded = columns().zip(row).map(|((column, width), cell)| pad(column, *width, cell));
        format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<String> = columns().map(|(column, width)| rule(column, *width)).collect();
    let mut lines = vec![line(&titles), format!("|{}|", rule.join("|"))];
    lines.extend(rows.iter().map(line));
    lines.join("\n")
}

fn pad(column: &Column, width: usize, cell: &str) -> String {
    match column.alignment {
        Alignment::Left => format!("{cell:width$}"),
        Alignment::Right => format!("{cell:>width$}"),
    }
}

/// What lies below a title, as wide as cells with a blank on either side.
fn rule(column: &Column, width: usize) -> String {
    match column.alignment {
        Alignment::Left => "-".repeat(width + 2),
        Alignment::Right => "-".repeat(width + 1) + ":",
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Dot, Figure, Plot};
    use super::*;

    #[test]
    fn every_block_has_a_form() {
        let mut document = Document::default();
        let text = Text::default().strong("Yes").plain(", by ").emphasis("much").plain(": ").code("a.md");
        let log = Item { text: "**failed**".into(), verbatim: vec!["```".into()] };
        let columns = vec![Column::left("arm"), Column::right("n")];
        let rows = vec![vec!["a|b\nc".into(), "10".into()]];
        let dot = Dot { label: "N = 1".into(), value: 1.0, shown: "1".into() };
        let figure = Figure { caption: "One.".into(), plot: Plot::Dots(vec![dot]) };
        document.heading(1, "T").paragraph(text).list([log, "end".into()]);
        document.table(Table { columns, rows }).figure(figure);
        insta::assert_snapshot!(document.to_markdown());
    }
}
