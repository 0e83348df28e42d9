//! Every edit of a run, from which its layout can be replayed.

use serde::{Deserialize, Serialize};

use crate::{CheckedPlan, Layout, Limits, Plan, PlanError};

/// The experts a run began with, and every plan applied since, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditLog {
    /// The layout before the first plan.
    pub initial: Layout,
    /// The plans.
    pub plans: Vec<Plan>,
}

/// A log that does not lead where it should.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// A plan does not fit the layout it met.
    #[error("edit log, plan {index} (step {step}): {cause}")]
    Plan {
        /// Its place in the log, from 0.
        index: usize,
        /// Its step.
        step: u64,
        /// Why.
        cause: PlanError,
    },
    /// The replayed layout is another than the recorded one.
    #[error("the edit log leads to {} experts with next id {}, the layout says {} with next id {}",
        replayed.n_experts(), replayed.next_id().0, recorded.n_experts(), recorded.next_id().0)]
    Other {
        /// From the log.
        replayed: Box<Layout>,
        /// As recorded.
        recorded: Box<Layout>,
    },
}

impl EditLog {
    /// A log without edits.
    pub fn new(initial: Layout) -> Self {
        Self { initial, plans: Vec::new() }
    }

    /// Adds a plan that was applied.
    pub fn push(&mut self, plan: &CheckedPlan) {
        self.plans.push(plan.plan().clone());
    }

    /// The layout after every plan up to and including step `step`.
    ///
    /// # Errors
    /// When a plan does not fit.
    pub fn layout_at(&self, step: u64) -> Result<Layout, ReplayError> {
        let mut layout = self.initial.clone();
        for (index, plan) in self.plans.iter().enumerate().take_while(|(_, plan)| plan.step <= step) {
            let checked = plan.clone().check(&layout, &Limits::default());
            layout =
                checked.map_err(|cause| ReplayError::Plan { index, step: plan.step, cause })?.after().clone();
        }
        Ok(layout)
    }

    /// Makes sure that the plans up to step `step` lead to `recorded`.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self, step: u64, recorded: &Layout) -> Result<(), ReplayError> {
        let replayed = self.layout_at(step)?;
        if replayed == *recorded {
            return Ok(());
        }
        Err(ReplayError::Other { replayed: Box::new(replayed), recorded: Box::new(recorded.clone()) })
    }

    /// Experts over all layers, as (step, number): at the beginning and after every plan.
    ///
    /// # Errors
    /// When a plan does not fit.
    pub fn counts(&self) -> Result<Vec<(u64, usize)>, ReplayError> {
        let after = |plan: &Plan| Ok((plan.step, self.layout_at(plan.step)?.n_experts()));
        let mut counts = vec![(0, self.initial.n_experts())];
        for plan in &self.plans {
            let now = after(plan)?;
            // Plans of one step count once.
            if counts.len() > 1 && counts.last().is_some_and(|(step, _)| *step == now.0) {
                counts.pop();
            }
            counts.push(now);
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Edit, Evidence, ExpertId, ExpertInit, LayerId, LayerKind};

    #[test]
    fn the_log_replays_to_any_step() {
        let layout = Layout::uniform(1, LayerKind::Moe { top_k: 1 }, 2);
        let mut log = EditLog::new(layout.clone());
        let grow = Edit::Grow { layer: LayerId(0), new: ExpertId(2), init: ExpertInit::Fresh };
        let prune = Edit::Prune { layer: LayerId(0), expert: ExpertId(0) };
        let mut now = layout.clone();
        for (step, edit) in [(10, grow), (20, prune)] {
            let plan = Plan { step, edits: vec![edit], reason: "test".into(), evidence: Evidence::default() };
            let checked = plan.check(&now, &Limits::default()).unwrap();
            now = checked.after().clone();
            log.push(&checked);
        }
        assert_eq!(log.layout_at(9).unwrap(), layout);
        assert_eq!(log.counts().unwrap(), [(0, 2), (10, 3), (20, 2)]);
        log.check(20, &now).unwrap();
        assert!(matches!(log.check(10, &now), Err(ReplayError::Other { .. })));
        let json = serde_json::to_string(&log).unwrap();
        assert_eq!(serde_json::from_str::<EditLog>(&json).unwrap(), log);
        log.plans.remove(0);
        assert_eq!(log.layout_at(20).unwrap().n_experts(), 1);
        log.plans[0].edits = vec![Edit::Prune { layer: LayerId(0), expert: ExpertId(2) }];
        assert!(matches!(log.layout_at(20), Err(ReplayError::Plan { index: 0, step: 20, .. })));
    }
}
