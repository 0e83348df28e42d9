//! How a run starts, and whether and how its experts come and go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ExpertId, LayerKindConfig, Limits, ModelConfig};

/// What a run starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StartConfig {
    /// Folder of a finished run, or a checkpoint; empty: from scratch. In a phase file `{7a}` stands for the
    /// cell of arm `7a` with the same seed.
    pub run: String,
    /// What is taken from it.
    pub take: StartFrom,
}

/// What a run takes from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// Its best checkpoint's evaluated weights and experts; before the first step they must repeat the
    /// selection metrics they were saved with. The optimizer starts anew.
    #[default]
    Weights,
    /// Only how many experts each layer has at its end; weights are drawn anew.
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
    /// The busiest expert is split.
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
    /// Router weight × output norm, summed over the rows an expert got (REAP, Lasby et al. 2025).
    Reap,
    /// Selection loss without the expert, measured on a copy; `prune_below` is then in nats.
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
    /// The run whose edits a placebo follows: its folder. In a phase file `{7a}` stands for the cell of arm
    /// `7a` with the same seed.
    pub edits_of: String,
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
        }
    }
}

impl ControlConfig {
    /// How many experts a layer may have.
    pub fn limits(&self) -> Limits {
        Limits { min: self.min_experts, max: self.max_experts }
    }

    /// Refuses values that no policy can work with, and policies that the model cannot follow.
    pub(crate) fn check(&self, model: &ModelConfig) -> Result<(), (&'static str, String)> {
        let placebo = matches!(self.policy, PolicyKind::PlaceboTime | PolicyKind::PlaceboSurgery);
        let n = model.n_experts;
        let wrong = |key, message: String| Err((key, message));
        if self.policy == PolicyKind::Frozen {
            return Ok(());
        }
        if model.kind == LayerKindConfig::Dense {
            return wrong("control.policy", "needs experts; model.kind is \"dense\"".to_owned());
        }
        if (self.policy == PolicyKind::Dynmoe) != (model.kind == LayerKindConfig::TopAny) {
            let message = "`dynmoe` and model.kind = \"top_any\" need one another".to_owned();
            return wrong("control.policy", message);
        }
        if self.every == 0 {
            return wrong("control.every", "must be at least 1".to_owned());
        }
        if self.min_experts > self.max_experts {
            let message =
                format!("is {}, below control.min_experts = {}", self.max_experts, self.min_experts);
            return wrong("control.max_experts", message);
        }
        if !(self.min_experts..=self.max_experts).contains(&n) {
            let message = format!(
                "is {n}; control.min_experts and max_experts allow {} to {}",
                self.min_experts, self.max_experts
            );
            return wrong("model.n_experts", message);
        }
        if self.warmup >= self.until {
            return wrong(
                "control.until",
                format!("is {}; control.warmup is {}: nothing would ever be edited", self.until, self.warmup),
            );
        }
        if placebo && self.edits_of.is_empty() {
            return wrong("control.edits_of", "is not set; name the folder of the run to follow".to_owned());
        }
        Ok(())
    }
}

/// What a policy remembers between decisions; saved in every checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyState {
    /// Decisions made.
    pub decisions: u64,
    /// One memory a layer.
    pub layers: Vec<LayerMemory>,
}

/// What a policy remembers of a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerMemory {
    /// The decision that edited the layer last, counted from 1.
    pub last_edit: Option<u64>,
    /// Windows in a row that asked to grow.
    pub asked_to_grow: u64,
    /// Windows in a row that asked to prune an expert.
    pub asked_to_prune: BTreeMap<ExpertId, u64>,
}
