//! Every edit of a run, from which its layout can be replayed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{CheckedPlan, Edit, ExpertId, ExpertInit, LayerId, Layout, Limits, Plan, PlanError};

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
    /// A plan of an earlier step than the one before it.
    #[error("edit log, plan {index}: is of step {step}, after one of step {after}")]
    Order {
        /// Its place in the log, from 0.
        index: usize,
        /// Its step.
        step: u64,
        /// The step of the plan before it.
        after: u64,
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

/// How an expert came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Birth {
    /// It was there before the first plan.
    Initial,
    /// Grown from its own random streams.
    Fresh {
        /// Step of the plan.
        step: u64,
    },
    /// Grown as a copy.
    Copy {
        /// Of this expert.
        parent: ExpertId,
        /// Step of the plan.
        step: u64,
    },
    /// Grown as one half of an expert.
    Split {
        /// The other half.
        parent: ExpertId,
        /// Step of the plan.
        step: u64,
    },
    /// One of the copies of a dense expert.
    Upcycled {
        /// The dense expert.
        parent: ExpertId,
        /// Step of the plan.
        step: u64,
    },
}

/// An expert that was merged into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// The one that went.
    pub expert: ExpertId,
    /// Step of the plan.
    pub step: u64,
}

/// Where an expert comes from, and what it has taken in since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lineage {
    /// How it came to be.
    pub birth: Birth,
    /// What was merged into it, in order.
    pub merged: Vec<Merged>,
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.birth {
            Birth::Initial => write!(f, "initial"),
            Birth::Fresh { step } => write!(f, "fresh at step {step}"),
            Birth::Copy { parent, step } => write!(f, "copy of {} at step {step}", parent.0),
            Birth::Split { parent, step } => write!(f, "split of {} at step {step}", parent.0),
            Birth::Upcycled { parent, step } => write!(f, "upcycled from {} at step {step}", parent.0),
        }?;
        self.merged
            .iter()
            .try_for_each(|gone| write!(f, "; merged: +{} at step {}", gone.expert.0, gone.step))
    }
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

    /// The layout after all plans.
    ///
    /// # Errors
    /// When a plan does not fit.
    pub fn layout(&self) -> Result<Layout, ReplayError> {
        self.layout_at(u64::MAX)
    }

    /// The layout that the checkpoint of a run has after `step` steps. A plan of that step comes after it: a decision
    /// opens the step that follows.
    ///
    /// # Errors
    /// When a plan does not fit.
    pub fn layout_at(&self, step: u64) -> Result<Layout, ReplayError> {
        let before = self.layouts().take_while(|layout| layout.as_ref().map_or(true, |(at, _)| *at < step));
        before.last().unwrap_or(Ok((0, self.initial.clone()))).map(|(_, layout)| layout)
    }

    /// Makes sure that all plans, in the order of their steps, lead to `recorded`.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self, recorded: &Layout) -> Result<(), ReplayError> {
        same(self.layout()?, recorded)
    }

    /// Makes sure that the checkpoint after `step` steps has the layout `recorded`.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_at(&self, step: u64, recorded: &Layout) -> Result<(), ReplayError> {
        same(self.layout_at(step)?, recorded)
    }

    /// Experts over all layers, as (step, number): at the beginning and after every plan.
    ///
    /// # Errors
    /// When a plan does not fit.
    pub fn counts(&self) -> Result<Vec<(u64, usize)>, ReplayError> {
        let mut counts = vec![(0, self.initial.n_experts())];
        for layout in self.layouts() {
            let (step, layout) = layout?;
            // Plans of one step count once.
            if counts.len() > 1 && counts.last().is_some_and(|(last, _)| *last == step) {
                counts.pop();
            }
            counts.push((step, layout.n_experts()));
        }
        Ok(counts)
    }

    /// Step and layout after each plan, in order.
    ///
    /// # Errors
    /// The first plan that does not fit, or is out of order, is the last item.
    pub fn layouts(&self) -> impl Iterator<Item = Result<(u64, Layout), ReplayError>> {
        let (mut now, mut after) = (Some(self.initial.clone()), 0);
        self.plans.iter().enumerate().map_while(move |(index, plan)| {
            let (step, before) = (plan.step, now.take()?);
            if step < after {
                return Some(Err(ReplayError::Order { index, step, after }));
            }
            after = step;
            let checked = plan.clone().check(&before, Limits::default());
            now = checked.as_ref().ok().map(|checked| checked.after().clone());
            let after = checked.map(|checked| (step, checked.after().clone()));
            Some(after.map_err(|cause| ReplayError::Plan { index, step, cause }))
        })
    }

    /// Where an expert comes from, also one that is gone; none when the layer never had it.
    pub fn lineage(&self, layer: LayerId, expert: ExpertId) -> Option<Lineage> {
        let initial = self.initial.layer(layer)?.experts.contains(&expert);
        let mut birth = initial.then_some(Birth::Initial);
        let mut merged = Vec::new();
        let edits = self.plans.iter().flat_map(|plan| plan.edits.iter().map(|edit| (plan.step, edit)));
        for (step, edit) in edits.filter(|(_, edit)| edit.layer() == Some(layer)) {
            match edit {
                Edit::Grow { new, init, .. } if *new == expert => birth = Some(grown(init, step)),
                Edit::Upcycle { into, .. } if birth.is_none() && into.contains(&expert) => {
                    birth = Some(Birth::Upcycled { parent: into[0], step });
                }
                Edit::Merge { from, into, .. } if *into == expert => {
                    merged.push(Merged { expert: *from, step });
                }
                _ => {}
            }
        }
        Some(Lineage { birth: birth?, merged })
    }
}

fn same(replayed: Layout, recorded: &Layout) -> Result<(), ReplayError> {
    if replayed == *recorded {
        return Ok(());
    }
    Err(ReplayError::Other { replayed: Box::new(replayed), recorded: Box::new(recorded.clone()) })
}

fn grown(init: &ExpertInit, step: u64) -> Birth {
    match *init {
        ExpertInit::Fresh | ExpertInit::Aimed { .. } => Birth::Fresh { step },
        ExpertInit::Copy { parent, .. } => Birth::Copy { parent, step },
        ExpertInit::Split { parent } | ExpertInit::SplitAlong { parent, .. } => Birth::Split { parent, step },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evidence, LayerKind};

    const LAYER: LayerId = LayerId(0);

    fn grow(new: u64, init: ExpertInit) -> Edit {
        Edit::Grow { layer: LAYER, new: ExpertId(new), init }
    }

    /// A log of one edit a plan, at steps 10, 20, ….
    fn log(kind: LayerKind, n_experts: usize, edits: Vec<Edit>) -> EditLog {
        let mut log = EditLog::new(Layout::uniform(1, kind, n_experts));
        let mut layout = log.initial.clone();
        for (step, edit) in (10..).step_by(10).zip(edits) {
            let plan = Plan { step, edits: vec![edit], reason: "test".into(), evidence: Evidence::default() };
            let checked = plan.check(&layout, Limits::default()).unwrap();
            layout = checked.after().clone();
            log.push(&checked);
        }
        log
    }

    fn lineage(log: &EditLog, expert: u64) -> String {
        log.lineage(LAYER, ExpertId(expert)).map_or("never".to_owned(), |lineage| lineage.to_string())
    }

    #[test]
    fn every_expert_knows_where_it_comes_from() {
        let merge = |from: u64, into: u64| Edit::Merge {
            layer: LAYER,
            from: ExpertId(from),
            into: ExpertId(into),
            share: 0.5,
        };
        let edits = vec![
            grow(2, ExpertInit::Fresh),
            grow(3, ExpertInit::Copy { parent: ExpertId(1), noise: 0.1 }),
            grow(4, ExpertInit::Split { parent: ExpertId(3) }),
            merge(1, 3),
            grow(5, ExpertInit::Aimed { direction: vec![1.0] }),
            merge(2, 3),
        ];
        let log = log(LayerKind::TopK { k: 1 }, 2, edits);
        let expected = [
            "initial",
            "initial",
            "fresh at step 10",
            "copy of 1 at step 20; merged: +1 at step 40; merged: +2 at step 60",
            "split of 3 at step 30",
            "fresh at step 50",
            "never",
        ];
        for (expert, expected) in (0..).zip(expected) {
            assert_eq!(lineage(&log, expert), expected);
        }
        assert_eq!(log.lineage(LayerId(1), ExpertId(0)), None);
    }

    #[test]
    fn the_dense_expert_stays_initial_and_its_copies_name_it() {
        let upcycle =
            Edit::Upcycle { layer: LAYER, into: [0, 1, 2].map(ExpertId).into(), top_k: 2, reinit: 0.5 };
        let log = log(LayerKind::Dense, 1, vec![upcycle]);
        assert_eq!(
            [0, 1, 2].map(|expert| lineage(&log, expert)),
            ["initial", "upcycled from 0 at step 10", "upcycled from 0 at step 10"]
        );
        let json = serde_json::to_value(log.lineage(LAYER, ExpertId(2))).unwrap();
        let birth = serde_json::json!({"kind": "upcycled", "parent": 0, "step": 10});
        assert_eq!(json, serde_json::json!({"birth": birth, "merged": []}));
    }

    #[test]
    fn the_log_replays_to_any_step() {
        let prune = |expert| Edit::Prune { layer: LAYER, expert: ExpertId(expert) };
        let mut log = log(LayerKind::TopK { k: 1 }, 2, vec![grow(2, ExpertInit::Fresh), prune(0)]);
        let now = log.layout().unwrap();
        assert_eq!(now.layers()[0].experts, [1, 2].map(ExpertId));
        assert_eq!(log.layout_at(10).unwrap(), log.initial, "the plan of a step comes after its checkpoint");
        assert_eq!([11, 20, 21].map(|step| log.layout_at(step).unwrap().n_experts()), [3, 3, 2]);
        assert_eq!(log.counts().unwrap(), [(0, 2), (10, 3), (20, 2)]);
        log.check(&now).unwrap();
        log.check_at(21, &now).unwrap();
        assert!(matches!(log.check_at(20, &now), Err(ReplayError::Other { .. })));
        assert!(matches!(log.check(&log.initial), Err(ReplayError::Other { .. })));
        let json = serde_json::to_string(&log).unwrap();
        assert_eq!(serde_json::from_str::<EditLog>(&json).unwrap(), log);
        log.plans.swap(0, 1);
        assert_eq!(log.layout(), Err(ReplayError::Order { index: 1, step: 10, after: 20 }));
        log.plans.remove(1);
        assert_eq!(log.layout().unwrap().n_experts(), 1);
        log.plans[0].edits = vec![prune(2)];
        assert!(matches!(log.layout(), Err(ReplayError::Plan { index: 0, step: 20, .. })));
    }
}
