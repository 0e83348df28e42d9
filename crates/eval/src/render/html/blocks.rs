//! The blocks of a document as HTML. Everything that is words is escaped by the templates.

use maud::{Markup, html};

use super::bars::Bars;
use crate::render::{Alignment, ArmRow, Block, Column, Figure, Item, Span, Table, Text};

/// A list of more characters is folded.
const LONG: usize = 3_000;

/// Blocks in reading order. A title is an anchor of its words.
pub(super) fn blocks(blocks: &[Block]) -> Markup {
    html! { @for block in blocks { (block_markup(block)) } }
}

fn block_markup(block: &Block) -> Markup {
    match block {
        Block::Heading { level: 1, text } => html! { h1 { (words(text)) } },
        Block::Heading { text, .. } => html! {
            h2 id=(anchor(text)) { (words(text)) " " a.anchor href={ "#" (anchor(text)) } aria-label="link to this section" { "#" } }
        },
        Block::Paragraph(text) => html! { p { (words(text)) } },
        Block::List(items) if is_long(items) => html! {
            details { summary { "Show all " (items.len()) } (list(items)) }
        },
        Block::List(items) => list(items),
        Block::Table(content) => table(content, &[]),
        Block::ArmTable { table: content, rows } => table(content, rows),
        Block::Figure(figure) => plain(figure),
    }
}

fn is_long(items: &[Item]) -> bool {
    items.iter().map(|item| item.text.words().len()).sum::<usize>() > LONG
}

fn list(items: &[Item]) -> Markup {
    html! {
        ul { @for item in items { li {
            (words(&item.text))
            @if !item.verbatim.is_empty() { pre { (item.verbatim.join("\n")) } }
        } } }
    }
}

/// A plot in plain text, for readers without a script: with one, a chart shows the same.
fn plain(figure: &Figure) -> Markup {
    html! {
        figure.plain { figcaption { (words(&figure.caption)) } pre { (figure.plot.lines().join("\n")) } }
    }
}

/// Words with their marks.
fn words(text: &Text) -> Markup {
    html! {
        @for span in &text.0 {
            @match span {
                Span::Plain(words) => (words),
                Span::Emphasis(words) => em { (words) },
                Span::Strong(words) => strong { (words) },
                Span::Code(name) => code { (name) },
            }
        }
    }
}

/// Of `rows`, where there are some, each is marked with its arm, and with intervals there is a column of bars behind the first.
fn table(content: &Table, rows: &[ArmRow]) -> Markup {
    let Bars { bars, caption } = Bars::of(rows);
    html! {
        div.scroll { table {
            thead { tr {
                @for (at, column) in content.columns.iter().enumerate() {
                    th scope="col" class=(side(column)) { (column.title) }
                    @if at == 0 && !bars.is_empty() { th.unsorted scope="col" { "gain against what GO needs" } }
                }
            } }
            tbody {
                @for (at, cells) in content.rows.iter().enumerate() {
                    tr data-arm=[rows.get(at).map(|row| &row.arm)] {
                        @for (place, (column, cell)) in content.columns.iter().zip(cells).enumerate() {
                            td class=(side(column)) { (cell) }
                            @if let (0, Some(bar)) = (place, bars.get(at)) { td { (bar) } }
                        }
                    }
                }
            }
        } }
        @if let Some(caption) = caption { p { (caption) } }
    }
}

fn side(column: &Column) -> &'static str {
    match column.alignment {
        Alignment::Left => "words",
        Alignment::Right => "number",
    }
}

/// The words of a title as an address: letters and digits, in lower case, joined by `-`.
pub(super) fn anchor(title: &Text) -> String {
    let title = title.words().to_lowercase();
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{Document, Dot, Plot};

    #[test]
    fn every_block_has_a_form() {
        let mut document = Document::default();
        let text =
            Text::default().strong("Yes").plain(", by <b>").emphasis("much").plain(": ").code("a&b.md");
        let log = Item { text: "<failed>".into(), verbatim: vec!["</pre>".into(), "end".into()] };
        let columns = vec![Column::left("arm"), Column::right("n")];
        let table = Table { columns, rows: vec![vec!["a<b".into(), "10".into()]] };
        let dot = Dot { label: "N = 1".into(), value: 1.0, shown: "1".into() };
        let figure = Figure { caption: "One.".into(), plot: Plot::Dots(vec![dot]) };
        document.heading(1, "T").heading(2, "Does it <pay>?").paragraph(text).list([log]);
        document
            .table(table.clone())
            .arm_table(table, ["a<b"])
            .figure(figure)
            .list(["long ".repeat(LONG / 4)]);
        insta::assert_snapshot!(
            blocks(&document.blocks).0.replace(&"long ".repeat(LONG / 4), "…").replace("><", ">\n<")
        );
    }
}
