//! What a run starts from.

use serde::{Deserialize, Serialize};

use super::{OtherRun, RunRef, Takes};

/// What a run starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StartConfig {
    /// Nothing: weights are drawn, and layers have the experts that `model.routing` says.
    Scratch {},
    /// Another run's best checkpoint: its evaluated weights and experts. Before the first step they must repeat the
    /// validation metrics they were saved with. The optimizer starts anew.
    Weights {
        /// Folder of a finished run, or a checkpoint; in a phase file `{arm}`.
        run: RunRef,
    },
    /// Only how many experts each layer of another run's best checkpoint has; weights are drawn anew.
    Size {
        /// Folder of a finished run, or a checkpoint; in a phase file `{arm}`.
        run: RunRef,
    },
}

impl Default for StartConfig {
    fn default() -> Self {
        Self::Scratch {}
    }
}

impl StartConfig {
    pub(super) fn other_run(&self) -> Option<OtherRun<'_>> {
        let (key, run) = match self {
            Self::Scratch {} => return None,
            Self::Weights { run } => ("start.weights.run", run),
            Self::Size { run } => ("start.size.run", run),
        };
        Some(OtherRun { key, run, takes: Takes::Checkpoint })
    }
}
