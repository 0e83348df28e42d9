//! An input as it comes: pieces of whole records, each as long as what has been read makes it.

use std::{io, mem};

use crate::{
    DataError,
    source::{MARK, newlines},
};

/// Bytes that are asked for at a time.
const BLOCK: usize = 1 << 16;

/// An input of which no more is held than one read and the record that it breaks off in.
pub(crate) struct Pieces<R> {
    input: R,
    name: String,
    /// What has been read and not been given out.
    pending: Vec<u8>,
    /// Line on which it begins.
    line: u64,
    records: Records,
    is_over: bool,
    /// What ends the input after the pieces that come before it.
    fault: Option<DataError>,
}

/// Whole records.
pub(crate) struct Piece {
    /// Line on which they begin.
    pub(crate) line: u64,
    pub(crate) text: String,
}

impl<R: io::Read> Pieces<R> {
    /// Pieces of whole lines.
    pub(crate) fn new(input: R, name: &str) -> Self {
        Self {
            input,
            name: name.to_owned(),
            pending: Vec::new(),
            line: 1,
            records: Records::default(),
            is_over: false,
            fault: None,
        }
    }

    /// Pieces of whole records, some of whose fields may run over several lines in double quotes.
    pub(crate) fn quoted(mut self, delimiter: u8) -> Self {
        self.records.delimiter = Some(delimiter);
        self
    }

    /// The first line, or the first that is not blank with those before it. It stays where it is.
    pub(crate) fn first_line(&mut self, may_be_blank: bool) -> Result<String, DataError> {
        while !self.is_over && self.pending.len() < MARK.len() && MARK.starts_with(&self.pending) {
            self.read()?;
        }
        if self.pending.starts_with(MARK) {
            self.pending.drain(..MARK.len());
        }
        let mut seen = 0;
        let end = loop {
            let is_blank = |byte: &&u8| !may_be_blank && matches!(byte, b'\r' | b'\n');
            let blank = self.pending.iter().take_while(is_blank).count();
            let from = blank.max(seen);
            if let Some(at) = self.pending[from..].iter().position(|byte| *byte == b'\n') {
                break from + at + 1;
            }
            seen = self.pending.len();
            if self.is_over {
                break seen;
            }
            self.read()?;
        };
        let text = String::from_utf8(self.pending[..end].to_vec());
        text.map_err(|error| self.not_utf8(error.utf8_error().valid_up_to(), error.as_bytes()))
    }

    /// The records that are there, or those that the next reads complete; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, DataError> {
        loop {
            if let Some(fault) = self.fault.take() {
                return Err(fault);
            }
            self.records.find_ends(&self.pending);
            let whole = if self.is_over { self.pending.len() } else { self.records.end };
            if whole > 0 {
                if let Some(piece) = self.take(whole) {
                    return Ok(Some(piece));
                }
            } else if self.is_over {
                return Ok(None);
            } else {
                self.read()?;
            }
        }
    }

    /// The first bytes as text, or as much of them as is text and whole records.
    fn take(&mut self, whole: usize) -> Option<Piece> {
        let rest = self.pending.split_off(whole);
        self.records.forget(whole);
        let bytes = mem::replace(&mut self.pending, rest);
        let text = String::from_utf8(bytes).unwrap_or_else(|error| {
            let good = error.utf8_error().valid_up_to();
            self.fault = Some(self.not_utf8(good, error.as_bytes()));
            let mut records = Records { delimiter: self.records.delimiter, ..Records::default() };
            records.find_ends(&error.as_bytes()[..good]);
            String::from_utf8_lossy(&error.as_bytes()[..records.end]).into_owned()
        });
        let line = self.line;
        self.line += newlines(text.as_bytes());
        (!text.is_empty()).then_some(Piece { line, text })
    }

    fn not_utf8(&self, good: usize, bytes: &[u8]) -> DataError {
        let beginning = if self.line == 1 { bytes } else { &[] };
        DataError::not_utf8(&self.name, self.line + newlines(&bytes[..good]), beginning)
    }

    fn read(&mut self) -> Result<(), DataError> {
        let start = self.pending.len();
        self.pending.resize(start + BLOCK, 0);
        let read = loop {
            match self.input.read(&mut self.pending[start..]) {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.pending.truncate(start + read.as_ref().map_or(0, |n| *n));
        self.is_over = !matches!(read, Ok(1..));
        read.map(drop).map_err(|cause| DataError::Read { file: self.name.clone(), cause })
    }
}

/// Where records end in bytes that grow.
#[derive(Default)]
struct Records {
    /// That of fields which may be quoted; none where every line is a record.
    delimiter: Option<u8>,
    place: Place,
    /// Bytes that have been looked at.
    seen: usize,
    /// Where the last whole record ends.
    end: usize,
}

/// Where a byte of a record stands, as the csv crate reads it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    FieldStart,
    Plain,
    Quoted,
    /// After a double quote in a quoted field: its end, or the first half of a character.
    AfterQuote,
}

impl Records {
    fn find_ends(&mut self, bytes: &[u8]) {
        match self.delimiter {
            Some(delimiter) => {
                for (at, byte) in bytes.iter().enumerate().skip(self.seen) {
                    self.place = self.place.after(*byte, delimiter);
                    if *byte == b'\n' && self.place == Place::FieldStart {
                        self.end = at + 1;
                    }
                }
            }
            None => {
                let last = bytes[self.seen..].iter().rposition(|byte| *byte == b'\n');
                self.end = last.map_or(self.end, |at| self.seen + at + 1);
            }
        }
        self.seen = bytes.len();
    }

    /// The first bytes are gone.
    fn forget(&mut self, n: usize) {
        self.seen -= n;
        self.end = 0;
    }
}

impl Place {
    fn after(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Self::Quoted, b'"') => Self::AfterQuote,
            (Self::Quoted, _) | (Self::FieldStart | Self::AfterQuote, b'"') => Self::Quoted,
            (_, b'\r' | b'\n') => Self::FieldStart,
            (_, byte) if byte == delimiter => Self::FieldStart,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Gives so many bytes at a time.
    pub(crate) struct Drip<'a>(pub(crate) &'a [u8], pub(crate) usize);

    impl io::Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(buffer.len());
            io::Read::read(&mut self.0, &mut buffer[..n])
        }
    }

    fn pieces(mut pieces: Pieces<Drip<'_>>) -> (Vec<(u64, String)>, Option<String>) {
        let mut all = Vec::new();
        loop {
            match pieces.next() {
                Ok(Some(piece)) => all.push((piece.line, piece.text)),
                Ok(None) => return (all, None),
                Err(error) => return (all, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn lines_are_given_out_as_soon_as_they_are_whole() {
        let of = |n| pieces(Pieces::new(Drip(b"one\ntwo\n\nfour", n), "a.txt"));
        let expected = [(1, "one\n"), (2, "two\n"), (3, "\n"), (4, "four")];
        assert_eq!(of(1), (expected.map(|(line, text)| (line, text.to_owned())).to_vec(), None));
        assert_eq!(of(6).0, [(1, "one\n".to_owned()), (2, "two\n\n".to_owned()), (4, "four".to_owned())]);
        assert_eq!(of(99).0, [(1, "one\ntwo\n\n".to_owned()), (4, "four".to_owned())]);
    }

    #[test]
    fn a_break_within_quotes_ends_no_record() {
        let text = b"a,\"b\nc\"\"\n\"\nd 5\",e\n\"f";
        let of = |n| pieces(Pieces::new(Drip(text, n), "a.csv").quoted(b','));
        let expected = [(1, "a,\"b\nc\"\"\n\"\n"), (4, "d 5\",e\n"), (5, "\"f")];
        assert_eq!(of(1), (expected.map(|(line, text)| (line, text.to_owned())).to_vec(), None));
    }

    #[test]
    fn what_comes_before_bytes_that_are_no_text_is_given_out() {
        for n in [1, 5, 99] {
            let (all, error) = pieces(Pieces::new(Drip(b"one\ntwo\nna\xefve\n", n), "a.txt"));
            let text: String = all.into_iter().map(|(_, text)| text).collect();
            assert_eq!(
                (text.as_str(), error.is_some_and(|e| e.starts_with("a.txt:3: "))),
                ("one\ntwo\n", true)
            );
        }
    }

    #[test]
    fn the_first_line_stays() {
        for n in [1, 2, 99] {
            let mut first = Pieces::new(Drip("\u{feff}\n\none\ntwo".as_bytes(), n), "a.txt");
            assert_eq!(first.first_line(true).unwrap(), "\n");
            assert_eq!(first.first_line(false).unwrap(), "\n\none\n");
            let text: String = pieces(first).0.into_iter().map(|(_, text)| text).collect();
            assert_eq!(text, "\n\none\ntwo");
        }
        assert_eq!(Pieces::new(Drip(b"", 1), "a.txt").first_line(true).unwrap(), "");
    }
}
