//! How a run starts, and whether and how its experts come and go.

use serde::{Deserialize, Serialize};

use crate::Limits;

/// What a run starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StartConfig {
    /// Folder of a finished run, or a checkpoint; empty: from scratch. In a phase file `{rule}` stands for the
    /// cell of arm `rule` with the same seed.
    pub run: String,
    /// What is taken from it.
    pub take: StartFrom,
}

/// What a run takes from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// Its best checkpoint's evaluated weights and experts; before the first step they must repeat the
    /// validation metrics they were saved with. The optimizer starts anew.
    #[default]
    Weights,
    /// Only how many experts each layer of its best checkpoint has; weights are drawn anew.
    Size,
}

/// Who decides about the experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    /// Nobody: they stay.
    #[default]
    Frozen,
    /// Thresholds on routing statistics.
    Rule,
    /// DynMoE's rules (Guo et al. 2024): an expert that no row chose goes; one is added when rows chose none.
    Dynmoe,
    /// The edits of another run in their order, at random decision points, on random experts.
    PlaceboTime,
    /// At the times of another run's edits random experts are replaced by fresh ones.
    PlaceboSurgery,
    /// Every move is tried on a fork; the best one that surely beats keeping is made. The expensive oracle.
    Lookahead,
    /// A small network, trained while the run trains; on what, `labels` says.
    Head,
}

/// A kind of edit of one layer that look-ahead and the head choose among. That the experts stay is always
/// the alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// One new expert.
    Grow,
    /// A new expert for each one, as far as the limits allow.
    Double,
    /// The least salient expert goes.
    Prune,
    /// The less salient half goes, as far as the limits allow.
    Halve,
}

impl Move {
    /// Every move, in the order of the head's inputs.
    pub const ALL: [Self; 4] = [Self::Grow, Self::Double, Self::Prune, Self::Halve];

    /// As a config and the evidence of a decision name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grow => "grow",
            Self::Double => "double",
            Self::Prune => "prune",
            Self::Halve => "halve",
        }
    }
}

/// What a control head learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// Chance: 30 % grow, 20 % prune, 50 % keep. A negative control: such labels know nothing of the run.
    Synthetic,
    /// Routing and load entropy of each step, by the thresholds `grow_above`, `grow_load_above` and `prune_below`.
    Entropy,
    /// Measured effects of edits. The head asks for a measurement where it is unsure.
    #[default]
    Counterfactual,
}

/// How the rule lets an expert begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrowInit {
    /// Drawn anew.
    #[default]
    Fresh,
    /// A copy of the busiest expert, with noise.
    Copy,
    /// The busiest expert is split. Both halves lose ln 2 of their offsets for good, also when one of them is
    /// pruned later.
    Split,
}

/// By what the rule judges which expert carries least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saliency {
    /// Part of the (row, choice) pairs.
    #[default]
    Utilization,
    /// Mean router probability over all rows.
    RouterMass,
    /// Mean of router weight × output norm over the rows an expert got (REAP, Lasby et al. 2025); 0 without
    /// rows.
    Reap,
    /// Validation loss without the expert, measured on a copy; `prune_below` is then in nats.
    Loss,
}

/// Whether and how experts come and go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Who decides.
    pub policy: PolicyKind,
    /// Steps between two decisions; statistics are taken over these steps.
    pub every: u64,
    /// Fraction of all steps before the first edit.
    pub warmup: f64,
    /// Fraction of all steps after which nothing is edited any more.
    pub until: f64,
    /// Decisions after an edit of a layer before the next one.
    pub cooldown: u64,
    /// Windows in a row that must ask for the same edit.
    pub confirm: u64,
    /// How far a signal must fall back behind its threshold before confirmation starts over.
    pub hysteresis: f64,
    /// Experts a layer keeps at least.
    pub min_experts: usize,
    /// Experts a layer has at most.
    pub max_experts: usize,
    /// The rule grows when routing entropy / ln n is above this: the router is unsure.
    pub grow_above: f64,
    /// … and load entropy / ln n is above this: no expert is idle.
    pub grow_load_above: f64,
    /// The rule prunes an expert whose saliency is below this part of the even share `1/n`.
    pub prune_below: f64,
    /// What saliency is.
    pub saliency: Saliency,
    /// How new experts begin.
    pub init: GrowInit,
    /// Noise of copies, relative to the RMS of each tensor.
    pub noise: f64,
    /// Steps over which a new expert is let in: its router probability rises from 0 to its own. 0: at once.
    pub opening: u64,
    /// The run whose edits a placebo follows: its folder. In a phase file `{rule}` stands for the cell of arm
    /// `rule` with the same seed.
    pub edits_of: String,
    /// Steps that look-ahead trains a candidate before it is compared with keeping. A new expert needs time to
    /// show its use; a short horizon sees its cost alone. 0: the immediate effect.
    pub horizon: u64,
    /// Steps between two looks at whether a candidate has clearly lost and stops; 0: none stops early.
    pub race_every: u64,
    /// λ: validation loss, nats, that an expert must save to be worth having.
    pub expert_cost: f64,
    /// Standard errors between a measured gain and its bounds: a move is made when its lower bound beats keeping.
    pub confidence: f64,
    /// Moves that look-ahead and the counterfactual head choose among.
    pub candidates: Vec<Move>,
    /// Runs whose measured effects the counterfactual head has learnt before it begins: their folders. In a
    /// phase file `{lookahead}` stands for the cells of arm `lookahead` with all *other* seeds.
    pub records_of: Vec<String>,
    /// What the head learns from.
    pub labels: LabelSource,
    /// The counterfactual head makes a move unmeasured whose gain is above 0 with a probability above this one, by
    /// the errors that it made so far; 1: it never does.
    pub act_above: f64,
    /// … and else has a move measured when knowing its effect promises so many nats.
    pub ask_above: f64,
    /// The head's own learning rate.
    pub head_lr: f64,
    /// Hidden units of the head's networks.
    pub head_hidden: usize,
    /// α: weight of the head's loss in the loss of the *backbone*, by way of the live router; 0: the head is
    /// isolated. A negative control, for `labels = "entropy"` alone.
    pub joint: f64,
    /// Whether whatever is measured is measured again on other batches and other validation texts. For studies:
    /// decisions do not look at it.
    pub replicate: bool,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            policy: PolicyKind::Frozen,
            every: 50,
            warmup: 0.1,
            until: 0.7,
            cooldown: 2,
            confirm: 2,
            hysteresis: 0.05,
            min_experts: 1,
            max_experts: 16,
            grow_above: 0.5,
            grow_load_above: 0.7,
            prune_below: 0.2,
            saliency: Saliency::Utilization,
            init: GrowInit::Fresh,
            noise: 0.1,
            opening: 100,
            edits_of: String::new(),
            horizon: 150,
            race_every: 0,
            expert_cost: 1e-3,
            confidence: 2.0,
            candidates: Move::ALL.to_vec(),
            records_of: Vec::new(),
            labels: LabelSource::Counterfactual,
            act_above: 0.9,
            ask_above: 0.002,
            head_lr: 1e-2,
            head_hidden: 16,
            joint: 0.0,
            replicate: false,
        }
    }
}

impl ControlConfig {
    /// How many experts a layer may have.
    pub fn limits(&self) -> Limits {
        Limits { min: self.min_experts, max: self.max_experts }
    }

    /// Whether its head learns from every step, and not only from what is measured.
    pub fn learns_every_step(&self) -> bool {
        self.policy == PolicyKind::Head && self.labels != LabelSource::Counterfactual
    }

    /// Whether candidates are measured after training them: look-ahead does, and the head that learns from it.
    pub fn looks_ahead(&self) -> bool {
        self.policy == PolicyKind::Lookahead || self.learns_effects()
    }

    /// Whether a head learns what measured edits did.
    pub fn learns_effects(&self) -> bool {
        self.policy == PolicyKind::Head && self.labels == LabelSource::Counterfactual
    }
}
