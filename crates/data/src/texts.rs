//! Texts to predict: a table's text column, perhaps with the labels beside it, or one text per line.

use std::io::Read;

use moelt_schema::Dialect;

use crate::{
    DataError,
    bad_lines::{Faults, RowFault},
    pieces::{Piece, Pieces},
    source::Source,
    table::{Columns, Row, candidates, header},
};

/// Column names that mark a table when none is asked for.
const USUAL: [&str; 2] = ["text", "sentence"];

/// Which columns of a table are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextColumns<'a> {
    /// That of the texts, which the input must have.
    pub text: Option<&'a str>,
    /// One that the texts may stand in where no other is asked for, before the usual names.
    pub known: Option<&'a str>,
    /// That of the labels, which the input must have; without it none are read.
    pub label: Option<&'a str>,
}

/// What a row says: trimmed, and nothing of it empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextRow {
    /// What is to be classified.
    pub text: String,
    /// Its label, where labels are read.
    pub label: Option<String>,
}

/// Texts to predict, as they come: an iterator over blocks of those that one read has completed, so that what is there can
/// be answered before more is waited for. Little more than a block is held in memory.
///
/// Nothing is left out: every row of a table and every line otherwise has its place in a block. (A line that is blank as a
/// whole is no row of a table.) `None` stands where there is nothing to classify: an empty text, a row of another width than
/// the header, of which nobody knows which field is the text, or an empty label where labels are read.
///
/// ```
/// use moelt_data::{DataError, TextColumns, TextReader, TextRow};
/// let read = |source: &'static str, name, columns| -> Result<Vec<Option<TextRow>>, DataError> {
///     let blocks: Result<Vec<_>, _> = TextReader::new(source.as_bytes(), name, columns)?.collect();
///     Ok(blocks?.concat())
/// };
/// let row = |text: &str, label: Option<&str>| {
///     Some(TextRow { text: text.to_owned(), label: label.map(str::to_owned) })
/// };
/// let lines = read("a good film\n\na bad one\n", "<stdin>", TextColumns::default())?;
/// assert_eq!(lines, [row("a good film", None), None, row("a bad one", None)]);
/// let columns = TextColumns { text: Some("review"), label: Some("stars"), ..TextColumns::default() };
/// let labelled = read("stars,review\n5,\"well, good\"\n", "films.csv", columns)?;
/// assert_eq!(labelled, [row("well, good", Some("5"))]);
/// # Ok::<(), DataError>(())
/// ```
///
/// # Errors
/// When the input cannot be read, is not UTF-8 or leaves a quote open. The texts before that come first, and nothing after it.
pub struct TextReader<R> {
    name: String,
    pieces: Pieces<R>,
    table: Option<Table>,
    /// A table's first piece, which begins with the header.
    first: Option<Piece>,
    faults: Faults,
    fault: Option<DataError>,
    is_over: bool,
}

impl<R: Read> TextReader<R> {
    /// Reads as far as the first line.
    ///
    /// With `columns.text` or `columns.label`, the input must be a table that has them. Without, the input is a table when its
    /// first line names a column `columns.known`, `text` or `sentence`, and one text per line otherwise; only a file called
    /// `.csv`, `.tsv` or `.tab` must be a table. In what must be a table, the column of the texts may have another usual name,
    /// such as `review`, where none is asked for. Delimiters and names of columns are as for training files. `name` stands in
    /// errors and tells the extension; for standard input it is `<stdin>`.
    ///
    /// # Errors
    /// When the input cannot be read, its beginning is not UTF-8, or it lacks a column.
    pub fn new(input: R, name: &str, columns: TextColumns<'_>) -> Result<Self, DataError> {
        let TextColumns { text, known, label } = columns;
        let mut pieces = Pieces::new(input, name);
        let mut first_line = Source { name: name.to_owned(), text: String::new() };
        let must_be = text.is_some() || label.is_some() || Dialect::is_named(name);
        // A line of its own is answered, blank or not, before the next one comes; above a header it says nothing.
        first_line.text = pieces.first_line(!must_be)?;
        let dialect = first_line.dialect();
        let text = text.or(usual_column(&first_line, dialect, known, must_be));
        if text.is_some() && dialect.quotes() {
            pieces = pieces.quoted(dialect.delimiter);
        }
        let (table, first) = match text {
            Some(text) => {
                let mut first = Piece { line: 1, text: String::new() };
                while first.text.trim_start_matches(['\r', '\n']).is_empty()
                    && let Some(more) = pieces.next()?
                {
                    first.text += &more.text;
                }
                let source = Source { name: name.to_owned(), text: first.text };
                let table = Table::find(&source, dialect, text, label)?;
                (Some(table), Some(Piece { text: source.text, ..first }))
            }
            None => (None, None),
        };
        let (name, faults) = (name.to_owned(), Faults::default());
        Ok(Self { name, pieces, table, first, faults, fault: None, is_over: false })
    }

    /// What was guessed about the input.
    pub fn guesses(&self) -> &[String] {
        self.table.as_ref().map_or(&[], Table::notes)
    }

    /// Which of the rows so far have nothing to classify.
    pub fn bad_rows(&self) -> Option<String> {
        let outcome = match self.table {
            Some(Table::Labelled(_)) => "are left out",
            _ => "get an empty answer",
        };
        self.faults.note(&self.name, outcome)
    }

    fn block(&mut self) -> Result<Option<Vec<Option<TextRow>>>, DataError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let (piece, headers) = match self.first.take() {
            Some(first) => (Some(first), 1),
            None => (self.pieces.next()?, 0),
        };
        let Some(piece) = piece else { return Ok(None) };
        let rows = match &self.table {
            Some(table) => {
                let (rows, fault) = table.rows_before_fault(&piece, headers);
                self.fault = fault;
                rows
            }
            None => (piece.line..).zip(piece.text.lines().map(|line| filled(line, None))).collect(),
        };
        Ok(Some(rows.into_iter().map(|(line, row)| self.faults.keep(line, row)).collect()))
    }
}

/// The columns that are read.
enum Table {
    Texts(Columns<1>),
    Labelled(Columns<2>),
}

/// What a row says, or why it says nothing, with its line.
type NumberedRow = (u64, Result<TextRow, RowFault>);

impl Table {
    fn find(source: &Source, dialect: Dialect, text: &str, label: Option<&str>) -> Result<Self, DataError> {
        match label {
            Some(label) => Columns::find(source, dialect, [text, label]).map(Self::Labelled),
            None => Columns::find(source, dialect, [text]).map(Self::Texts),
        }
    }

    fn notes(&self) -> &[String] {
        match self {
            Self::Texts(columns) => &columns.notes,
            Self::Labelled(columns) => &columns.notes,
        }
    }

    /// The rows of a piece but for its first ones, as far as nothing is wrong with it as a whole; and what is.
    fn rows_before_fault(&self, piece: &Piece, headers: usize) -> (Vec<NumberedRow>, Option<DataError>) {
        let text = |[text]: [String; 1]| filled(&text, None);
        let labelled = |[text, label]: [String; 2]| filled(&text, Some(&label));
        match self {
            Self::Texts(columns) => rows_before_fault(columns, piece, headers, text),
            Self::Labelled(columns) => rows_before_fault(columns, piece, headers, labelled),
        }
    }
}

fn rows_before_fault<const N: usize>(
    columns: &Columns<N>,
    piece: &Piece,
    headers: usize,
    filled: impl Fn([String; N]) -> Result<TextRow, RowFault>,
) -> (Vec<NumberedRow>, Option<DataError>) {
    let mut fault = None;
    let rows = columns.rows(&piece.text, piece.line).skip(headers);
    let rows = rows.map_while(|row| row.map_err(|error| fault = Some(error)).ok());
    let rows = rows.map(|Row { line, fields }| (line, fields.and_then(&filled))).collect();
    (rows, fault)
}

/// Without the blanks around it, where nothing is empty.
fn filled(text: &str, label: Option<&str>) -> Result<TextRow, RowFault> {
    let field = |field: &str, name: &str| match field.trim() {
        "" => Err(RowFault::Empty(name.to_owned())),
        field => Ok(field.to_owned()),
    };
    let label = label.map(|label| field(label, "label"));
    Ok(TextRow { text: field(text, "text")?, label: label.transpose()? })
}

impl<R: Read> Iterator for TextReader<R> {
    type Item = Result<Vec<Option<TextRow>>, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let block = self.block().transpose();
        self.is_over = !matches!(block, Some(Ok(_)));
        block
    }
}

/// The column of the texts when none is asked for; none when the input is no table.
fn usual_column<'a>(
    source: &Source,
    dialect: Dialect,
    known: Option<&'a str>,
    must_be: bool,
) -> Option<&'a str> {
    let columns = header(source, dialect);
    // The first line of prose is no header, even where it begins with "Text, ".
    let is_name = |column: &String| !column.contains(char::is_whitespace);
    let has = |name: &str| match candidates(&columns, name).first() {
        Some(&place) => must_be || columns[place] == name || columns.iter().all(is_name),
        None => false,
    };
    known.into_iter().chain(USUAL).find(|name| has(name)).or(must_be.then_some(USUAL[0]))
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
        let columns = TextColumns { text: column, ..TextColumns::default() };
        let mut reader = TextReader::new(source, name, columns)?;
        let (mut texts, mut fault) = (Vec::new(), None);
        for block in &mut reader {
            match block {
                Ok(block) => texts.extend(block.into_iter().map(|row| row.map(|row| row.text))),
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
        let columns = TextColumns { known: Some("body"), ..TextColumns::default() };
        let read = |name: &str, text: &str| {
            let rows: Result<Vec<_>, DataError> =
                TextReader::new(text.as_bytes(), name, columns).unwrap().collect();
            rows.unwrap().concat().into_iter().map(|row| row.unwrap().text).collect::<Vec<String>>()
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
        let mut reader = TextReader::new(Waiting(receiver), "<stdin>", TextColumns::default()).unwrap();
        let block = |text: &str| vec![Some(TextRow { text: text.to_owned(), label: None })];
        assert_eq!(reader.next().unwrap().unwrap(), block("one"));
        sender.send(b"o\n").unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), block("two"));
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

    /// What rows say, `text=label`, and the notes.
    fn labelled(
        name: &str,
        text: &str,
        label: &str,
    ) -> Result<(Vec<Option<String>>, Vec<String>), DataError> {
        let columns = TextColumns { label: Some(label), ..TextColumns::default() };
        let mut reader = TextReader::new(text.as_bytes(), name, columns)?;
        let rows = (&mut reader).collect::<Result<Vec<_>, _>>()?.concat();
        let said = |row: TextRow| format!("{}={}", row.text, row.label.unwrap());
        let notes = reader.guesses().iter().cloned().chain(reader.bad_rows()).collect();
        Ok((rows.into_iter().map(|row| row.map(said)).collect(), notes))
    }

    #[test]
    fn labels_stand_beside_their_texts_and_rows_without_one_are_left_out() {
        let table = "stars,text\n5, a b \n,c\n4,\n3,d,e\n2,f\n";
        for name in ["a.csv", "<stdin>"] {
            let (rows, notes) = labelled(name, table, "stars").unwrap();
            let expected = [Some("a b=5"), None, None, None, Some("f=2")];
            assert_eq!(rows, expected.map(|row| row.map(str::to_owned)), "{name}");
            let note = format!(
                "{name}: 3 of 5 rows are left out: {name}:3: the label is empty; {name}:4: the text is empty; \
                 {name}:5: has 3 fields where the header has 2"
            );
            assert_eq!(notes.last(), Some(&note));
        }
        let (rows, notes) = labelled("<stdin>", "review,sentiment\na,b\n", "label").unwrap();
        assert_eq!(rows, [Some("a=b".to_owned())], "whose labels are asked for is a table");
        let taken = ["`review` taken for `text`", "`sentiment` taken for `label`"];
        assert_eq!(notes[1..], taken.map(|taken| format!("<stdin>: column {taken}")));
        let missing = labelled("a.csv", "text,stars\na,1\n", "label").unwrap_err().to_string();
        assert!(
            missing.starts_with("a.csv:1: no column `label`") && missing.contains("`stars`"),
            "{missing}"
        );
        let lines = labelled("<stdin>", "a good film\n", "label").unwrap_err().to_string();
        assert!(lines.starts_with("<stdin>:1: no column `text`"), "{lines}");
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
