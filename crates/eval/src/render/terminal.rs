//! A document for a terminal.

use comfy_table::{CellAlignment, ContentArrangement, presets};

use super::document::{Alignment, Block, Document, Item, Table};

/// Blocks below one another, a blank line above each title but the first.
pub(super) fn render(document: &Document) -> String {
    let lines = document.blocks.iter().enumerate().flat_map(|(at, block)| {
        let blank = at > 0 && matches!(block, Block::Heading { .. });
        blank.then(String::new).into_iter().chain(lines(block))
    });
    lines.map(|line| line + "\n").collect()
}

fn lines(block: &Block) -> Vec<String> {
    match block {
        Block::Heading { text, .. } | Block::Paragraph(text) => vec![text.words()],
        Block::List(items) => items.iter().flat_map(item).collect(),
        Block::Table(content) | Block::ArmTable { table: content, .. } => vec![table(content)],
        Block::Figure(figure) => {
            let plot = figure.plot.lines().into_iter().map(|line| format!("  {line}"));
            std::iter::once(figure.caption.words()).chain(plot).collect()
        }
    }
}

fn item(item: &Item) -> Vec<String> {
    let verbatim = item.verbatim.iter().map(|line| format!("    {line}"));
    std::iter::once(format!("- {}", item.text.words())).chain(verbatim).collect()
}

fn table(content: &Table) -> String {
    let mut table = comfy_table::Table::new();
    let titles = content.columns.iter().map(|column| &column.title);
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(titles).add_rows(&content.rows);
    for (shown, column) in table.column_iter_mut().zip(&content.columns) {
        if column.alignment == Alignment::Right {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::document::{Column, Item, Text};
    use super::*;

    #[test]
    fn marks_are_dropped_and_titles_stand_apart() {
        let mut document = Document::default();
        let text = Text::default().strong("Yes").plain(", by ").emphasis("much").plain(": ").code("a.md");
        let log = Item { text: "FAILED".into(), verbatim: vec!["boom".into()] };
        let table = Table { columns: vec![Column::left("arm")], rows: vec![vec!["a|b".into()]] };
        document.heading(1, "T").paragraph(text).list([log]).heading(2, "S").table(table);
        let text = document.to_terminal();
        assert!(text.starts_with("T\nYes, by much: a.md\n- FAILED\n    boom\n\nS\n┌"), "{text}");
        assert!(text.contains("│ a|b │"), "{text}");
    }
}
