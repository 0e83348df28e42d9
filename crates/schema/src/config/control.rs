//! Whether and how experts come and go.

use serde::{Deserialize, Serialize};

use super::{
    ConfigFault, PolicyConfig,
    bounds::{MAX_EXPERTS, at_most, count, share},
    choice::choice,
};
use crate::{LayerKind, Layout, Limits, MAX_STEPS};

/// Whether and how experts come and go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Who decides.
    #[serde(deserialize_with = "choice")]
    pub policy: PolicyConfig,
    /// When experts may be edited, and within which limits: the same for every policy.
    pub edits: EditsConfig,
}

/// When experts may be edited, and within which limits: the same for every policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EditsConfig {
    /// Steps between two decisions; statistics are taken over these steps.
    pub every: u64,
    /// Fraction of all steps before the first edit.
    pub warmup: f64,
    /// Fraction of all steps after which nothing is edited any more.
    pub until: f64,
    /// Experts a layer keeps at least.
    pub min_experts: usize,
    /// Experts a layer has at most.
    pub max_experts: usize,
    /// Steps over which a new expert's router probability rises from 0 to its own. 0: it has it at once.
    pub ramp_in: u64,
}

impl Default for EditsConfig {
    fn default() -> Self {
        Self { every: 50, warmup: 0.1, until: 0.7, min_experts: 1, max_experts: 16, ramp_in: 100 }
    }
}

impl EditsConfig {
    /// How many experts a layer may have.
    pub fn limits(&self) -> Limits {
        Limits { min: self.min_experts, max: self.max_experts }
    }

    fn check(&self) -> Result<(), ConfigFault> {
        count("every", self.every, MAX_STEPS)?;
        share("warmup", self.warmup)?;
        share("until", self.until)?;
        count("min_experts", self.min_experts as u64, MAX_EXPERTS)?;
        at_most("max_experts", self.max_experts as u64, MAX_EXPERTS)?;
        at_most("ramp_in", self.ramp_in, MAX_STEPS)?;
        let Self { warmup, until, min_experts, max_experts, .. } = self;
        if min_experts > max_experts {
            let message = format!("is {max_experts}, below control.edits.min_experts = {min_experts}");
            return Err(ConfigFault::new("max_experts", message));
        }
        if warmup >= until {
            let message =
                format!("is {until}; control.edits.warmup is {warmup}: nothing would ever be edited");
            return Err(ConfigFault::new("until", message));
        }
        Ok(())
    }
}

impl ControlConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        self.edits.check().map_err(|fault| fault.within("edits"))?;
        self.policy.check().map_err(|fault| fault.within("policy"))
    }

    /// Refuses experts that the policy cannot work with. A run that starts from another one has that one's.
    ///
    /// # Errors
    /// The key and what does not fit.
    pub fn check_layout(&self, layout: &Layout) -> Result<(), ConfigFault> {
        if self.policy.is_frozen() {
            return Ok(());
        }
        let routed = layout.layers().iter().filter(|layer| layer.kind != LayerKind::Dense);
        let routed: Vec<_> = routed.collect();
        if routed.is_empty() {
            return Err(ConfigFault::new("control.policy", "needs experts; every layer is dense"));
        }
        if !self.policy.is_told() && routed.iter().any(|layer| layer.kind == LayerKind::Assigned) {
            let message = "edits experts that a router knows; with model.routing = \"assigned\" use `frozen`, or `arrival` that is told";
            return Err(ConfigFault::new("control.policy", message));
        }
        let is_dynmoe = matches!(self.policy, PolicyConfig::Dynmoe {});
        if routed.iter().any(|layer| is_dynmoe != (layer.kind == LayerKind::TopAny)) {
            let message = "`dynmoe` and model.routing = \"top_any\" need one another";
            return Err(ConfigFault::new("control.policy", message));
        }
        let Limits { min, max } = self.edits.limits();
        match routed.iter().find(|layer| !(min..=max).contains(&layer.n_experts())) {
            Some(layer) => {
                let n = layer.n_experts();
                let message = format!(
                    "has {n} experts; control.edits.min_experts and max_experts allow {min} to {max}"
                );
                Err(ConfigFault::new("model.routing", message))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RoutingConfig, RuleConfig, RunConfig};

    #[test]
    fn what_no_policy_can_work_with_is_refused_by_key() {
        let config = |change: fn(&mut RunConfig)| {
            let mut config = RunConfig::default();
            config.control.policy = PolicyConfig::Rule(RuleConfig::default());
            change(&mut config);
            config.check().map_err(|fault| fault.key)
        };
        let refused = |key: &str| Err(key.to_owned());
        assert_eq!(config(|_| {}), Ok(()));
        assert_eq!(config(|c| c.model.routing = RoutingConfig::Dense {}), refused("control.policy"));
        assert_eq!(
            config(|c| c.model.routing = RoutingConfig::TopAny { n_experts: 4 }),
            refused("control.policy")
        );
        assert_eq!(
            config(|c| c.model.routing = RoutingConfig::TopK { n_experts: 17 }),
            refused("model.routing")
        );
        assert_eq!(config(|c| c.control.edits.until = 5.0), refused("control.edits.until"));
        assert_eq!(config(|c| c.control.edits.until = 0.1), refused("control.edits.until"));
        assert_eq!(config(|c| c.control.edits.every = 0), refused("control.edits.every"));
        assert_eq!(config(|c| c.control.edits.min_experts = 99), refused("control.edits.max_experts"));
        assert_eq!(config(|c| c.control.policy = PolicyConfig::Dynmoe {}), refused("control.policy"));
    }

    #[test]
    fn limits_hold_for_any_layout() {
        let control =
            ControlConfig { policy: PolicyConfig::Rule(RuleConfig::default()), ..ControlConfig::default() };
        let layout = |n| Layout::uniform(2, LayerKind::TopK { k: 2 }, n);
        assert_eq!(control.check_layout(&layout(16)), Ok(()));
        assert_eq!(control.check_layout(&layout(17)).unwrap_err().key, "model.routing");
    }
}
