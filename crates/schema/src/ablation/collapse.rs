//! What an ablation takes for a collapse, and how much of it a GO may leave possible.

use serde::{Deserialize, Serialize};

/// What a plan says of seeds that end far below their arm's others.
///
/// A few seeds in a hundred may fail where the rest agree. Few seeds rarely hold one of them, and then an interval knows
/// nothing of it. So the plan says beforehand which seed counts as *collapsed* (`below`), which is a description, and what
/// a GO must exclude of collapses that were *not* seen (`rate`, `depth`), which is a condition. Collapses that were seen
/// are part of the data and widen the interval.
///
/// ```
/// use moelt_schema::CollapseRule;
/// let rule = CollapseRule { rate: 0.2, ..CollapseRule::default() };
/// assert_eq!((rule.below, rule.depth, rule.is_off()), (0.02, 0.1, false));
/// assert!(CollapseRule { rate: 1.0, ..rule }.is_off() && CollapseRule::OFF.is_off());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollapseRule {
    /// A seed is collapsed when its test accuracy lies more than this below the median of its arm's seeds, of three or more: a
    /// fraction, 0.02 (2 percentage points) by default.
    pub below: f64,
    /// The share of seeds that a GO may leave possible to collapse unseen: 0.1 by default. 1 asks for nothing.
    pub rate: f64,
    /// How far a collapsed seed is reckoned to fall at most, a fraction of accuracy: 0.1 (10 percentage points) by default.
    pub depth: f64,
}

impl Default for CollapseRule {
    fn default() -> Self {
        Self { below: 0.02, rate: 0.1, depth: 0.1 }
    }
}

impl CollapseRule {
    /// The defaults, with nothing to exclude: verdicts follow from intervals alone.
    pub const OFF: Self = Self { below: 0.02, rate: 1.0, depth: 0.1 };

    /// Whether a GO needs to exclude no collapse.
    pub fn is_off(&self) -> bool {
        self.rate == 1.0
    }

    /// Refuses values that mean nothing.
    ///
    /// # Errors
    /// What is wrong: the key, its value and what it must be.
    pub fn check(&self) -> Result<(), String> {
        for (key, value) in [("below", self.below), ("rate", self.rate), ("depth", self.depth)] {
            if !(value > 0.0 && value <= 1.0) {
                return Err(format!("collapse.{key}: is {value}; must be above 0, and 1 at most"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_mean_nothing_are_refused() {
        let rule = CollapseRule::default();
        assert_eq!(rule.check(), Ok(()));
        let cases = [
            (CollapseRule { below: 0.0, ..rule }, "collapse.below: is 0; "),
            (CollapseRule { rate: 10.0, ..rule }, "collapse.rate: is 10; "),
            (CollapseRule { depth: f64::NAN, ..rule }, "collapse.depth: is NaN; "),
        ];
        for (wrong, message) in cases {
            assert!(wrong.check().unwrap_err().starts_with(message));
        }
    }
}
