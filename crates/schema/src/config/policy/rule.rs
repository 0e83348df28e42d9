//! Thresholds on routing statistics.

use serde::{Deserialize, Serialize};

use super::{NewExpertConfig, Saliency};
use crate::{
    MAX_STEPS,
    config::{
        ConfigFault,
        bounds::{at_least_zero, at_most},
        choice::choice,
    },
};

/// Thresholds on routing statistics, with confirmation, hysteresis and cooldown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleConfig {
    /// Decisions after an edit of a layer before the next one.
    pub cooldown: u64,
    /// Windows in a row that must ask for the same edit.
    pub confirm: u64,
    /// How far a signal must fall back behind its threshold before confirmation starts over.
    pub hysteresis: f64,
    /// It grows when routing entropy / ln n is above this: the router is unsure.
    pub grow_above: f64,
    /// … and load entropy / ln n is above this: no expert is idle.
    pub grow_load_above: f64,
    /// It prunes an expert whose saliency is below this fraction of the even share `1/n`.
    pub prune_below: f64,
    /// What saliency is.
    pub saliency: Saliency,
    /// How new experts begin.
    #[serde(deserialize_with = "choice")]
    pub new_expert: NewExpertConfig,
}

impl Default for RuleConfig {
    fn default() -> Self {
        Self {
            cooldown: 2,
            confirm: 2,
            hysteresis: 0.05,
            grow_above: 0.5,
            grow_load_above: 0.7,
            prune_below: 0.2,
            saliency: Saliency::Utilization,
            new_expert: NewExpertConfig::default(),
        }
    }
}

impl RuleConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        at_most("cooldown", self.cooldown, MAX_STEPS)?;
        at_most("confirm", self.confirm, MAX_STEPS)?;
        at_least_zero("hysteresis", self.hysteresis)?;
        at_least_zero("grow_above", self.grow_above)?;
        at_least_zero("grow_load_above", self.grow_load_above)?;
        at_least_zero("prune_below", self.prune_below)?;
        self.new_expert.check()
    }
}
