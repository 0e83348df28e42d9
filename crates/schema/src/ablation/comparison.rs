//! What an ablation claims of two arms, declared before its first cell runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Metric;

/// What is claimed of the gain of A over B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimKind {
    /// A is better by more than the margin. GO: the lower bound is above +δ. NO-GO: the upper bound is
    /// below 0.
    Superiority,
    /// A is not worse by more than the margin. GO: the lower bound is above −δ. NO-GO: the upper bound is
    /// below −δ.
    NonInferiority,
}

/// A comparison of an arm (A) with another one or the best of several (B). Gains and margins are in the unit of the
/// metric: fractions for accuracy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// What it is called, such as `head against rule`.
    pub name: String,
    /// What it is about.
    pub metric: Metric,
    /// A.
    pub arm: String,
    /// B: one arm, or several arms `frozen-N` of which the best on validation is meant.
    pub against: Vec<String>,
    /// The claim.
    pub kind: ClaimKind,
    /// δ ≥ 0: 0.005 for half a percentage point.
    pub margin: f64,
    /// The chance at most that its family yields any wrong GO or NO-GO: 0.05, say. Alone in its family, a
    /// comparison has an interval of level 1 − alpha. The same for the whole family.
    pub alpha: f64,
    /// Comparisons of one family share this name, and the risk of an error.
    pub family: String,
}

/// `superiority by more than 0.50 pp in accuracy`.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claim = match self.kind {
            ClaimKind::Superiority => "superiority by more than",
            ClaimKind::NonInferiority => "no inferiority by more than",
        };
        let margin = self.metric.shown(self.margin);
        write!(f, "{claim} {} in {}", margin.trim_start_matches('+'), self.metric)
    }
}
