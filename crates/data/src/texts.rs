//! Texts without labels, for prediction: a table's text column, or one text per line.

use std::io::Read;

use crate::{
    DataError,
    bad_lines::{Faults, RowFault},
    source::Source,
    table::{Dialect, Row, candidates, header, read_columns},
};

/// Column names that mark a table when none is asked for.
const USUAL: [&str; 2] = ["text", "sentence"];

/// Texts to predict.
#[derive(Debug, PartialEq, Eq)]
pub struct Texts {
    /// One for each row or line, in order, trimmed; `None` where there is nothing to classify: an empty text,
    /// or a row of another width than the header, of which nobody knows which field is the text.
    pub texts: Vec<Option<String>>,
    /// What was guessed, and which rows have nothing to classify.
    pub notes: Vec<String>,
}

/// Reads the texts to predict. Nothing is left out: every row of a table and every line otherwise has its place.
/// (A line that is blank as a whole is no row of a table.)
///
/// With `text_column`, the input must be a table that has it. Without, the input is a table when its
/// first line names a column `text` or `sentence`, and one text per line otherwise; only a file called
/// `.csv`, `.tsv` or `.tab` must be a table, and its column may have another usual name, such as `review`. Delimiters and names of columns are as for training files. `name`
/// stands in errors and tells the extension; for standard input it is `<stdin>`.
///
/// ```
/// use moelt_data::read_texts;
/// let lines = read_texts("a good film\n\na bad one\n".as_bytes(), "<stdin>", None)?;
/// assert_eq!(lines.texts, [Some("a good film".to_owned()), None, Some("a bad one".to_owned())]);
/// let column = read_texts("id,review\n1,\"well, good\"\n".as_bytes(), "films.csv", Some("review"))?;
/// assert_eq!(column.texts, [Some("well, good".to_owned())]);
/// # Ok::<(), moelt_data::DataError>(())
/// ```
///
/// # Errors
/// When the input cannot be read, is not UTF-8, lacks the column or leaves a quote open.
pub fn read_texts(source: impl Read, name: &str, text_column: Option<&str>) -> Result<Texts, DataError> {
    let source = Source::from_reader(source, name)?;
    let dialect = Dialect::of(&source);
    let (rows, mut notes) = match text_column.or(usual_column(&source, dialect)) {
        Some(column) => {
            let table = read_columns(&source, dialect, [column])?;
            (
                table
                    .rows
                    .into_iter()
                    .map(|Row { line, fields }| (line, fields.map(|[text]| text)))
                    .collect(),
                table.notes,
            )
        }
        None => {
            ((1..).zip(source.text.lines().map(|line| Ok(line.to_owned()))).collect::<Vec<_>>(), Vec::new())
        }
    };
    let rows = rows.into_iter().map(|(line, text)| (line, text.and_then(filled)));
    let rows: Vec<(u64, Result<String, RowFault>)> = rows.collect();
    let texts = rows.iter().map(|(_, text)| text.as_ref().ok().cloned()).collect();
    notes.extend(Faults::sort_out(rows).1.note(name, "get an empty answer"));
    Ok(Texts { texts, notes })
}

/// A text without the blanks around it.
fn filled(text: String) -> Result<String, RowFault> {
    let text = text.trim();
    if text.is_empty() { Err(RowFault::Empty("text".to_owned())) } else { Ok(text.to_owned()) }
}

/// The column to read when none is asked for; none when the input is no table.
fn usual_column(source: &Source, dialect: Dialect) -> Option<&'static str> {
    let columns = header(source, dialect);
    let is_named = Dialect::is_named(source);
    // The first line of prose is no header, even where it begins with "Text, ".
    let is_name = |column: &String| !column.contains(char::is_whitespace);
    let has = |name: &str| match candidates(&columns, name).first() {
        Some(&place) => is_named || columns[place] == name || columns.iter().all(is_name),
        None => false,
    };
    USUAL.into_iter().find(|name| has(name)).or(is_named.then_some(USUAL[0]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts, with nothing for those that are none.
    fn read(name: &str, text: &str, column: Option<&str>) -> Result<Vec<String>, String> {
        let texts = read_texts(text.as_bytes(), name, column).map_err(|error| error.to_string())?.texts;
        Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
    }

    #[test]
    fn lines_stay_in_order_and_empty_ones_in_place() {
        let texts = read("<stdin>", "\u{feff}one, two\r\n\r\n  three\t\r\n", None).unwrap();
        assert_eq!(texts, ["one, two", "", "three"]);
        assert_eq!(read("a.txt", "texts\nof one word", None).unwrap(), ["texts", "of one word"]);
        assert_eq!(read("a.txt", "text\nbelow a header", None).unwrap(), ["below a header"]);
        assert!(read("<stdin>", "", None).unwrap().is_empty());
    }

    #[test]
    fn a_table_is_known_by_its_header() {
        assert_eq!(read("<stdin>", "id\ttext\n1\ta \"b\n2\t\n", None).unwrap(), ["a \"b", ""]);
        assert_eq!(read("dev.tsv", "sentence\tlabel\nfine\t1\n", None).unwrap(), ["fine"]);
        assert_eq!(read("one.csv", "text\n\"a, b\"\n", None).unwrap(), ["a, b"]);
        assert_eq!(
            read("a.txt", "label;review\n1;fine, really\n", Some("review")).unwrap(),
            ["fine, really"]
        );
    }

    #[test]
    fn errors_name_place_and_columns() {
        let message = |name, text, column| read(name, text, column).unwrap_err();
        assert!(message("a.csv", "title,n\nx,1\n", None).starts_with("a.csv:1: no column `text`"));
        let asked = message("<stdin>", "review,n\nx,1\n", Some("body"));
        assert!(
            asked.starts_with("<stdin>:1: no column `body`") && asked.contains("`review`, `n`"),
            "{asked}"
        );
        let bytes = read_texts(&b"fine\n\xc3\n"[..], "<stdin>", None).unwrap_err().to_string();
        assert!(bytes.starts_with("<stdin>:2: is not UTF-8"), "{bytes}");
    }

    #[test]
    fn every_row_has_its_place_and_those_without_a_text_are_noted() {
        let read = |name, text: &str| read_texts(text.as_bytes(), name, None).unwrap();
        let Texts { texts, notes } = read("a.csv", "n,text\n1,x\n2,y,z\n3, \n4,w\n");
        assert_eq!(texts, [Some("x".to_owned()), None, None, Some("w".to_owned())]);
        let expected = "a.csv: 2 of 4 rows get an empty answer: a.csv:3: has 3 fields where the header has 2; \
                        a.csv:4: the text is empty";
        assert_eq!(notes, [expected]);
        assert_eq!(
            read("<stdin>", "one\n\n").notes,
            ["<stdin>: 1 of 2 rows get an empty answer: <stdin>:2: the text is empty"]
        );
    }

    #[test]
    fn a_header_in_other_case_is_one_but_prose_is_not() {
        let read = |text| read_texts(text, "<stdin>", None).unwrap();
        let table = read(&b"Text;Label\nfine;1\n"[..]);
        assert_eq!(table.texts, [Some("fine".to_owned())]);
        assert_eq!(
            table.notes,
            [
                "<stdin>: read as semicolon-separated, as its header is",
                "<stdin>: column `Text` taken for `text`"
            ]
        );
        assert_eq!(read(&b"Text, and what it means\nfine\n"[..]).texts.len(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, name in "a(\\.csv|\\.tsv|\\.txt)") {
            let _ = read_texts(bytes.as_slice(), &name, None);
        }

        #[test]
        fn every_line_is_a_text(lines in prop::collection::vec("[a-z ]{0,8}", 0..20)) {
            let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let texts = read("<stdin>", &input, None).unwrap();
            prop_assert_eq!(texts, lines.iter().map(|line| line.trim()).collect::<Vec<_>>());
        }
    }
}
