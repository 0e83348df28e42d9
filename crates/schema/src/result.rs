//! What a finished cell leaves behind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Layout, Metrics};

/// Version of `result.json`.
pub const RESULT_FORMAT: u32 = 1;

/// `result.json`: written last, so that a cell with one is finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// [`RESULT_FORMAT`].
    pub format: u32,
    /// Version of moelt that ran it.
    pub moelt: String,
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// Hash of the resolved config.
    pub config: Digest,
    /// Hash of the examples.
    pub data: Digest,
    /// The experts at the end.
    pub layout: Layout,
    /// Trainable values.
    pub n_params: usize,
    /// Values that work on one row.
    pub n_active_params: usize,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Step of the checkpoint that was evaluated.
    pub best_step: u64,
    /// Sizes of the splits.
    pub splits: SplitSizes,
    /// What a reader should know about the data: repeats, contradictions, what was held out.
    pub notes: Vec<String>,
    /// Metrics on the selection split.
    pub selection: Metrics,
    /// Metrics on the verdict split, read once, here.
    pub verdict: Metrics,
    /// The accuracy no classifier can beat, when the data set knows it.
    pub bayes_accuracy: Option<f64>,
    /// Wall-clock seconds of training, evaluation on selection included.
    pub seconds: f64,
    /// Hashes of the cell's other files that count (predictions).
    pub files: BTreeMap<String, Digest>,
}

/// Examples per split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSizes {
    /// Trained on.
    pub train: usize,
    /// Chosen on.
    pub selection: usize,
    /// Judged on.
    pub verdict: usize,
}
