//! What is done when a task of a stream arrives, and how that is known.

use serde::{Deserialize, Serialize};

use super::NewExpertConfig;
use crate::config::{ConfigFault, bounds::at_most, choice::choice};

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
    /// The training losses of the last steps lie above those of the steps before them, by Welch's one-sided t test at every
    /// decision. After a jump it begins anew.
    LossJump {
        /// Level of one test: how often independent losses without a jump are taken for one. A run holds many tests.
        #[serde(default = "thousandth")]
        level: f64,
        /// Steps on either side, 2 at least.
        #[serde(default = "twenty")]
        steps: usize,
    },
}

fn thousandth() -> f64 {
    0.001
}

fn twenty() -> usize {
    20
}

impl Default for KnownBy {
    fn default() -> Self {
        Self::LossJump { level: thousandth(), steps: twenty() }
    }
}

impl ArrivalConfig {
    /// Whether it is told when tasks arrive.
    pub fn is_told(&self) -> bool {
        matches!(self.known_by, KnownBy::Told {})
    }

    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        if let KnownBy::LossJump { level, steps } = self.known_by {
            if !(level > 0.0 && level < 0.5) {
                let message = format!("is {level}; must be above 0 and below 0.5");
                return Err(ConfigFault::new("known_by.loss_jump.level", message));
            }
            at_most("known_by.loss_jump.steps", steps as u64, 1_000_000)?;
            if steps < 2 {
                let message = format!("is {steps}; must be at least 2");
                return Err(ConfigFault::new("known_by.loss_jump.steps", message));
            }
        }
        if self.freeze_experts && matches!(self.new_expert, NewExpertConfig::Split {}) {
            let message = "splits an expert, but freeze_experts freezes it; use `fresh` or `copy`";
            return Err(ConfigFault::new("new_expert", message));
        }
        self.new_expert.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_test_can_be_made_of_is_refused_by_key() {
        let refused = |known_by| {
            let config = ArrivalConfig { known_by, ..ArrivalConfig::default() };
            config.check().map_err(|fault| fault.key)
        };
        let jump = |level, steps| KnownBy::LossJump { level, steps };
        assert_eq!((refused(KnownBy::Told {}), refused(jump(0.01, 2))), (Ok(()), Ok(())));
        for level in [0.0, 0.5, f64::NAN] {
            assert_eq!(refused(jump(level, 20)), Err("known_by.loss_jump.level".to_owned()));
        }
        assert_eq!(refused(jump(0.01, 1)), Err("known_by.loss_jump.steps".to_owned()));
    }

    #[test]
    fn an_expert_that_is_frozen_is_not_split() {
        let split = ArrivalConfig { new_expert: NewExpertConfig::Split {}, ..ArrivalConfig::default() };
        assert_eq!(split.check().unwrap_err().key, "new_expert");
        assert!(ArrivalConfig { freeze_experts: false, ..split }.check().is_ok());
    }
}
