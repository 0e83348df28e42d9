//! How the fields of a delimited file are told apart.

use std::path::Path;

/// Delimiter and quotes of a file of texts or of predictions.
///
/// Comma- and semicolon-separated fields may be quoted; in tab-separated files of texts a double quote is a
/// character like any other, as in GLUE.
///
/// ```
/// use moelt_schema::Dialect;
/// assert_eq!(Dialect::of("a.csv", "id;label;prediction\n").delimiter, b';');
/// assert_eq!(Dialect::of("a.tsv", "id;label;prediction\n"), Dialect::TAB);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// What stands between fields.
    pub delimiter: u8,
    /// Chosen by what the header looks like.
    pub guessed: bool,
}

impl Dialect {
    /// GLUE's.
    pub const TAB: Self = Self { delimiter: b'\t', guessed: false };

    /// Of the file called `name` that begins with `text`: tabs where the extension says so, or else whichever delimiter the
    /// header has most of, outside double quotes. Where it has none or as many of two, `.csv` means commas.
    pub fn of(name: &str, text: &str) -> Self {
        let extension = extension(name);
        if matches!(extension.as_str(), "tsv" | "tab") {
            return Self::TAB;
        }
        let header = text.split(['\r', '\n']).find(|line| !line.is_empty()).unwrap_or_default();
        let count = |delimiter: u8| count_unquoted(header, delimiter);
        // Of equals, the last one.
        let candidates = if extension == "csv" { *b";\t," } else { *b";,\t" };
        let delimiter = candidates.into_iter().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',');
        let as_named = extension == "csv" && delimiter == b',';
        Self { delimiter, guessed: count(delimiter) > 0 && !as_named }
    }

    /// Whether the extension says that a file is a table.
    pub fn is_named(name: &str) -> bool {
        matches!(extension(name).as_str(), "tsv" | "tab" | "csv")
    }

    /// Whether fields may be quoted.
    pub fn quotes(self) -> bool {
        self.delimiter != b'\t'
    }

    /// What was guessed of the file called `name`, for the user.
    pub fn note(self, name: &str) -> Option<String> {
        let delimiter = match self.delimiter {
            b';' => "semicolon",
            b'\t' => "tab",
            _ => "comma",
        };
        self.guessed.then(|| format!("{name}: read as {delimiter}-separated, as its header is"))
    }
}

/// What a file's name ends in, lower-cased: `csv`, or nothing.
fn extension(name: &str) -> String {
    Path::new(name).extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// How often a line has a delimiter that is not within double quotes.
fn count_unquoted(line: &str, delimiter: u8) -> usize {
    let outside = line.split('"').step_by(2);
    outside.flat_map(str::bytes).filter(|&byte| byte == delimiter).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_comes_from_the_extension_or_the_header() {
        let delimiter = |name, text| Dialect::of(name, text).delimiter;
        assert_eq!(delimiter("a.tsv", "a,b"), b'\t');
        assert_eq!(delimiter("a.TAB", "a,b"), b'\t');
        assert_eq!(delimiter("a.csv", "a,b"), b',');
        assert_eq!(delimiter("a.csv", "\n\na;b"), b';');
        assert_eq!(delimiter("a.csv", "a\tb"), b'\t');
        assert_eq!(delimiter("a.csv", "\"a;b;c\",d"), b',');
        assert_eq!(delimiter("a.csv", "a"), b',');
        assert_eq!(delimiter("a.data", "a\tb"), b'\t');
        assert_eq!(delimiter("a", "a;b;c"), b';');
        assert_eq!(delimiter("a", "a,b"), b',');
    }
}
