//! A file's text, checked to be text, with the name that errors use.

use std::{fs, path::Path};

use moelt_schema::Dialect;

use crate::DataError;

/// A byte order mark, which is no text.
pub(crate) const MARK: &[u8] = "\u{feff}".as_bytes();

/// A whole input in memory.
pub(crate) struct Source {
    /// The path.
    pub(crate) name: String,
    /// Its text, without a byte order mark.
    pub(crate) text: String,
}

impl Source {
    /// Reads a file.
    pub(crate) fn from_path(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => Self::from_bytes(bytes, name),
            Err(cause) => Err(DataError::Read { file: name, cause }),
        }
    }

    pub(crate) fn from_bytes(bytes: Vec<u8>, name: String) -> Result<Self, DataError> {
        let mut text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            DataError::not_utf8(&name, 1 + newlines(good), error.as_bytes())
        })?;
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(Self { name, text })
    }

    /// How its fields are told apart, where it is a table.
    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::of(&self.name, &self.text)
    }
}

/// Line ends in some bytes.
pub(crate) fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_text() {
        let source = Source::from_bytes("\u{feff}text\n".into(), "a.csv".into()).unwrap();
        assert_eq!(source.text, "text\n");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named_by_line() {
        let error = Source::from_bytes(b"text\nfine\nna\xefve\n".into(), "a.csv".into()).err().unwrap();
        assert!(error.to_string().starts_with("a.csv:3: is not UTF-8"), "{error}");
        let workbook =
            Source::from_bytes(b"PK\x03\x04\x14\0\x06\0\xff\xfe".into(), "a.csv".into()).err().unwrap();
        assert!(workbook.to_string().starts_with("a.csv: is a ZIP archive, as Excel"), "{workbook}");
    }
}
