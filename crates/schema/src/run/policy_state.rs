//! What a policy remembers between decisions: plain numbers, part of every checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, ExpertId, LayerId, Move, TaughtHead};

/// What a policy remembers between decisions; saved in every checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyState {
    /// Decisions made.
    pub decisions: u64,
    /// One memory a layer.
    pub layers: Vec<LayerMemory>,
    /// Hash of the edits that a placebo follows.
    pub script: Option<Digest>,
    /// Mean training loss of the last decision's window, nats, where the policy looks at it and it was a number.
    pub loss: Option<f64>,
    /// … and of the window before that one.
    pub loss_before: Option<f64>,
    /// Training losses of the last steps, nats, oldest first, where the policy tests for a jump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<f64>,
    /// The control head, once it has learnt something.
    pub head: Option<HeadState>,
    /// Where splitting and dropping stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_and_drop: Option<SplitAndDropState>,
    /// The gates of experts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<GatesState>,
    /// Whatever a policy of one's own remembers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<serde_json::Value>,
}

/// Where splitting and dropping stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitAndDropState {
    /// Times in a row at which nothing was split.
    pub quiet: u64,
    /// The halves that splits made, and after which step.
    pub halves: Vec<(LayerId, ExpertId, u64)>,
    /// What is next, and before which step.
    pub next: Option<(u64, Stage)>,
    /// Loss that descents have cost so far, nats.
    pub descended: f64,
    /// The lowest loss of all experts on the validation texts that were looked at, nats.
    pub lowest_loss: Option<f64>,
    /// Whether it has come to rest: the experts stay from now on.
    pub done: bool,
}

/// A part of splitting and dropping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stage {
    /// The split test.
    Test {},
    /// Hidden units of new halves are looked at.
    Redraw {
        /// The halves.
        halves: Vec<(LayerId, ExpertId)>,
    },
    /// Which experts of a layer could go is looked at, for a descent.
    Order {
        /// The layer.
        layer: LayerId,
    },
    /// Smaller sets race.
    Race {
        /// The layer.
        layer: LayerId,
        /// The experts of each set.
        sets: Vec<Vec<ExpertId>>,
        /// Loss of all experts on the validation texts that sets are judged on, nats.
        loss: f64,
    },
}

/// The gates of experts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatesState {
    /// Those that have learnt something; the others are as they begin.
    pub gates: Vec<GateState>,
    /// Updates made.
    pub updates: u64,
    /// Whether their period is over: the experts stay from now on.
    pub done: bool,
}

/// The gate of an expert, with the state of its optimizer, Adam. All values are finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateState {
    /// The layer.
    pub layer: LayerId,
    /// The expert.
    pub expert: ExpertId,
    /// log α: the higher, the more often it is open.
    pub log_alpha: f64,
    /// Decaying mean of its gradient.
    pub first: f64,
    /// Decaying mean of its square.
    pub second: f64,
}

/// What a policy remembers of a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerMemory {
    /// The decision that edited the layer last, counted from 1.
    pub last_edit: Option<u64>,
    /// Decisions that weighed the layer's moves, where layers take turns.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub turns: u64,
    /// Windows in a row that asked to grow.
    pub asked_to_grow: u64,
    /// Windows in a row that asked to prune an expert.
    pub asked_to_prune: BTreeMap<ExpertId, u64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A control head. It is numbers and no tensors, so that no gradient can pass from it to the backbone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadState {
    /// Its networks: one that classifies, or an ensemble that predicts.
    pub networks: Vec<NetworkState>,
    /// What it has seen measured: first in other runs, then in this one, oldest first.
    pub records: Vec<EffectRecord>,
    /// Floating-point operations of training it; predicting is left out, which is next to nothing.
    pub flops: u64,
    /// What it was taught before any run, in place of networks and records: such a head learns no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taught: Option<TaughtHead>,
}

/// A small network with the state of its optimizer, Adam. Three lists of one length; all values are finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkState {
    /// Weights, in the network's own order.
    pub weights: Vec<f32>,
    /// Decaying mean of each weight's gradient.
    pub first: Vec<f32>,
    /// Decaying mean of its square.
    pub second: Vec<f32>,
    /// Updates made.
    pub updates: u64,
}

/// The measured effect of one move, and what was known before it was measured. All values are finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectRecord {
    /// The run that measured it: 0 is this one, others count from 1.
    pub run: u32,
    /// Optimizer steps done when it was measured.
    pub step: u64,
    /// The layer.
    pub layer: LayerId,
    /// The move.
    pub candidate: Move,
    /// The layer's features.
    pub features: Vec<f32>,
    /// Steps that the candidate trained.
    pub steps: u64,
    /// Validation loss with the move minus without it, nats.
    pub loss_increase: f64,
    /// Standard error of `loss_increase`, paired by text, nats.
    pub standard_error: f64,
}
