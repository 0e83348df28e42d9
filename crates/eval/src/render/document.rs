//! What is printed: blocks of data. Each renderer lays them out in its own way.

use moelt_schema::Metric;

use super::{figure::Figure, markdown, terminal};
use crate::Interval;

/// A document: blocks in reading order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// The blocks.
    pub blocks: Vec<Block>,
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// A title.
    Heading {
        /// 1 for the document's own title, 2 for a section.
        level: u8,
        /// Its words.
        text: Text,
    },
    /// Sentences.
    Paragraph(Text),
    /// Items without an order.
    List(Vec<Item>),
    /// Rows and columns.
    Table(Table),
    /// The same where every row is about an arm.
    ArmTable {
        /// What is shown.
        table: Table,
        /// What each of its rows is about.
        rows: Vec<ArmRow>,
    },
    /// A plot with its caption.
    Figure(Figure),
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its sentences.
    pub text: Text,
    /// Lines that are shown below it as they are: the end of a log.
    pub verbatim: Vec<String>,
}

/// A text in pieces that look different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub Vec<Span>);

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// Plain words.
    Plain(String),
    /// Words with a stress, such as the name of a column.
    Emphasis(String),
    /// Words that the eye should find first.
    Strong(String),
    /// A name that a program knows, such as a file.
    Code(String),
}

/// Rows and columns. Every row has as many cells as there are columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Titles and alignments.
    pub columns: Vec<Column>,
    /// The cells, row by row.
    pub rows: Vec<Vec<String>>,
}

/// What a row is about, for a form that can do more with it than show words: hide an arm, draw an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmRow {
    /// The arm's name.
    pub arm: String,
    /// The gain that the row tells of, if it does.
    pub gain: Option<Gain>,
}

/// A gain with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// What it is a gain in: gains of one metric are drawn on one axis.
    pub metric: Metric,
    /// The gain, in the unit of the metric.
    pub value: f64,
    /// Its interval.
    pub interval: Interval,
    /// What the lower bound must exceed for GO.
    pub go_above: f64,
}

/// The head of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it shows.
    pub title: String,
    /// On which side its cells begin.
    pub alignment: Alignment,
}

/// Where cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alignment {
    /// For words.
    Left,
    /// For numbers.
    Right,
}

impl Document {
    /// For a terminal; ends with a line break. Tables wrap when standard output is a narrow terminal.
    ///
    /// ```
    /// use moelt_eval::render::{Column, Document, Table};
    /// let columns = vec![Column::left("arm"), Column::right("accuracy %")];
    /// let table = Table { columns, rows: vec![vec!["dense".into(), "81.98".into()]] };
    /// let mut document = Document::default();
    /// document.heading(1, "Arms").table(table).paragraph("On 20,000 texts.");
    /// assert!(document.to_terminal().contains("│ dense ┆      81.98 │"));
    /// assert!(document.to_markdown().starts_with("# Arms\n\n| arm   | accuracy % |\n|-------|-----------:|\n"));
    /// ```
    pub fn to_terminal(&self) -> String {
        terminal::render(self)
    }

    /// For a file `*.md`; ends with a line break.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// Adds a title: level 1 is the document's, 2 a section's.
    pub fn heading(&mut self, level: u8, text: impl Into<Text>) -> &mut Self {
        self.push(Block::Heading { level, text: text.into() })
    }

    /// Adds sentences.
    pub fn paragraph(&mut self, text: impl Into<Text>) -> &mut Self {
        self.push(Block::Paragraph(text.into()))
    }

    /// Adds a list, unless it is empty.
    pub fn list(&mut self, items: impl IntoIterator<Item = impl Into<Item>>) -> &mut Self {
        let items: Vec<Item> = items.into_iter().map(Into::into).collect();
        if items.is_empty() { self } else { self.push(Block::List(items)) }
    }

    /// Adds a table.
    pub fn table(&mut self, table: Table) -> &mut Self {
        self.push(Block::Table(table))
    }

    /// Adds a table with a row for each of `rows`.
    pub fn arm_table(
        &mut self,
        table: Table,
        rows: impl IntoIterator<Item = impl Into<ArmRow>>,
    ) -> &mut Self {
        self.push(Block::ArmTable { table, rows: rows.into_iter().map(Into::into).collect() })
    }

    /// Adds a plot.
    pub fn figure(&mut self, figure: Figure) -> &mut Self {
        self.push(Block::Figure(figure))
    }

    /// Adds all blocks of another document.
    pub fn append(&mut self, other: Self) -> &mut Self {
        self.blocks.extend(other.blocks);
        self
    }

    fn push(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }
}

impl Text {
    /// Goes on with plain words.
    #[must_use]
    pub fn plain(self, words: impl Into<String>) -> Self {
        self.with(Span::Plain(words.into()))
    }

    /// Goes on with words that have a stress.
    #[must_use]
    pub fn emphasis(self, words: impl Into<String>) -> Self {
        self.with(Span::Emphasis(words.into()))
    }

    /// Goes on with words that the eye should find first.
    #[must_use]
    pub fn strong(self, words: impl Into<String>) -> Self {
        self.with(Span::Strong(words.into()))
    }

    /// Goes on with a name that a program knows.
    #[must_use]
    pub fn code(self, name: impl Into<String>) -> Self {
        self.with(Span::Code(name.into()))
    }

    fn with(mut self, span: Span) -> Self {
        self.0.push(span);
        self
    }
}

impl Span {
    /// What it says, however it looks.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Plain(words) | Self::Emphasis(words) | Self::Strong(words) | Self::Code(words) => words,
        }
    }
}

impl Text {
    /// What it says, however it looks.
    pub(super) fn words(&self) -> String {
        self.0.iter().map(Span::words).collect()
    }
}

impl From<String> for Text {
    fn from(words: String) -> Self {
        Self::default().plain(words)
    }
}

impl From<&str> for Text {
    fn from(words: &str) -> Self {
        Self::default().plain(words)
    }
}

impl<T: Into<Text>> From<T> for Item {
    fn from(text: T) -> Self {
        Self { text: text.into(), verbatim: Vec::new() }
    }
}

impl From<&str> for ArmRow {
    fn from(arm: &str) -> Self {
        Self { arm: arm.to_owned(), gain: None }
    }
}

impl Column {
    /// A column of words.
    pub fn left(title: &str) -> Self {
        Self { title: title.to_owned(), alignment: Alignment::Left }
    }

    /// A column of numbers.
    pub fn right(title: &str) -> Self {
        Self { title: title.to_owned(), alignment: Alignment::Right }
    }
}
