//! The training loop.

use serde::{Deserialize, Serialize};

use super::{
    ConfigFault, OtherRun, RunRef, Takes,
    bounds::{at_least_zero, count, positive},
    choice::choice,
};

/// No run takes more steps. Whatever is counted in steps, or multiplied with one, stays far within 64 bits.
pub const MAX_STEPS: u64 = 1_000_000_000_000;

/// The training loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// How long it trains.
    #[serde(deserialize_with = "choice")]
    pub budget: Budget,
    /// Examples per step.
    pub batch_size: usize,
    /// Weight of the load-balancing loss.
    pub load_balancing_coef: f64,
    /// Weight of the router z-loss of layers with top-k routing, which keeps router logits small (ST-MoE, Zoph et al. 2022).
    pub router_z_coef: f64,
    /// By how much the balance bias of an expert behind a top-k router moves after each step: up where it got fewer tokens than
    /// the mean, down where it got more (Wang et al. 2024). It adds to router logits where experts are chosen, and to no weight.
    /// 0: it stays.
    pub balance_bias_rate: f64,
    /// Steps between two evaluations on validation; 0: once an epoch.
    pub eval_every: u64,
    /// Steps between two `window` events; 0: only one, at the end.
    pub log_every: u64,
    /// Steps between two checkpoints, beside those at a new best; 0: none.
    pub checkpoint_every: u64,
    /// Checkpoints kept, newest first; the best one, and with `data.planted.live` those of its `times`, are kept
    /// in any case.
    pub keep_last: usize,
    /// Evaluations without a new best before training stops; 0: never.
    pub patience: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            budget: Budget::Epochs(Budget::DEFAULT_EPOCHS),
            batch_size: 128,
            load_balancing_coef: 0.01,
            router_z_coef: 0.0,
            balance_bias_rate: 0.0,
            eval_every: 0,
            log_every: 50,
            checkpoint_every: 500,
            keep_last: 2,
            patience: 0,
        }
    }
}

impl TrainConfig {
    /// Refuses values that no loop can work with.
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        if let Budget::Epochs(epochs) = self.budget {
            positive("budget.epochs", epochs)?;
        }
        count("batch_size", self.batch_size as u64, 100_000_000)?;
        at_least_zero("load_balancing_coef", self.load_balancing_coef)?;
        at_least_zero("router_z_coef", self.router_z_coef)?;
        at_least_zero("balance_bias_rate", self.balance_bias_rate)?;
        count("keep_last", self.keep_last as u64, u64::MAX)
    }
}

/// How long a run trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// Passes over the training split; fractions are fine.
    Epochs(f64),
    /// As many floating-point operations as another run spent: what it measured counts, and what went into the
    /// weights that it started from. Operations are counted without padding, which is known in advance; of a layer
    /// with top-any routing all experts. For frozen experts alone.
    FlopsOf(RunRef),
}

impl Budget {
    /// Passes over the training split that set the times of a run whose budget is another's operations.
    pub const DEFAULT_EPOCHS: f64 = 3.0;

    pub(super) fn other_run(&self) -> Option<OtherRun<'_>> {
        match self {
            Self::Epochs(_) => None,
            Self::FlopsOf(run) => Some(OtherRun { key: "train.budget.flops_of", run, takes: Takes::Flops }),
        }
    }

    /// Passes over the training split, where it says so itself.
    pub fn epochs(&self) -> Option<f64> {
        match self {
            Self::Epochs(epochs) => Some(*epochs),
            Self::FlopsOf(_) => None,
        }
    }
}
