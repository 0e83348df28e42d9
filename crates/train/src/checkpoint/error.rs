//! Everything that can be wrong with a checkpoint, each as its own error.

use std::{fmt, io, path::PathBuf};

use moelt_schema::{CHECKPOINT_FORMAT, Digest};

/// Where a model's sizes stand.
const MODEL_SIZES: &str = "config.toml, manifest.json (layout, classes) and vocabulary.json";

/// Why a checkpoint cannot be written, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// There is no checkpoint at a path.
    #[error(
        "{}: no checkpoint here; give a folder with manifest.json (such as RUN/checkpoints/step-00000500), or a run folder",
        .0.display()
    )]
    NotFound(PathBuf),
    /// A checkpoint that the run is judged by is not there any more.
    #[error(
        "{}: is gone, but the run is judged by the model as it was then; put it back, or delete the run folder to start anew",
        .0.display()
    )]
    Gone(PathBuf),
    /// A checkpoint is to be written where something is.
    #[error("{}: is there already; nothing is written over it", .0.display())]
    Exists(PathBuf),
    /// A pointer file (`latest`, `best`) does not name a checkpoint.
    #[error("{}: {message}; it should read `step-00000000 HASH`", path.display())]
    Pointer {
        /// The pointer file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file's content is not what was saved.
    #[error("{}: has hash {found}, was saved with {expected}: the file was changed or cut off", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// Hash at save.
        expected: String,
        /// Hash now.
        found: Digest,
    },
    /// Written by another version of the format.
    #[error("{}: checkpoint format {found}; this moelt reads format {CHECKPOINT_FORMAT}", path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A file that cannot be parsed.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// Tensors that are not exactly those of the model.
    #[error("{}: {mismatch}", path.display())]
    Keys {
        /// The tensor file.
        path: PathBuf,
        /// Which.
        mismatch: KeyMismatch,
    },
    /// A model far larger than its weights.
    #[error(
        "{}: holds {stored} values, but a model of the sizes in {MODEL_SIZES} has {needed}, most of them in \
         `{parameter}` {shape:?}",
        path.display()
    )]
    Size {
        /// The file of the weights.
        path: PathBuf,
        /// Values in it.
        stored: u128,
        /// Values of the model.
        needed: u128,
        /// The model's largest parameter.
        parameter: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Another vocabulary than the weights were trained with.
    #[error("{}: vocabulary {found}, but the weights were trained with {expected}", path.display())]
    Vocabulary {
        /// The checkpoint.
        path: PathBuf,
        /// The vocabulary of the weights.
        expected: Digest,
        /// The one found.
        found: Digest,
    },
    /// A checkpoint of another config or of other data than the run that wants to continue it.
    #[error("{}: {what} {found}, but this run has {expected}", path.display())]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// `config` or `data`.
        what: &'static str,
        /// The run's.
        expected: Digest,
        /// The checkpoint's.
        found: Digest,
    },
    /// The model does not compute what it computed at save.
    #[error(
        "{}: probe {input} of the {weights} weights gave logits {saved:?} at save and gives {now:?} now, \
         more than {tolerance} · (1 + |logit|) apart: the weights are not where they belong",
        path.display()
    )]
    Probe {
        /// The checkpoint.
        path: PathBuf,
        /// `trained` or `averaged`.
        weights: &'static str,
        /// Which probe input.
        input: u32,
        /// Logits at save.
        saved: Vec<f32>,
        /// Logits now.
        now: Vec<f32>,
        /// How far they may be apart, relative to 1 + |logit|.
        tolerance: f32,
    },
}

impl CheckpointError {
    /// For `map_err` on file operations at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause }
    }
}

/// How the tensors of a file differ from what the model needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyMismatch {
    /// Needed, not in the file.
    pub missing: Vec<String>,
    /// In the file, not needed.
    pub unexpected: Vec<String>,
    /// Name with the shape or type needed and the one found.
    pub misshapen: Vec<(String, String, String)>,
}

impl KeyMismatch {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }

    /// The prefix under which the file holds everything that is missing, such as `model_state_dict.`.
    fn nested_under(&self) -> Option<&str> {
        let first = self.missing.first()?;
        let prefix = self.unexpected.iter().find_map(|name| name.strip_suffix(first.as_str()))?;
        let found = |name: &String| self.unexpected.contains(&format!("{prefix}{name}"));
        (!prefix.is_empty() && self.missing.iter().all(found)).then_some(prefix)
    }
}

impl fmt::Display for KeyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tensors are not those of the model")?;
        if let (Some(prefix), Some(name)) = (self.nested_under(), self.missing.first()) {
            let n = self.missing.len();
            write!(f, "; all {n} are nested under `{prefix}`: found `{prefix}{name}`, needed `{name}`")?;
        }
        list(f, "missing", &self.missing)?;
        list(f, "unexpected", &self.unexpected)?;
        let misshapen: Vec<String> = self
            .misshapen
            .iter()
            .map(|(name, needed, found)| format!("{name} (needs {needed}, found {found})"))
            .collect();
        list(f, "misshapen", &misshapen)
    }
}

/// `; missing 12: a, b, c, …` with at most eight names.
fn list(f: &mut fmt::Formatter<'_>, what: &str, names: &[String]) -> fmt::Result {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return Ok(());
    }
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    write!(f, "; {what} {}: {shown}{more}", names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str) -> Vec<String> {
        ["embedding.table", "head.bias"].map(|name| format!("{prefix}{name}")).to_vec()
    }

    #[test]
    fn weights_under_another_name_are_recognised() {
        let mismatch =
            KeyMismatch { missing: names(""), unexpected: names("model_state_dict."), misshapen: Vec::new() };
        let text = mismatch.to_string();
        let expected = "all 2 are nested under `model_state_dict.`: \
                        found `model_state_dict.embedding.table`, needed `embedding.table`";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn one_renamed_tensor_is_listed_on_both_sides() {
        let mismatch = KeyMismatch {
            missing: vec!["head.bias".into()],
            unexpected: vec!["head.offset".into()],
            misshapen: vec![("head.weight".into(), "[2, 3]".into(), "[3, 2]".into())],
        };
        assert_eq!(
            mismatch.to_string(),
            "the tensors are not those of the model; missing 1: head.bias; unexpected 1: head.offset; \
             misshapen 1: head.weight (needs [2, 3], found [3, 2])"
        );
    }
}
