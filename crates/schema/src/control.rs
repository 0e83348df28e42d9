//! How a run starts, and whether and how its experts come and go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, ExpertId, LayerKind, Layout, Limits, RunConfig};

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

    /// Refuses experts that the policy cannot work with. A run that starts from another one has that one's.
    ///
    /// # Errors
    /// The key and what does not fit.
    pub fn check_layout(&self, layout: &Layout) -> Result<(), (&'static str, String)> {
        if self.policy == PolicyKind::Frozen {
            return Ok(());
        }
        let routed = layout.layers().iter().filter(|layer| layer.kind != LayerKind::Dense);
        let routed: Vec<_> = routed.collect();
        if routed.is_empty() {
            return Err(("control.policy", "needs experts; every layer is dense".to_owned()));
        }
        let is_dynmoe = self.policy == PolicyKind::Dynmoe;
        if routed.iter().any(|layer| is_dynmoe != (layer.kind == LayerKind::TopAny)) {
            let message = "`dynmoe` and model.kind = \"top_any\" need one another".to_owned();
            return Err(("control.policy", message));
        }
        let (min, max) = (self.min_experts, self.max_experts);
        match routed.iter().find(|layer| !(min..=max).contains(&layer.n_experts())) {
            Some(layer) => {
                let n = layer.n_experts();
                let message = format!("is {n}; control.min_experts and max_experts allow {min} to {max}");
                Err(("model.n_experts", message))
            }
            None => Ok(()),
        }
    }
}

impl RunConfig {
    /// Refuses starts and policies that no run can work with.
    pub(crate) fn check_control(&self) -> Result<(), (&'static str, String)> {
        let (start, control) = (&self.start, &self.control);
        let placebo = matches!(control.policy, PolicyKind::PlaceboTime | PolicyKind::PlaceboSurgery);
        let (min, max) = (control.min_experts, control.max_experts);
        let (warmup, until) = (control.warmup, control.until);
        let wrong = [
            (control.every == 0, "control.every", "must be at least 1".to_owned()),
            (min > max, "control.max_experts", format!("is {max}, below control.min_experts = {min}")),
            (
                warmup >= until,
                "control.until",
                format!("is {until}; control.warmup is {warmup}: nothing would ever be edited"),
            ),
            (
                placebo && control.edits_of.is_empty(),
                "control.edits_of",
                "is not set; name the folder of the run to follow".to_owned(),
            ),
            (
                !placebo && !control.edits_of.is_empty(),
                "control.edits_of",
                "is set, but control.policy is no placebo".to_owned(),
            ),
            (
                start.run.is_empty() && start.take != StartFrom::Weights,
                "start.take",
                "is set, but start.run is not; name the folder of a run".to_owned(),
            ),
        ];
        if let Some((_, key, message)) = wrong.into_iter().find(|(is_wrong, ..)| *is_wrong) {
            return Err((key, message));
        }
        if start.run.is_empty() { control.check_layout(&self.model.initial_layout()) } else { Ok(()) }
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
    /// Hash of the edits that a placebo follows.
    pub script: Option<Digest>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerKindConfig;

    #[test]
    fn what_no_policy_can_work_with_is_refused_by_key() {
        let config = |change: fn(&mut RunConfig)| {
            let mut config = RunConfig::default();
            config.control.policy = PolicyKind::Rule;
            change(&mut config);
            config.check().map_err(|(key, _)| key)
        };
        assert_eq!(config(|_| {}), Ok(()));
        assert_eq!(config(|c| c.model.kind = LayerKindConfig::Dense), Err("control.policy"));
        assert_eq!(config(|c| c.model.kind = LayerKindConfig::TopAny), Err("control.policy"));
        assert_eq!(config(|c| c.model.n_experts = 17), Err("model.n_experts"));
        assert_eq!(config(|c| c.control.until = 5.0), Err("control.until"));
        assert_eq!(config(|c| c.control.every = 0), Err("control.every"));
        assert_eq!(config(|c| c.control.edits_of = "runs/x".into()), Err("control.edits_of"));
        assert_eq!(config(|c| c.control.policy = PolicyKind::PlaceboTime), Err("control.edits_of"));
        assert_eq!(config(|c| c.start.take = StartFrom::Size), Err("start.take"));
    }

    #[test]
    fn a_run_that_starts_from_another_is_judged_by_that_ones_experts() {
        let mut config = RunConfig::default();
        (config.control.policy, config.model.kind) = (PolicyKind::Rule, LayerKindConfig::Dense);
        config.start.run = "edited/upcycled".into();
        assert_eq!(config.check(), Ok(()));
        let layout = |n| Layout::uniform(2, LayerKind::Moe { top_k: 2 }, n);
        assert_eq!(config.control.check_layout(&layout(16)), Ok(()));
        assert_eq!(config.control.check_layout(&layout(17)).unwrap_err().0, "model.n_experts");
    }
}
