//! How the experts of a cell came and went.

use std::fmt;

use moelt_schema::{CellResult, ReplayError};
use serde::{Deserialize, Serialize};

/// Numbers of experts that a line shows after the first; what comes then is only counted.
const SHOWN: usize = 12;

/// The experts of one cell over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertHistory {
    /// The cell's arm.
    pub arm: String,
    /// The cell's seed.
    pub seed: u64,
    /// Experts at the beginning (step 0), and after every step that edited them.
    pub counts: Vec<ExpertCount>,
    /// Edits of the whole run. A replacement is two of them and leaves the number of experts as it was.
    pub edits: usize,
    /// Step of the checkpoint that was judged.
    pub judged_at: u64,
    /// Its experts.
    pub judged_with: usize,
}

/// How many experts there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertCount {
    /// After this many optimizer steps.
    pub step: u64,
    /// Over all layers.
    pub n_experts: usize,
}

impl ExpertHistory {
    /// What the edit log of a result says.
    ///
    /// # Errors
    /// When the log does not fit the experts it began with.
    pub(crate) fn of(result: &CellResult) -> Result<Self, ReplayError> {
        let counts = result.edits.counts()?.into_iter();
        Ok(Self {
            arm: result.arm.clone(),
            seed: result.seed,
            counts: counts.map(|(step, n_experts)| ExpertCount { step, n_experts }).collect(),
            edits: result.edits.plans.iter().map(|plan| plan.edits.len()).sum(),
            judged_at: result.best_step,
            judged_with: result.layout.n_experts(),
        })
    }
}

/// `4 →5 (step 300) →6 (450); judged at step 1200 with 6`.
impl fmt::Display for ExpertHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, later)) = self.counts.split_first() else { return Ok(()) };
        write!(f, "{}", first.n_experts)?;
        let mut unit = "step ";
        for count in &later[..later.len().min(SHOWN)] {
            write!(f, " →{} ({unit}{})", count.n_experts, count.step)?;
            unit = "";
        }
        match self.edits {
            0 => write!(f, ", no edits")?,
            edits if later.len() > SHOWN => write!(f, " … ({edits} edits)")?,
            _ => {}
        }
        write!(f, "; judged at step {} with {}", self.judged_at, self.judged_with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history whose experts change at steps 100, 200, …
    fn history(counts: &[usize]) -> ExpertHistory {
        let count = |(at, &n_experts): (usize, &usize)| ExpertCount { step: 100 * at as u64, n_experts };
        ExpertHistory {
            arm: "rule".to_owned(),
            seed: 0,
            counts: counts.iter().enumerate().map(count).collect(),
            edits: counts.len() - 1,
            judged_at: 1200,
            judged_with: 5,
        }
    }

    #[test]
    fn a_line_tells_every_change() {
        let line = history(&[4, 5, 6, 5]).to_string();
        assert_eq!(line, "4 →5 (step 100) →6 (200) →5 (300); judged at step 1200 with 5");
        assert_eq!(history(&[4]).to_string(), "4, no edits; judged at step 1200 with 5");
    }

    #[test]
    fn many_edits_are_counted() {
        let counts: Vec<usize> = (4..24).collect();
        let line = history(&counts).to_string();
        assert!(line.contains(" →16 (1200) … (19 edits); judged"), "{line}");
        assert!(!history(&counts[..13]).to_string().contains('…'));
    }
}
