//! What is wrong with config files, in one line that can be shown.

use std::path::{Path, PathBuf};

/// What is wrong with a config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {cause}{}", path.display(), named_by(parent_of))]
    Read {
        /// The file.
        path: PathBuf,
        /// The file that names it as its parent.
        parent_of: Option<PathBuf>,
        /// Why.
        cause: std::io::Error,
    },
    /// A file is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A key or value that no config has.
    #[error("{place}: `{key}`: {message}")]
    Key {
        /// Where it was set: file and line, or `--set`.
        place: String,
        /// The key.
        key: String,
        /// What is wrong, and what is possible.
        message: String,
    },
    /// A `--set` that is not `key=value`.
    #[error("--set {0}: expected key=value, such as --set optim.lr=0.001")]
    Set(String),
    /// Files that name one another as parents.
    #[error("{}: is its own parent", .0.display())]
    Cycle(PathBuf),
}

fn named_by(parent_of: &Option<PathBuf>) -> String {
    parent_of.as_ref().map_or(String::new(), |child| format!(" (the parent of {})", child.display()))
}

impl ConfigError {
    /// Of the parser's lines the first says what is wrong, and the others what would do.
    pub(super) fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or_default());
        let line = 1 + before.matches('\n').count();
        let message = shortened(&error.message().lines().collect::<Vec<_>>().join("; "));
        Self::Syntax { path: path.into(), line, message }
    }
}

/// What somebody has written, at a length that can be shown.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 2000;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_syntax_is_one_line_with_its_place() {
        let message = |text: &str| {
            let error = toml::from_str::<toml::Table>(text).unwrap_err();
            ConfigError::not_toml(Path::new("a.toml"), text, &error).to_string()
        };
        assert_eq!(message("a = 1\nb = 2\nb = 3\n"), "a.toml:3: duplicate key");
        assert!(message(&format!("a = {}", "[".repeat(100_000))).len() < 200);
    }

    #[test]
    fn what_is_too_long_to_be_shown_is_cut_between_characters() {
        assert_eq!(shortened("kurz"), "kurz");
        assert_eq!(shortened(&"ä".repeat(2001)), "ä".repeat(2000) + "…");
    }
}
