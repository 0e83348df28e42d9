//! Texts without labels, for prediction: a table's text column, or one text a line.

use std::io::Read;

use crate::{
    DataError,
    source::Source,
    table::{Dialect, Row, header, read_columns},
};

/// Column names that mark a table when none is asked for.
const USUAL: [&str; 2] = ["text", "sentence"];

/// Reads the texts to predict, in order, trimmed. Nothing is left out: an empty field of a table, and an
/// empty line otherwise, is an empty text in its place. (A line that is blank as a whole is no row of a
/// table.)
///
/// With `text_column`, the input must be a table that has it. Without, the input is a table when its
/// first line names a column `text` or `sentence`, and one text a line otherwise; only a file called
/// `.csv`, `.tsv` or `.tab` must be a table. Delimiters are as for training files. `name` stands in
/// errors and tells the extension; for standard input it is `<stdin>`.
///
/// ```
/// use moelt_data::read_texts;
/// let lines = read_texts("a good film\n\na bad one\n".as_bytes(), "<stdin>", None)?;
/// assert_eq!(lines, ["a good film", "", "a bad one"]);
/// let column = read_texts("id,review\n1,\"well, good\"\n".as_bytes(), "films.csv", Some("review"))?;
/// assert_eq!(column, ["well, good"]);
/// # Ok::<(), moelt_data::DataError>(())
/// ```
///
/// # Errors
/// When the input cannot be read, is not UTF-8, lacks the column, or has a row of another width.
pub fn read_texts(
    source: impl Read,
    name: &str,
    text_column: Option<&str>,
) -> Result<Vec<String>, DataError> {
    let source = Source::from_reader(source, name)?;
    let dialect = Dialect::of(&source);
    let columns = header(&source, dialect);
    let only_a_name = columns.len() == 1 && USUAL.contains(&columns[0].as_str());
    let is_table = Dialect::of_extension(&source).is_some() || columns.len() > 1 || only_a_name;
    let usual = USUAL.into_iter().find(|usual| is_table && columns.iter().any(|column| column == usual));
    let fallback = Dialect::of_extension(&source).map(|_| USUAL[0]);
    match text_column.or(usual).or(fallback) {
        Some(column) => {
            let rows = read_columns(&source, dialect, [column])?;
            Ok(rows.into_iter().map(|Row { fields: [text], .. }| text.trim().to_owned()).collect())
        }
        None => Ok(source.text.lines().map(|line| line.trim().to_owned()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(name: &str, text: &str, column: Option<&str>) -> Result<Vec<String>, String> {
        read_texts(text.as_bytes(), name, column).map_err(|error| error.to_string())
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
        assert!(message("a.csv", "review,n\nx,1\n", None).starts_with("a.csv:1: no column `text`"));
        let asked = message("<stdin>", "review,n\nx,1\n", Some("body"));
        assert!(
            asked.starts_with("<stdin>:1: no column `body`") && asked.contains("`review`, `n`"),
            "{asked}"
        );
        assert!(message("a.csv", "n,text\n1,x\n2,y,z\n", None).starts_with("a.csv:3: has 3 fields"));
        let bytes = read_texts(&b"fine\n\xc3\n"[..], "<stdin>", None).unwrap_err().to_string();
        assert!(bytes.starts_with("<stdin>:2: is not UTF-8"), "{bytes}");
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
