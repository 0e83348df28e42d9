//! What can be wrong with data, said with the file, the line and the fix.

use std::io;

use moelt_schema::{ConfigFault, TO_UTF8};

use crate::label_kinds::other_kind;

/// What ZIP archives begin with, and so do the workbooks of Excel and LibreOffice.
const ZIP: &[u8] = b"PK\x03\x04";

/// Why a data set cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file cannot be read.
    #[error("{file}: {cause}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        cause: io::Error,
    },
    /// A folder without the SST-2 files.
    #[error("{file}: {cause}; to put SST-2 there, run `cargo xtask data sst2 --from PATH`")]
    NoSst2 {
        /// The file that is missing.
        file: String,
        /// Why it cannot be read.
        cause: io::Error,
    },
    /// A file that is not UTF-8.
    #[error("{file}:{line}: is not UTF-8 text; {}", TO_UTF8)]
    NotUtf8 {
        /// The file.
        file: String,
        /// Line of the first bad byte.
        line: u64,
    },
    /// A table that is packed.
    #[error("{file}: is a ZIP archive, as Excel workbooks are; save the table as CSV in UTF-8, or unpack it")]
    Packed {
        /// The file.
        file: String,
    },
    /// A file without a row of data.
    #[error("{file}: has no rows; expected a header line and one example per line")]
    NoRows {
        /// The file.
        file: String,
    },
    /// A header without a column that is needed.
    #[error(
        "{file}:{line}: no column `{column}`; the first line must name the columns, and it names {}. \
         Add a header, or say which columns hold what (data.csv.text_column and data.csv.label_column in a \
         config or by --set, --text-column and --label-column of train, eval and predict)",
        quoted(columns)
    )]
    NoColumn {
        /// The file.
        file: String,
        /// Line of the header.
        line: u64,
        /// The column looked for.
        column: String,
        /// The columns there are.
        columns: Vec<String>,
    },
    /// A header with two columns of which either could be the one that is needed.
    #[error(
        "{file}:{line}: column `{column}` could be {}; rename all but one, or name the one that is meant \
         (data.csv.text_column and data.csv.label_column in a config or by --set, --text-column and --label-column of \
         train, eval and predict)",
        quoted(columns)
    )]
    TwoColumns {
        /// The file.
        file: String,
        /// Line of the header.
        line: u64,
        /// The column looked for.
        column: String,
        /// The columns that it could be.
        columns: Vec<String>,
    },
    /// A row that does not fit the header.
    #[error(
        "{file}:{line}: has {fields} fields where the header has {columns}; \
         a text with a delimiter in it needs \"double quotes\" around it in CSV, or no tab in TSV"
    )]
    RowWidth {
        /// The file.
        file: String,
        /// Line where the row begins.
        line: u64,
        /// Fields of the row.
        fields: usize,
        /// Fields of the header.
        columns: usize,
    },
    /// A row that a quote left open makes run over the rows that follow.
    #[error(
        "{file}:{line}: the double quotes from here on are not in pairs; close the one that is open, \
         or double it if it is a character of the text"
    )]
    OpenQuote {
        /// The file.
        file: String,
        /// Line where the row begins.
        line: u64,
    },
    /// An example without a text or without a label.
    #[error("{file}:{line}: the {column} is empty; fill it in or remove the row")]
    EmptyField {
        /// The file.
        file: String,
        /// Line where the row begins.
        line: u64,
        /// Header of the column.
        column: String,
    },
    /// A label that is not one of the classes.
    #[error(
        "{file}:{line}: unknown label `{label}`; the classes are {}{}",
        quoted(known),
        kind(label, known)
    )]
    UnknownLabel {
        /// The file.
        file: String,
        /// Line where the row begins.
        line: u64,
        /// The label.
        label: String,
        /// The classes.
        known: Vec<String>,
    },
    /// Labels that are numbers where classes have names, or the other way round.
    #[error(
        "{file}: column `{column}` has labels such as `{label}`; the classes are {}{}",
        quoted(known),
        kind(label, known)
    )]
    LabelKind {
        /// The file.
        file: String,
        /// Header of the label column.
        column: String,
        /// One of the labels.
        label: String,
        /// The classes.
        known: Vec<String>,
    },
    /// A label that is no place in the list of classes, in a file that has such places.
    #[error(
        "{file}:{line}: label `{label}` lies beyond the {} classes, whose places are counted from 0, so that other numbers, such as \
         {place}, are most likely no places either; write the names into the column of labels: {}",
        known.len(),
        quoted(known)
    )]
    NoPlace {
        /// The file.
        file: String,
        /// Line where the row begins.
        line: u64,
        /// The label.
        label: String,
        /// One that is a place.
        place: u32,
        /// The classes.
        known: Vec<String>,
    },
    /// A file that most likely was misunderstood.
    #[error(
        "{first}. Of {rows} rows {bad} cannot be used; when it is more than half, none is skipped. Are the \
         delimiter, the double quotes and the columns right?"
    )]
    MostRowsBad {
        /// What is wrong with the first of them.
        first: Box<DataError>,
        /// Rows that cannot be used.
        bad: usize,
        /// All rows.
        rows: usize,
    },
    /// Labels that are most likely none.
    #[error(
        "{file}: column `{column}` has {classes} different labels in {rows} rows; at most {most} classes can be \
         trained. Name the column of the classes (data.csv.label_column in a config or by --set, --label-column of moelt \
         train), or join rare classes"
    )]
    ManyClasses {
        /// The file.
        file: String,
        /// Header of the label column.
        column: String,
        /// Different labels.
        classes: usize,
        /// Rows that have them.
        rows: usize,
        /// The most that are possible.
        most: usize,
    },
    /// A training file from which nothing can be learned.
    #[error(
        "{file}:{line}: every row up to here, the last, has the label `{label}` in column `{column}`; two classes are needed. \
         Name the column of the classes (data.csv.label_column in a config or by --set, --label-column of moelt train), or \
         add rows of another class"
    )]
    OneClass {
        /// The file.
        file: String,
        /// Header of the label column.
        column: String,
        /// Line of the last row.
        line: u64,
        /// The only label.
        label: String,
    },
    /// Splits in memory that nothing can be trained or judged on.
    #[error("data set: {0}")]
    Splits(String),
    /// A configuration no data set can be made with.
    #[error(transparent)]
    Config(#[from] ConfigFault),
    /// A file that is not the published one.
    #[error("{file}: has {found}, the published data set {expected}; fetch it anew")]
    NotPublished {
        /// The file.
        file: String,
        /// What the published file has.
        expected: String,
        /// What this one has.
        found: String,
    },
}

impl DataError {
    /// Of a file whose first bad byte is on `line`. What it begins with, as far as that is at hand, may tell what it is.
    pub(crate) fn not_utf8(file: &str, line: u64, beginning: &[u8]) -> Self {
        let file = file.to_owned();
        if beginning.starts_with(ZIP) { Self::Packed { file } } else { Self::NotUtf8 { file, line } }
    }
}

/// What to do where labels and classes are of two kinds.
fn kind(label: &str, classes: &[String]) -> String {
    other_kind(label, classes).map_or(String::new(), |fix| format!("; {fix}"))
}

/// `` `a`, `b` ``: the first few, since a file without a header may have any number.
fn quoted(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut list: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", shorten(name))).collect();
    if names.len() > SHOWN {
        list.push(format!("… ({} in all)", names.len()));
    }
    list.join(", ")
}

/// A name cut to a length that leaves an error message readable.
pub(crate) fn shorten(name: &str) -> String {
    const SHOWN: usize = 40;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_and_long_names_are_cut() {
        let names: Vec<String> = (0..25).map(|i| i.to_string()).collect();
        assert!(quoted(&names).ends_with("`19`, … (25 in all)"));
        assert_eq!(quoted(&["é".repeat(50)]), format!("`{}…`", "é".repeat(40)));
    }
}
