//! The times of another run's edits, without their effect on size: at each a random expert is replaced by a
//! fresh one.

use moelt_schema::{Edit, ExpertId, ExpertInit, LayerId, Layout, PolicyState};

use super::placebo::{NO_ID, Script, StandIns};
use crate::{Decision, Policy, PolicyError, StatsWindow};

/// Replaces as many experts of a layer as the script edits, at the first decision at or after its step.
pub(super) struct PlaceboSurgery {
    script: Script,
    /// The decision that answers each plan of the script.
    points: Vec<u64>,
    state: PolicyState,
}

impl PlaceboSurgery {
    pub(super) fn new(script: Script, state: PolicyState) -> Result<Self, PolicyError> {
        let points: Vec<u64> = script.plans.iter().map(|plan| script.timing.decision_at(plan.step)).collect();
        script.check("placebo_surgery", &points)?;
        Ok(Self { script, points, state })
    }
}

impl Policy for PlaceboSurgery {
    fn decide(&mut self, _: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let now = self.state.decisions;
        let plans = 0..self.script.plans.len();
        let due: Vec<usize> = plans.clone().filter(|index| self.points[*index] == now).collect();
        if !due.is_empty() {
            return self.script.answer(&due, now, layout, replace);
        }
        let next = plans.into_iter().find(|index| self.points[*index] > now);
        let reason = match next {
            Some(next) => format!("the script's next plan is of step {}", self.script.plans[next].step),
            None => format!("the script has no plan after decision {now}"),
        };
        Decision::keep(reason, self.script.evidence(now, &[]))
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

/// One expert replaced for every edit, as long as there are experts.
fn replace(layer: LayerId, script: &[&Edit], experts: Vec<ExpertId>) -> StandIns {
    let one = |(expert, _): (ExpertId, _)| {
        vec![Edit::Prune { layer, expert }, Edit::Grow { layer, new: NO_ID, init: ExpertInit::Fresh }]
    };
    StandIns(experts.into_iter().zip(script).map(one).collect())
}

#[cfg(test)]
mod tests {
    use moelt_schema::{EditLog, EditsConfig, Evidence, LayerKind, Plan};

    use super::*;
    use crate::Action;

    fn prune(expert: u64) -> Edit {
        Edit::Prune { layer: LayerId(0), expert: ExpertId(expert) }
    }

    fn grow(new: u64) -> Edit {
        Edit::Grow { layer: LayerId(0), new: ExpertId(new), init: ExpertInit::Fresh }
    }

    /// Decides `n` times, every 10 steps, on a layer of `experts` that is never edited.
    fn decisions(plans: &[(u64, Vec<Edit>)], experts: usize, n: u64) -> Vec<Decision> {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, experts);
        let plan = |(step, edits): &(u64, Vec<Edit>)| Plan {
            step: *step,
            edits: edits.clone(),
            reason: String::new(),
            evidence: Evidence::default(),
        };
        let log = EditLog { initial: layout.clone(), plans: plans.iter().map(plan).collect() };
        let config = EditsConfig { every: 10, ..EditsConfig::default() };
        let script = Script::new(log, &config, 3, 100);
        let mut placebo = PlaceboSurgery::new(script, PolicyState::default()).unwrap();
        let window = |step| StatsWindow { step, total_steps: 100, sums: &[], loss: 1.0, ramping_in: &[] };
        (1..=n).map(|decision| placebo.decide(&window(10 * decision), &layout)).collect()
    }

    #[test]
    fn an_expert_is_replaced_at_the_first_decision_at_or_after_each_step() {
        let decisions = decisions(&[(20, vec![prune(0)]), (31, vec![grow(4)])], 1, 5);
        let replaced = Action::Apply(vec![prune(0), grow(1)]);
        let expected = [Action::Keep, replaced.clone(), Action::Keep, replaced, Action::Keep];
        assert_eq!(decisions.iter().map(|decision| decision.action.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(decisions[0].reason, "the script's next plan is of step 20");
        assert_eq!(
            decisions[1].reason,
            "answers the script's plan of step 20 (1 of 2): layer 0 prunes expert 0, layer 0 grows expert 1"
        );
        assert_eq!(decisions[4].reason, "the script has no plan after decision 5");
    }

    #[test]
    fn never_more_experts_are_replaced_than_there_are() {
        let plans = [(5, vec![prune(0), grow(9)]), (10, vec![grow(10)])];
        let first = &decisions(&plans, 2, 1)[0];
        let Action::Apply(edits) = &first.action else { panic!("{first:?}") };
        let pruned = edits.iter().filter(|edit| matches!(edit, Edit::Prune { .. })).count();
        assert_eq!((edits.len(), pruned), (4, 2));
        assert!(first.reason.contains("step 5 (1 of 2) and of step 10 (2 of 2)"), "{}", first.reason);
        assert!(first.reason.contains("layer 0 skips 1 of 3 edits"), "{}", first.reason);
    }
}
