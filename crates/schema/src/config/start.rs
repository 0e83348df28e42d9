//! What a run starts from.

use serde::{Deserialize, Serialize};

use super::RunRef;

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
    /// The other run, with its key.
    pub(super) fn run(&self) -> Option<(&'static str, &RunRef)> {
        match self {
            Self::Scratch {} => None,
            Self::Weights { run } => Some(("start.weights.run", run)),
            Self::Size { run } => Some(("start.size.run", run)),
        }
    }
}
