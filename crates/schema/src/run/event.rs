//! What a run writes to `events.jsonl`: one JSON object a line.
//!
//! Every line has `step` (optimizer steps done), `event` (the kind), the kind's own fields and
//! `wall`, the only field that may differ between a run and its repetition.

use serde::{Deserialize, Serialize};

use crate::{ControlGradients, Digest, Evidence, Flops, Layout, Plan, RoutingStats, RoutingWarning};

/// One line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Optimizer steps done when it happened.
    pub step: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// When, and how long it took.
    pub wall: Wall,
}

/// Wall-clock facts, kept apart from everything that is reproducible.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wall {
    /// Seconds since the Unix epoch.
    pub unix: f64,
    /// Training seconds so far, over all sessions of the run.
    pub seconds: f64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line of a run.
    Start {
        /// The arm's name.
        arm: String,
        /// The seed.
        seed: u64,
        /// Hash of the resolved config.
        config: Digest,
        /// Hash of the examples.
        data: Digest,
        /// Hash of the vocabulary.
        vocabulary: Digest,
        /// The experts at the start.
        layout: Layout,
        /// Trainable values.
        n_params: usize,
        /// Values that work on one token.
        n_active_params: usize,
        /// Steps the run will take unless it stops early.
        total_steps: u64,
        /// What a reader should know about the data: repeats, contradictions, what was held out,
        /// skipped, guessed or cut.
        notes: Vec<String>,
    },
    /// Means over the last `steps` steps.
    Window {
        /// Steps in the window.
        steps: u64,
        /// Mean cross entropy, nats.
        loss: f64,
        /// Mean unweighted load-balancing loss over the layers with top-k routing, if there are some; 1 when balanced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        load_balancing_loss: Option<f64>,
        /// Mean unweighted router z-loss over the same layers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        router_z_loss: Option<f64>,
        /// Mean unweighted diversity loss over the layers with top-any routing, if there are some.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diversity_loss: Option<f64>,
        /// Mean unweighted simplicity loss over the same layers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        simplicity_loss: Option<f64>,
        /// Mean gradient norm before clipping (of the clipped group).
        grad_norm: f64,
        /// Learning rate of the last step.
        lr: f64,
        /// What each MoE layer's router did.
        routing: Vec<RoutingStats>,
        /// Means for a head that is not isolated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        control: Option<ControlGradients>,
    },
    /// What a window shows that somebody should look at. There is no such line without any.
    Warning {
        /// All of it.
        routing: Vec<RoutingWarning>,
    },
    /// A policy decided to edit the experts, or to keep them.
    Decision {
        /// What.
        action: DecisionKind,
        /// Why, for people.
        reason: String,
        /// Why, in numbers.
        evidence: Evidence,
        /// What it cost to look or to measure what it was made on; nothing where it was made on the window alone.
        #[serde(default, skip_serializing_if = "Flops::is_zero")]
        flops: Flops,
    },
    /// Experts were edited.
    Edit {
        /// The plan.
        plan: Plan,
        /// The experts from now on.
        layout: Layout,
        /// What it did to the model's output, before any training.
        effect: EditEffect,
    },
    /// An evaluation on the validation split, with averaged weights where they are on.
    Validation {
        /// Fraction classified right.
        accuracy: f64,
        /// Mean cross entropy, nats.
        loss: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// A scheduled checkpoint was written (one written on Ctrl-C leaves no line, so that a resumed
    /// run's log equals an uninterrupted one's).
    Checkpoint {
        /// Its folder's name.
        name: String,
    },
    /// Training ended.
    Stop {
        /// Why.
        reason: StopReason,
        /// Step of the checkpoint that was best on validation.
        best_step: u64,
    },
}

/// What a policy decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// Nothing changes.
    Keep,
    /// A plan is applied.
    Apply,
    /// Plans are tried on a copy first.
    Measure,
    /// Something is looked at first, without training.
    Look,
}

/// What an edit does to the model's output on some texts of the validation split, measured around the edit
/// with no training between.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditEffect {
    /// Texts.
    pub texts: usize,
    /// Mean cross entropy before, nats.
    pub loss_before: f64,
    /// Mean cross entropy after, nats.
    pub loss_after: f64,
    /// `‖after − before‖ / ‖before‖` over the logits of all texts.
    pub deviation: f64,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All steps were taken.
    Completed,
    /// Validation accuracy had not improved for `train.patience` evaluations.
    EarlyStopping,
}
