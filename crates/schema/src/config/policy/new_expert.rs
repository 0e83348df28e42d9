//! How new experts begin, and which experts count as weak.

use serde::{Deserialize, Serialize};

use crate::config::{ConfigFault, bounds::at_least_zero};

/// How a new expert begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum NewExpertConfig {
    /// Drawn anew.
    Fresh {},
    /// A copy of the busiest expert, with noise.
    Copy {
        /// Standard deviation of the noise, relative to the RMS of each tensor.
        #[serde(default = "tenth")]
        noise: f64,
    },
    /// The busiest expert is split. Both halves lose ln 2 of their router bias for good, also when one of them is
    /// pruned later.
    Split {},
}

fn tenth() -> f64 {
    0.1
}

impl Default for NewExpertConfig {
    fn default() -> Self {
        Self::Fresh {}
    }
}

impl NewExpertConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        match self {
            Self::Fresh {} | Self::Split {} => Ok(()),
            Self::Copy { noise } => at_least_zero("new_expert.copy.noise", *noise),
        }
    }
}

/// By what experts are ranked: how much each carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Saliency {
    /// Fraction of the routed tokens.
    #[default]
    Utilization,
    /// Mean router probability over all tokens.
    RouterMass,
    /// Mean of router weight × output norm over the tokens an expert got (REAP, Lasby et al. 2025); 0 without
    /// tokens.
    Reap,
    /// Validation loss without the expert, measured on a copy; for the rule alone, whose `prune_below` is then in
    /// nats.
    Loss,
}

impl Saliency {
    /// Refuses the one that has to be measured.
    pub(super) fn check_unmeasured(self) -> Result<(), ConfigFault> {
        if self == Self::Loss {
            let message = "is `loss`, which only control.policy.rule measures; use `utilization`, `router_mass` or \
                           `reap`";
            return Err(ConfigFault::new("saliency", message));
        }
        Ok(())
    }
}
