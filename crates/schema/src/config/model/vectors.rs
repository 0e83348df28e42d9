//! Word vectors that somebody has trained, in a file or a folder.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::pretrained::{digest_of, noted};
use crate::Digest;

/// Where word vectors lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VectorFiles {
    /// A text file: a word and its numbers on each line.
    Text(PathBuf),
    /// A folder: words by the vocabulary of a tokenizer, vectors by a file of weights.
    Folder {
        /// `model.safetensors`
        weights: PathBuf,
        /// `tokenizer.json`
        tokenizer: PathBuf,
    },
}

impl VectorFiles {
    /// Those at a path.
    pub fn at(path: &Path) -> Self {
        if path.is_dir() {
            Self::Folder { weights: path.join("model.safetensors"), tokenizer: path.join("tokenizer.json") }
        } else {
            Self::Text(path.into())
        }
    }

    /// Hash of the files' hashes.
    ///
    /// # Errors
    /// The file that cannot be read, and why.
    pub fn digest(&self) -> Result<Digest, String> {
        match self {
            Self::Text(path) => digest_of([path]),
            Self::Folder { weights, tokenizer } => digest_of([weights, tokenizer]),
        }
    }
}

/// Notes which files a `[model]` section means that names some.
pub(crate) fn lay_over(model: &Table) -> Result<Option<Table>, String> {
    let Some(Value::String(path)) = model.get("vectors") else { return Ok(None) };
    let mut section = Table::new();
    noted(model, &mut section, "vectors_digest", path, VectorFiles::at(Path::new(path)).digest()?)?;
    Ok(Some(section))
}
