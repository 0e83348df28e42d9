//! Texts without labels, for prediction: a table's text column, or one text per line.

use std::io::Read;

use crate::{
    DataError,
    bad_lines::{Faults, RowFault},
    pieces::{Piece, Pieces},
    source::Source,
    table::{Columns, Dialect, Row, candidates, header},
};

/// Column names that mark a table when none is asked for.
const USUAL: [&str; 2] = ["text", "sentence"];

/// Texts to predict, as they come: an iterator over blocks of those that one read has completed, so that what is there can
/// be answered before more is waited for. Little more than a block is held in memory.
///
/// Nothing is left out: every row of a table and every line otherwise has its place in a block. (A line that is blank as a
/// whole is no row of a table.) Texts are trimmed; `None` stands where there is nothing to classify: an empty text, or a
/// row of another width than the header, of which nobody knows which field is the text.
///
/// ```
/// use moelt_data::TextReader;
/// let read = |source: &'static str, name, column| -> Result<Vec<Option<String>>, moelt_data::DataError> {
///     let blocks: Result<Vec<_>, _> = TextReader::new(source.as_bytes(), name, column)?.collect();
///     Ok(blocks?.concat())
/// };
/// let lines = read("a good film\n\na bad one\n", "<stdin>", None)?;
/// assert_eq!(lines, [Some("a good film".to_owned()), None, Some("a bad one".to_owned())]);
/// let column = read("id,review\n1,\"well, good\"\n", "films.csv", Some("review"))?;
/// assert_eq!(column, [Some("well, good".to_owned())]);
/// # Ok::<(), moelt_data::DataError>(())
/// ```
///
/// # Errors
/// When the input cannot be read, is not UTF-8 or leaves a quote open. The texts before that come first, and nothing after it.
pub struct TextReader<R> {
    name: String,
    pieces: Pieces<R>,
    /// Of a table.
    columns: Option<Columns<1>>,
    /// A table's first piece, which begins with the header.
    first: Option<Piece>,
    faults: Faults,
    fault: Option<DataError>,
    is_over: bool,
}

impl<R: Read> TextReader<R> {
    /// Reads as far as the first line.
    ///
    /// With `text_column`, the input must be a table that has it. Without, the input is a table when its
    /// first line names a column `text` or `sentence`, and one text per line otherwise; only a file called
    /// `.csv`, `.tsv` or `.tab` must be a table, and its column may have another usual name, such as `review`. Delimiters
    /// and names of columns are as for training files. `name` stands in errors and tells the extension; for standard input
    /// it is `<stdin>`.
    ///
    /// # Errors
    /// When the input cannot be read, its beginning is not UTF-8, or it lacks the column.
    pub fn new(input: R, name: &str, text_column: Option<&str>) -> Result<Self, DataError> {
        Self::open(input, name, text_column, None)
    }

    /// The same without a column that it must have, where a table may have one called `known` before the usual names.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn knowing(input: R, name: &str, known: &str) -> Result<Self, DataError> {
        Self::open(input, name, None, Some(known))
    }

    fn open(input: R, name: &str, text_column: Option<&str>, known: Option<&str>) -> Result<Self, DataError> {
        let mut pieces = Pieces::new(input, name);
        let mut first_line = Source { name: name.to_owned(), text: String::new() };
        let is_table = text_column.is_some() || Dialect::is_named(&first_line);
        // A line of its own is answered, blank or not, before the next one comes; above a header it says nothing.
        first_line.text = pieces.first_line(!is_table)?;
        let dialect = Dialect::of(&first_line);
        let column = text_column.or(usual_column(&first_line, dialect, known));
        if column.is_some() && dialect.quotes() {
            pieces = pieces.quoted(dialect.delimiter);
        }
        let (columns, first) = match column {
            Some(column) => {
                let mut first = Piece { line: 1, text: String::new() };
                while first.text.trim_start_matches(['\r', '\n']).is_empty()
                    && let Some(more) = pieces.next()?
                {
                    first.text += &more.text;
                }
                let source = Source { name: name.to_owned(), text: first.text };
                let columns = Columns::find(&source, dialect, [column])?;
                (Some(columns), Some(Piece { text: source.text, ..first }))
            }
            None => (None, None),
        };
        let (name, faults) = (name.to_owned(), Faults::default());
        Ok(Self { name, pieces, columns, first, faults, fault: None, is_over: false })
    }

    /// What was guessed about the input.
    pub fn guesses(&self) -> &[String] {
        self.columns.as_ref().map_or(&[], |columns| &columns.notes)
    }

    /// Which of the rows so far have nothing to classify.
    pub fn bad_rows(&self) -> Option<String> {
        self.faults.note(&self.name, "get an empty answer")
    }

    fn block(&mut self) -> Result<Option<Vec<Option<String>>>, DataError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let (piece, headers) = match self.first.take() {
            Some(first) => (Some(first), 1),
            None => (self.pieces.next()?, 0),
        };
        let Some(piece) = piece else { return Ok(None) };
        let rows = match &self.columns {
            Some(columns) => {
                let (rows, fault) = rows_before_fault(columns, &piece, headers);
                self.fault = fault;
                rows
            }
            None => (piece.line..).zip(piece.text.lines().map(|line| Ok(line.to_owned()))).collect(),
        };
        let keep = |(line, text): NumberedText| self.faults.keep(line, text.and_then(filled));
        Ok(Some(rows.into_iter().map(keep).collect()))
    }
}

/// A text, or why there is none, with its line.
type NumberedText = (u64, Result<String, RowFault>);

/// The texts of a piece, without those of its first rows, as far as nothing is wrong with it as a whole; and what is.
fn rows_before_fault(
    columns: &Columns<1>,
    piece: &Piece,
    headers: usize,
) -> (Vec<NumberedText>, Option<DataError>) {
    let mut fault = None;
    let rows = columns.rows(&piece.text, piece.line).skip(headers);
    let rows = rows.map_while(|row| row.map_err(|error| fault = Some(error)).ok());
    let rows = rows.map(|Row { line, fields }| (line, fields.map(|[text]| text))).collect();
    (rows, fault)
}

impl<R: Read> Iterator for TextReader<R> {
    type Item = Result<Vec<Option<String>>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let block = self.block().transpose();
        self.is_over = !matches!(block, Some(Ok(_)));
        block
    }
}

/// A text without the blanks around it.
fn filled(text: String) -> Result<String, RowFault> {
    let text = text.trim();
    if text.is_empty() { Err(RowFault::Empty("text".to_owned())) } else { Ok(text.to_owned()) }
}

/// The column to read when none is asked for; none when the input is no table.
fn usual_column<'a>(source: &Source, dialect: Dialect, known: Option<&'a str>) -> Option<&'a str> {
    let columns = header(source, dialect);
    let is_named = Dialect::is_named(source);
    // The first line of prose is no header, even where it begins with "Text, ".
    let is_name = |column: &String| !column.contains(char::is_whitespace);
    let has = |name: &str| match candidates(&columns, name).first() {
        Some(&place) => is_named || columns[place] == name || columns.iter().all(is_name),
        None => false,
    };
    known.into_iter().chain(USUAL).find(|name| has(name)).or(is_named.then_some(USUAL[0]))
}

#[cfg(test)]
mod tests {
    use std::{io, sync::mpsc};

    use proptest::prelude::*;

    use super::*;
    use crate::pieces::tests::Drip;

    /// What a whole input gives.
    #[derive(Debug, PartialEq)]
    struct Read {
        texts: Vec<Option<String>>,
        notes: Vec<String>,
        fault: Option<String>,
    }

    fn read_all(source: impl io::Read, name: &str, column: Option<&str>) -> Result<Read, DataError> {
        let mut reader = TextReader::new(source, name, column)?;
        let (mut texts, mut fault) = (Vec::new(), None);
        for block in &mut reader {
            match block {
                Ok(block) => texts.extend(block),
                Err(error) => fault = Some(error.to_string()),
            }
        }
        let notes = reader.guesses().iter().cloned().chain(reader.bad_rows()).collect();
        Ok(Read { texts, notes, fault })
    }

    /// Texts, with nothing for those that are none; or the first error.
    fn read(name: &str, text: &str, column: Option<&str>) -> Result<Vec<String>, String> {
        let read = read_all(text.as_bytes(), name, column).map_err(|error| error.to_string())?;
        let texts = read.texts.into_iter().map(Option::unwrap_or_default).collect();
        read.fault.map_or(Ok(texts), Err)
    }

    /// `head -3 new.csv | moelt predict RUN`
    #[test]
    fn a_table_may_have_the_column_that_is_known() {
        let read = |name: &str, text: &str| {
            let texts: Result<Vec<_>, DataError> =
                TextReader::knowing(text.as_bytes(), name, "body").unwrap().collect();
            texts.unwrap().concat().into_iter().map(Option::unwrap_or_default).collect::<Vec<String>>()
        };
        for name in ["<stdin>", "a.csv"] {
            assert_eq!(read(name, "id,body,team\n1,a b,x\n"), ["a b"], "{name}");
            assert_eq!(read(name, "id,Body,text\n1,a b,x\n"), ["a b"], "{name}");
            assert_eq!(read(name, "id,text\n1,a b\n"), ["a b"], "{name}");
        }
        assert_eq!(read("<stdin>", "a body, of work\nmore\n"), ["a body, of work", "more"]);
        assert_eq!(read("a.csv", "id,review\n1,a b\n"), ["a b"]);
    }

    #[test]
    fn lines_stay_in_order_and_empty_ones_in_place() {
        let texts = read("<stdin>", "\u{feff}one, two\r\n\r\n  three\t\r\n", None).unwrap();
        assert_eq!(texts, ["one, two", "", "three"]);
        assert_eq!(read("a.txt", "texts\nof one word", None).unwrap(), ["texts", "of one word"]);
        assert_eq!(read("a.txt", "text\nbelow a header", None).unwrap(), ["below a header"]);
        assert!(read("<stdin>", "", None).unwrap().is_empty());
        assert_eq!(read("<stdin>", "\ntext\n", None).unwrap(), ["", "text"]);
        assert_eq!(read("a.csv", "\ntext\none\n", None).unwrap(), ["one"]);
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
        let bytes = read_all(&b"fine\n\xc3\n"[..], "<stdin>", None).unwrap();
        assert_eq!(bytes.texts, [Some("fine".to_owned())]);
        assert!(bytes.fault.unwrap().starts_with("<stdin>:2: is not UTF-8"));
        assert!(read_all(&b"\xc3\n"[..], "<stdin>", None).is_err());
    }

    #[test]
    fn what_comes_before_an_open_quote_is_read() {
        let open = read_all(&b"id,text\n1,a\n2,b\n3,\"c\n4,d\n"[..], "a.csv", None).unwrap();
        assert_eq!(open.texts, ["a", "b"].map(|text| Some(text.to_owned())));
        assert!(open.fault.unwrap().starts_with("a.csv:4: the double quotes"));
    }

    #[test]
    fn a_line_is_there_before_the_next_one_is_read() {
        let (sender, receiver) = mpsc::channel::<&[u8]>();
        /// Waits for what is sent.
        struct Waiting(mpsc::Receiver<&'static [u8]>);
        impl io::Read for Waiting {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let Ok(bytes) = self.0.recv() else { return Ok(0) };
                buffer[..bytes.len()].copy_from_slice(bytes);
                Ok(bytes.len())
            }
        }
        sender.send(b"one\ntw").unwrap();
        let mut reader = TextReader::new(Waiting(receiver), "<stdin>", None).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), [Some("one".to_owned())]);
        sender.send(b"o\n").unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), [Some("two".to_owned())]);
        drop(sender);
        assert!(reader.next().is_none());
    }

    #[test]
    fn every_row_has_its_place_and_those_without_a_text_are_noted() {
        let read = |name, text: &str| read_all(text.as_bytes(), name, None).unwrap();
        let Read { texts, notes, .. } = read("a.csv", "n,text\n1,x\n2,y,z\n3, \n4,w\n");
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
        let read = |text| read_all(text, "<stdin>", None).unwrap();
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
            let _ = read_all(bytes.as_slice(), &name, None);
        }

        #[test]
        fn it_is_the_same_however_it_is_cut(
            text in "((id,)?text|[a-z \"]{0,5})\r?\n([a\",\r\n]{0,9}\n){0,6}[a\"]{0,3}",
            name in "a(\\.csv|\\.tsv|\\.txt)",
            step in 1_usize..9,
            bad in prop::option::of(0_usize..60),
        ) {
            let mut bytes = text.into_bytes();
            bad.filter(|at| *at < bytes.len()).into_iter().for_each(|at| bytes[at] = 0xff);
            let said = |read: Result<Read, DataError>| read.map_err(|error| error.to_string());
            let whole = said(read_all(bytes.as_slice(), &name, None));
            prop_assert_eq!(said(read_all(Drip(&bytes, step), &name, None)), whole);
        }

        #[test]
        fn every_line_is_a_text(lines in prop::collection::vec("[a-z ]{0,8}", 0..20)) {
            let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let texts = read("<stdin>", &input, None).unwrap();
            prop_assert_eq!(texts, lines.iter().map(|line| line.trim()).collect::<Vec<_>>());
        }
    }
}
