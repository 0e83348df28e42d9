//! A head that learns labels.

use serde::{Deserialize, Serialize};

use super::{NewExpertConfig, Saliency};
use crate::{
    MAX_STEPS,
    config::{
        ConfigFault,
        bounds::{at_least_zero, at_most, count, positive},
        choice::choice,
    },
};

/// A network that learns, while the run trains, labels which have seen no effect of an edit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelHeadConfig {
    /// What it learns.
    #[serde(deserialize_with = "choice")]
    pub labels: LabelConfig,
    /// Its own learning rate.
    pub lr: f64,
    /// Its hidden units.
    pub hidden: usize,
    /// Decisions after an edit of a layer before the next one.
    pub cooldown: u64,
    /// By what it chooses the expert that is pruned.
    pub saliency: Saliency,
    /// How new experts begin.
    #[serde(deserialize_with = "choice")]
    pub new_expert: NewExpertConfig,
}

impl Default for LabelHeadConfig {
    fn default() -> Self {
        Self {
            labels: LabelConfig::default(),
            lr: 1e-2,
            hidden: 16,
            cooldown: 2,
            saliency: Saliency::Utilization,
            new_expert: NewExpertConfig::default(),
        }
    }
}

impl LabelHeadConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        self.labels.check().map_err(|fault| fault.within("labels"))?;
        positive("lr", self.lr)?;
        count("hidden", self.hidden as u64, 65_536)?;
        at_most("cooldown", self.cooldown, MAX_STEPS)?;
        self.saliency.check_unmeasured()?;
        self.new_expert.check()
    }
}

/// What a head learns without a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LabelConfig {
    /// Chance: 30 % grow, 20 % prune, 50 % keep. Such labels know nothing of the run.
    Random {},
    /// Routing and load entropy of each step, by thresholds.
    Entropy(EntropyLabels),
}

impl Default for LabelConfig {
    fn default() -> Self {
        Self::Random {}
    }
}

impl LabelConfig {
    fn check(&self) -> Result<(), ConfigFault> {
        match self {
            Self::Random {} => Ok(()),
            Self::Entropy(labels) => labels.check().map_err(|fault| fault.within("entropy")),
        }
    }
}

/// Labels made of entropies: grow when the router is unsure; else prune when the load is concentrated or an expert is
/// dead; else keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntropyLabels {
    /// Grow above this routing entropy / ln n.
    pub grow_above: f64,
    /// Prune below this load entropy / ln n.
    pub prune_load_below: f64,
    /// Prune when an expert has less than this fraction of the even share `1/n`.
    pub dead_below: f64,
    /// α: weight of the head's loss in the loss of the *backbone*, by way of the live router; 0: the head is
    /// isolated. A negative control.
    pub joint: f64,
}

impl Default for EntropyLabels {
    fn default() -> Self {
        Self { grow_above: 0.5, prune_load_below: 0.7, dead_below: 0.2, joint: 0.0 }
    }
}

impl EntropyLabels {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        at_least_zero("grow_above", self.grow_above)?;
        at_least_zero("prune_load_below", self.prune_load_below)?;
        at_least_zero("dead_below", self.dead_below)?;
        at_least_zero("joint", self.joint)
    }
}
