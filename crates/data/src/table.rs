//! Delimited files with a header: the columns asked for, row by row, each with its line.

use std::iter;

use csv::{ReaderBuilder, StringRecord};
use moelt_schema::Dialect;

use crate::{
    DataError,
    bad_lines::RowFault,
    source::{Source, newlines},
};

/// What the columns `text` and `label`, which are asked for where nobody names a column, are called in files that have
/// no column of this name.
const USUAL: [(&str, &[&str]); 2] = [
    ("text", &["review", "sentence", "content", "body", "comment", "message", "tweet"]),
    ("label", &["sentiment", "class", "category", "target"]),
];

/// The rows of a table in the columns asked for, and what was guessed.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    pub(crate) rows: Vec<Row<N>>,
    pub(crate) notes: Vec<String>,
}

/// The fields of a row in the columns asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Row<const N: usize> {
    /// Line where the row begins; a quoted field may run over several.
    pub(crate) line: u64,
    /// The fields, or that the row has not as many as the header.
    pub(crate) fields: Result<[String; N], RowFault>,
}

/// The names in the first line.
pub(crate) fn header(source: &Source, dialect: Dialect) -> Vec<String> {
    let mut record = StringRecord::new();
    reader(&source.text, dialect).read_record(&mut record).unwrap_or(false);
    record.iter().map(|name| name.trim().to_owned()).collect()
}

/// Reads the named columns of all rows. Blank lines are no rows.
///
/// # Errors
/// When the header lacks a column or has two that it could be, or a quote is left open.
pub(crate) fn read_columns<const N: usize>(
    source: &Source,
    dialect: Dialect,
    names: [&str; N],
) -> Result<Table<N>, DataError> {
    let columns = Columns::find(source, dialect, names)?;
    let rows = columns.rows(&source.text, 1).skip(1).collect::<Result<_, _>>()?;
    Ok(Table { rows, notes: columns.notes })
}

/// The columns asked for in a table, and how its rows are read.
pub(crate) struct Columns<const N: usize> {
    file: String,
    dialect: Dialect,
    /// Fields of the header.
    width: usize,
    places: [usize; N],
    /// What was guessed.
    pub(crate) notes: Vec<String>,
}

impl<const N: usize> Columns<N> {
    /// The columns of these names, by the header that `source` begins with.
    ///
    /// # Errors
    /// When the header lacks a column or has two that it could be.
    pub(crate) fn find(source: &Source, dialect: Dialect, names: [&str; N]) -> Result<Self, DataError> {
        let columns = header(source, dialect);
        let mut notes: Vec<String> = dialect.note(&source.name).into_iter().collect();
        let places = find_columns(source, &columns, names, &mut notes)?;
        Ok(Self { file: source.name.clone(), dialect, width: columns.len(), places, notes })
    }

    /// The rows of `text`, whole records that begin on `line` of the file. What comes after an error, a quote that
    /// is left open, means nothing. Where the header is among them, it comes first.
    pub(crate) fn rows<'a>(
        &'a self,
        text: &'a str,
        line: u64,
    ) -> impl Iterator<Item = Result<Row<N>, DataError>> + 'a {
        let (mut reader, mut lines) = (reader(text, self.dialect), Lines { text, byte: 0, line });
        let mut record = StringRecord::new();
        iter::from_fn(move || {
            // Reading text from memory cannot fail, so that `false` is the end.
            reader.read_record(&mut record).unwrap_or(false).then(|| {
                let line = lines.of(record.position().map_or(0, |position| position.byte() as usize));
                let raw = &text[lines.byte..reader.position().byte() as usize];
                self.row(&record, raw, line)
            })
        })
    }

    fn row(&self, record: &StringRecord, raw: &str, line: u64) -> Result<Row<N>, DataError> {
        if self.dialect.quotes() && has_open_quote(raw) {
            return Err(DataError::OpenQuote { file: self.file.clone(), line });
        }
        let fields = if record.len() == self.width {
            Ok(self.places.map(|place| record[place].to_owned()))
        } else {
            let lines = 1 + newlines(raw.trim_end().as_bytes());
            Err(RowFault::Width { fields: record.len(), columns: self.width, lines })
        };
        Ok(Row { line, fields })
    }
}

fn reader(text: &str, dialect: Dialect) -> csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(dialect.delimiter)
        .quoting(dialect.quotes())
        .from_reader(text.as_bytes())
}

/// Where the named columns stand. A name that was not met exactly is a note.
fn find_columns<const N: usize>(
    source: &Source,
    columns: &[String],
    names: [&str; N],
    notes: &mut Vec<String>,
) -> Result<[usize; N], DataError> {
    if columns.is_empty() {
        return Err(DataError::NoRows { file: source.name.clone() });
    }
    let mut places = [0; N];
    for (place, name) in places.iter_mut().zip(names) {
        let (file, line, column) =
            (source.name.clone(), Lines { text: &source.text, byte: 0, line: 1 }.of(0), name.to_owned());
        let mut candidates = candidates(columns, name);
        if candidates.is_empty() {
            candidates = usual(columns, name);
        }
        *place = match candidates.as_slice() {
            [one] => *one,
            [] => return Err(DataError::NoColumn { file, line, column, columns: columns.to_vec() }),
            several => {
                let columns = several.iter().map(|&place| columns[place].clone()).collect();
                return Err(DataError::TwoColumns { file, line, column, columns });
            }
        };
        let found = &columns[*place];
        if found != name.trim() {
            notes.push(format!("{}: column `{found}` taken for `{name}`", source.name));
        }
    }
    Ok(places)
}

/// Places of the columns with this name or, if there are none, with this name in another case.
pub(crate) fn candidates(columns: &[String], name: &str) -> Vec<usize> {
    let places = |is: &dyn Fn(&String) -> bool| -> Vec<usize> {
        (0..columns.len()).filter(|&place| is(&columns[place])).collect()
    };
    let name = name.trim();
    let exact = places(&|column| column == name);
    let folded = name.to_lowercase();
    if exact.is_empty() { places(&|column| column.to_lowercase() == folded) } else { exact }
}

/// Places of the columns with a usual name for what `name` asks for.
fn usual(columns: &[String], name: &str) -> Vec<usize> {
    let names = USUAL.iter().find(|(asked, _)| *asked == name).map_or(&[][..], |(_, names)| *names);
    let is_one = |place: &usize| names.contains(&columns[*place].to_lowercase().as_str());
    (0..columns.len()).filter(is_one).collect()
}

/// Whether a record swallowed lines that follow it. Quotes come in pairs, and only a quoted field may
/// run over several lines; a lone quote within one line is taken as a character.
fn has_open_quote(record: &str) -> bool {
    let quotes = record.bytes().filter(|&byte| byte == b'"').count();
    !quotes.is_multiple_of(2) && record.trim_end().contains('\n')
}

/// Turns byte positions, asked for in ascending order, into line numbers. The csv crate's own count is
/// behind by one after a `\r\n`, whose `\n` it leaves to the next record.
struct Lines<'a> {
    text: &'a str,
    byte: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that is read from `byte` on.
    fn of(&mut self, byte: usize) -> u64 {
        let bytes = self.text.as_bytes();
        let blank = bytes[byte..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.line += newlines(&bytes[self.byte..byte + blank]);
        self.byte = byte + blank;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    fn rows(name: &str, text: &str) -> Result<Vec<(u64, String)>, String> {
        let source = source(name, text);
        let table = read_columns(&source, source.dialect(), ["text"]).map_err(|error| error.to_string())?;
        let text =
            |fields: Result<[String; 1], RowFault>| fields.map_or_else(|f| f.to_string(), |[text]| text);
        Ok(table.rows.into_iter().map(|Row { line, fields }| (line, text(fields))).collect())
    }

    fn expect(expected: &[(u64, &str)]) -> Result<Vec<(u64, String)>, String> {
        Ok(expected.iter().map(|&(line, text)| (line, text.to_owned())).collect())
    }

    #[test]
    fn what_was_guessed_is_a_note() {
        let notes = |name, text| {
            let source = source(name, text);
            read_columns(&source, source.dialect(), ["text"]).unwrap().notes
        };
        assert_eq!(notes("a.csv", "text,label\n"), [""; 0]);
        assert_eq!(notes("a.tsv", "text\tlabel\n"), [""; 0]);
        assert_eq!(notes("a.csv", "text\n"), [""; 0]);
        assert_eq!(
            notes("a.csv", " TEXT ;Label\n"),
            ["a.csv: read as semicolon-separated, as its header is", "a.csv: column `TEXT` taken for `text`"]
        );
        assert_eq!(notes("a.csv", "Text,text\n"), [""; 0], "the exact name comes first");
        assert_eq!(notes("a.data", "text,label\n"), ["a.data: read as comma-separated, as its header is"]);
    }

    #[test]
    fn two_columns_of_a_name_are_an_error_that_names_both() {
        let message = |text| rows("a.csv", text).unwrap_err();
        let case = message("id,Text,TEXT\n");
        assert!(case.starts_with("a.csv:1: column `text` could be `Text`, `TEXT`; rename"), "{case}");
        assert!(message("text,label,text\n").contains("could be `text`, `text`"));
    }

    #[test]
    fn a_column_that_nobody_named_may_have_a_usual_name() {
        let read = |text| {
            let source = source("a.csv", text);
            let table = read_columns(&source, source.dialect(), ["text", "label"]);
            table.map(|table| table.notes).map_err(|error| error.to_string())
        };
        let notes =
            ["a.csv: column `Review` taken for `text`", "a.csv: column `sentiment` taken for `label`"];
        assert_eq!(read("id,Review,sentiment\n").unwrap(), notes);
        assert_eq!(read("review,text,label\n").unwrap(), [""; 0], "the exact name comes first");
        assert_eq!(read("review,TEXT,label\n").unwrap(), ["a.csv: column `TEXT` taken for `text`"]);
        let two = read("review,body,label\n").unwrap_err();
        assert!(two.starts_with("a.csv:1: column `text` could be `review`, `body`; "), "{two}");
        let none = read("title,stars\n").unwrap_err();
        assert!(none.starts_with("a.csv:1: no column `text`") && none.contains("`title`, `stars`"), "{none}");
        let source = source("a.csv", "review,label\n");
        assert!(read_columns(&source, source.dialect(), ["sentence"]).is_err(), "it was asked for by name");
    }

    #[test]
    fn lines_are_counted_over_crlf_blank_lines_and_quoted_breaks() {
        let text = "id,text\r\n1,one\r\n\r\n2,\"two\r\nlines\"\r\n3,\"say \"\"hi\"\", now\"\r\n";
        let expected = [(2, "one"), (4, "two\r\nlines"), (6, "say \"hi\", now")];
        assert_eq!(rows("a.csv", text), expect(&expected));
        assert_eq!(rows("a.csv", "\n\ntext\n\none\n"), expect(&[(5, "one")]));
    }

    #[test]
    fn quotes_are_characters_in_tab_separated_files() {
        assert_eq!(
            rows("a.tsv", "text\tid\n\"open\t1\nit's 5\"\t2"),
            expect(&[(2, "\"open"), (3, "it's 5\"")])
        );
    }

    #[test]
    fn a_long_line_is_read_whole() {
        let long = "word ".repeat(1 << 18);
        assert_eq!(rows("a.csv", &format!("id,text\n1,{long}\n")), expect(&[(2, &long)]));
    }

    #[test]
    fn malformed_tables_are_named_by_line() {
        let message = |text| rows("a.csv", text).unwrap_err();
        assert!(message("good film,1\nbad film,0\n").starts_with("a.csv:1: no column `text`"));
        assert!(message("title,label\n").contains("it names `title`, `label`"));
        assert!(message("id,text\n1,a\n2,\"b\n3,c\n").starts_with("a.csv:3: the double quotes"));
        assert!(message("id,text\n1,a\n2,\"b\n3,\"c\"\n4,d").starts_with("a.csv:3: the double quotes"));
        assert!(message("text,id\n\"a,1\nb,2\n").starts_with("a.csv:2: the double quotes"));
        assert!(message("").starts_with("a.csv: has no rows"));
        assert!(message("\r\n\ntitle,label\n").starts_with("a.csv:3: no column"));
        assert!(message(" \n").starts_with("a.csv:1: no column"));
    }

    #[test]
    fn rows_of_another_width_are_told_apart() {
        let expected = [
            (2, "a"),
            (3, "has 3 fields where the header has 2"),
            (4, "has 1 fields where the header has 2"),
        ];
        assert_eq!(rows("a.csv", "id,text\n1,a\n2,b,c\n3\n"), expect(&expected));
        let swallowed = [(2, "has 1 fields where the header has 2, over 3 lines in double quotes"), (5, "b")];
        assert_eq!(rows("a.csv", "id,text\n\"1,a\n2,b\n3\"\n4,b\n"), expect(&swallowed));
    }

    #[test]
    fn a_lone_quote_inside_a_field_is_a_character() {
        assert_eq!(rows("a.csv", "id,text\n1,a 5\" disk\n\n"), expect(&[(2, "a 5\" disk")]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, name in "a(\\.csv|\\.tsv|)") {
            if let Ok(source) = Source::from_bytes(bytes, name) {
                let _ = read_columns(&source, source.dialect(), ["text", "label"]);
            }
        }

        #[test]
        fn no_rows_make_the_reader_panic(rows in "text,label\n([a\",\r\n]{0,12}\n){0,5}[\"\r\n]{0,3}") {
            let source = source("a.csv", &rows);
            let _ = read_columns(&source, source.dialect(), ["text", "label"]);
        }
    }
}
