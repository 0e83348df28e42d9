//! Text files that somebody has written.

use std::{fs, io, path::Path};

/// What to do with a file that is not UTF-8.
pub const TO_UTF8: &str = "convert the file, for example with `iconv -f LATIN1 -t UTF-8` (or -f UTF-16)";

/// Reads a file that must be UTF-8.
///
/// # Errors
/// When it cannot be read, or is not UTF-8: that message names the line and the fix.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(fs::read(path)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8 text; {TO_UTF8}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_named_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(&path, "seed = 1 # naïve\n").unwrap();
        assert_eq!(read_text(&path).unwrap(), "seed = 1 # naïve\n");
        fs::write(&path, b"seed = 1\n# na\xefve\n").unwrap();
        let message = read_text(&path).unwrap_err().to_string();
        assert!(message.starts_with("line 2 is not UTF-8 text; convert the file, "), "{message}");
    }
}
