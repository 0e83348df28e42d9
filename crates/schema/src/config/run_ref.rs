//! How a config names another run.

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

/// Another run that a config takes something from: a folder, or in a phase file `{arm}`, the cell of that arm with
/// the same seed. Planning an ablation puts the folder of the cell in its place.
///
/// ```
/// use moelt_schema::RunRef;
/// assert_eq!(RunRef::from("{rule}".to_owned()), RunRef::Arm { arm: "rule".into(), inside: String::new() });
/// assert_eq!(RunRef::from("runs/mine".to_owned()), RunRef::Folder("runs/mine".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum RunRef {
    /// A run folder, or a checkpoint in one.
    Folder(String),
    /// A cell of the same ablation.
    Arm {
        /// Its arm.
        arm: String,
        /// The path inside its folder, beginning with `/`; empty for the folder itself.
        inside: String,
    },
}

impl RunRef {
    /// The folder.
    ///
    /// # Errors
    /// When it is a cell of an ablation, which has no folder yet.
    pub fn folder(&self) -> Result<&Path, String> {
        match self {
            Self::Folder(folder) => Ok(Path::new(folder)),
            Self::Arm { .. } => Err("is a cell of an ablation; name the folder of a finished run".to_owned()),
        }
    }
}

/// A run that a config takes something from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherRun<'a> {
    /// The key that names it.
    pub key: &'static str,
    /// Which one.
    pub run: &'a RunRef,
    /// What is taken.
    pub takes: Takes,
}

/// What a config takes from another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Its best checkpoint, or one that is named: weights, or only how many experts there are.
    Checkpoint,
    /// When it edited and which way.
    Edits,
    /// What it spent.
    Flops,
    /// What its trials measured.
    Records,
}

impl From<String> for RunRef {
    fn from(text: String) -> Self {
        let arm = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        match arm {
            Some((arm, inside)) => Self::Arm { arm: arm.to_owned(), inside: inside.to_owned() },
            None => Self::Folder(text),
        }
    }
}

impl From<RunRef> for String {
    fn from(run: RunRef) -> Self {
        run.to_string()
    }
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => f.write_str(folder),
            Self::Arm { arm, inside } => write!(f, "{{{arm}}}{inside}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_back_as_they_were_written() {
        for text in ["runs/x", "", "{rule}", "{rule}/checkpoints/step-00000100", "a{b}"] {
            assert_eq!(RunRef::from(text.to_owned()).to_string(), text);
        }
        assert!(RunRef::from("{rule}".to_owned()).folder().unwrap_err().contains("cell of an ablation"));
    }
}
