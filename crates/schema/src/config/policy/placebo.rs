//! What placebos follow, and what they are made of.

use serde::{Deserialize, Serialize};

use crate::{
    MAX_STEPS, RunRef,
    config::{
        ConfigFault,
        bounds::{at_least_zero, count},
    },
};

/// What both placebos follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceboConfig {
    /// The run whose edits are followed: its folder; in a phase file `{arm}`.
    pub edits_of: RunRef,
}

/// How forks without an edit, each with an order of batches and dropout of its own, are tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlaceboForksConfig {
    /// Forks beside the one that keeps.
    pub forks: usize,
    /// Steps that each of them trains.
    pub horizon: u64,
    /// Standard errors between a measured gain and its lower bound, as look-ahead asks for.
    pub confidence: f64,
    /// What look-ahead adds to a standard error for the order of batches, nats.
    pub training_luck: f64,
}

impl Default for PlaceboForksConfig {
    fn default() -> Self {
        Self { forks: 4, horizon: 150, confidence: 2.0, training_luck: 0.0 }
    }
}

impl PlaceboForksConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        count("forks", self.forks as u64, 10_000)?;
        count("horizon", self.horizon, MAX_STEPS)?;
        at_least_zero("training_luck", self.training_luck)?;
        at_least_zero("confidence", self.confidence)
    }
}
