//! What is done when a task of a stream arrives, and how that is known.

use serde::{Deserialize, Serialize};

use super::NewExpertConfig;
use crate::config::{
    ConfigFault,
    bounds::{at_most, count},
    choice::choice,
};

/// When a task of a stream arrives, one more expert comes, and what is there is trained no further.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArrivalConfig {
    /// How an arrival is known.
    #[serde(deserialize_with = "choice")]
    pub known_by: KnownBy,
    /// Whether the experts that are there are frozen.
    pub freeze_experts: bool,
    /// Whether everything that is no expert's is frozen, from the first arrival on.
    pub freeze_shared: bool,
    /// How the new expert begins.
    #[serde(deserialize_with = "choice")]
    pub new_expert: NewExpertConfig,
}

impl Default for ArrivalConfig {
    fn default() -> Self {
        Self {
            known_by: KnownBy::default(),
            freeze_experts: true,
            freeze_shared: true,
            new_expert: NewExpertConfig::default(),
        }
    }
}

/// How the arrival of a task is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KnownBy {
    /// The data set says so. A reference: nobody tells a learner in the field.
    Told {},
    /// The mean training loss of the last window lies above those of the windows before it, by a one-sided t test.
    LossJump {
        /// Level of the test: how often a window without a jump is taken for one.
        #[serde(default = "thousandth")]
        level: f64,
        /// Windows before it, 2 at least.
        #[serde(default = "five")]
        windows: usize,
    },
}

fn thousandth() -> f64 {
    0.001
}

fn five() -> usize {
    5
}

impl Default for KnownBy {
    fn default() -> Self {
        Self::LossJump { level: thousandth(), windows: five() }
    }
}

impl ArrivalConfig {
    /// Whether it is told when tasks arrive.
    pub fn is_told(&self) -> bool {
        matches!(self.known_by, KnownBy::Told {})
    }

    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        if let KnownBy::LossJump { level, windows } = self.known_by {
            if !(level > 0.0 && level < 0.5) {
                let message = format!("is {level}; must be above 0 and below 0.5");
                return Err(ConfigFault::new("known_by.loss_jump.level", message));
            }
            let least = windows.saturating_sub(1) as u64;
            count("known_by.loss_jump.windows", least, 1_000_000)?;
            at_most("known_by.loss_jump.windows", windows as u64, 1_000_000)?;
        }
        self.new_expert.check()
    }
}
