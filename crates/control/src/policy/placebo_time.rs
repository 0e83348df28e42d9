//! The edits of another run in their order, at random decision points, on random experts.

use moelt_schema::{Edit, ExpertId, ExpertInit, LayerId, Layout, PolicyState};
use rand::seq::SliceRandom;

use super::placebo::{NO_ID, Script, StandIns};
use crate::{Decision, Policy, PolicyError, StatsWindow};

/// Performs one plan of the script at each of its decision points.
pub(super) struct PlaceboTime {
    script: Script,
    /// The decision at which each plan of the script is performed, ascending.
    points: Vec<u64>,
    state: PolicyState,
}

impl PlaceboTime {
    pub(super) fn new(script: Script, state: PolicyState) -> Result<Self, PolicyError> {
        let points = points(&script);
        script.check("placebo_time", &points)?;
        Ok(Self { script, points, state })
    }

    fn waiting(&self, now: u64) -> String {
        let left: Vec<(usize, &u64)> =
            self.points.iter().enumerate().filter(|(_, point)| **point > now).collect();
        match left.first() {
            Some((index, point)) => format!(
                "the script's plan of step {} ({} of {}) comes at step {}",
                self.script.plans[*index].step,
                index + 1,
                self.points.len(),
                self.script.timing.step_of(**point)
            ),
            None => format!("all {} plans of the script are answered", self.points.len()),
        }
    }
}

/// A decision for every plan: drawn without repetition from those at which edits are allowed. When there
/// are fewer than plans, every one from the first on is used, beyond the last allowed one if need be: a
/// placebo that left edits out would differ in more than their time.
fn points(script: &Script) -> Vec<u64> {
    let (allowed, n) = (script.timing.decisions(), script.plans.len());
    let first = *allowed.start();
    let mut points: Vec<u64> = allowed.collect();
    if points.len() < n {
        return (first..).take(n).collect();
    }
    let (drawn, _) = points.partial_shuffle(&mut script.rng(0), n);
    let mut drawn = drawn.to_vec();
    drawn.sort_unstable();
    drawn
}

impl Policy for PlaceboTime {
    fn decide(&mut self, _: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let now = self.state.decisions;
        match self.points.binary_search(&now) {
            Ok(index) => self.script.answer(&[index], now, layout, stand_ins),
            Err(_) => Decision::keep(self.waiting(now), self.script.evidence(now, &[])),
        }
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

/// The same kinds of edits, each of experts of its own.
fn stand_ins(layer: LayerId, script: &[&Edit], mut experts: Vec<ExpertId>) -> StandIns {
    // In a layer without experts, or without a router, nothing can be done.
    if experts.is_empty() {
        return StandIns(Vec::new());
    }
    StandIns(script.iter().filter_map(|edit| Some(vec![stand_in(layer, edit, &mut experts)?])).collect())
}

/// The same edit of experts off the end of `experts`; none when there are too few.
fn stand_in(layer: LayerId, edit: &Edit, experts: &mut Vec<ExpertId>) -> Option<Edit> {
    Some(match edit {
        Edit::Grow { init, .. } => Edit::Grow { layer, new: NO_ID, init: other_parent(init, experts)? },
        Edit::Prune { .. } => Edit::Prune { layer, expert: experts.pop()? },
        Edit::Merge { .. } => {
            let [.., from, into] = experts[..] else { return None };
            experts.truncate(experts.len() - 2);
            Edit::Merge { layer, from, into, share: 0.5 }
        }
        Edit::Upcycle { .. }
        | Edit::Freeze { .. }
        | Edit::Reorder { .. }
        | Edit::Redraw { .. }
        | Edit::Thaw { .. }
        | Edit::FreezeShared {}
        | Edit::ThawShared {} => return None,
    })
}

/// The same way to begin with a random parent. A direction belongs to the tokens it was taken from: without
/// them the expert begins fresh.
fn other_parent(init: &ExpertInit, experts: &mut Vec<ExpertId>) -> Option<ExpertInit> {
    Some(match init {
        ExpertInit::Fresh | ExpertInit::Aimed { .. } => ExpertInit::Fresh,
        ExpertInit::Copy { noise, .. } => ExpertInit::Copy { parent: experts.pop()?, noise: *noise },
        // A direction is of the expert it was found in.
        ExpertInit::Split { .. } | ExpertInit::SplitAlong { .. } => {
            ExpertInit::Split { parent: experts.pop()? }
        }
    })
}

#[cfg(test)]
mod tests {
    use moelt_schema::{EditLog, EditsConfig, Evidence, LayerKind, Limits, Plan};

    use super::*;
    use crate::Action;

    const LAYER: LayerId = LayerId(0);

    fn grow(new: u64, init: ExpertInit) -> Edit {
        Edit::Grow { layer: LAYER, new: ExpertId(new), init }
    }

    fn prune(expert: u64) -> Edit {
        Edit::Prune { layer: LAYER, expert: ExpertId(expert) }
    }

    fn config(max: usize) -> EditsConfig {
        EditsConfig { every: 10, max_experts: max, ..EditsConfig::default() }
    }

    fn placebo(plans: &[Vec<Edit>], config: &EditsConfig, seed: u64) -> PlaceboTime {
        let plan = |(edits, step): (&Vec<Edit>, u64)| Plan {
            step,
            edits: edits.clone(),
            reason: String::new(),
            evidence: Evidence::default(),
        };
        let plans = plans.iter().zip(1..).map(plan).collect();
        let log = EditLog { initial: Layout::uniform(1, LayerKind::TopK { k: 1 }, 1), plans };
        PlaceboTime::new(Script::new(log, config, seed, 200), PolicyState::default()).unwrap()
    }

    /// Every decision of a run of 20, with its edits applied.
    fn run(placebo: &mut PlaceboTime, config: &EditsConfig, n_experts: usize) -> Vec<Decision> {
        let mut layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, n_experts);
        let decide = |decision: u64| {
            let window =
                StatsWindow { step: 10 * decision, total_steps: 200, sums: &[], loss: 1.0, ramping_in: &[] };
            let decision = placebo.decide(&window, &layout);
            if let Action::Apply(edits) = &decision.action {
                let plan = Plan {
                    step: window.step,
                    edits: edits.clone(),
                    reason: String::new(),
                    evidence: Evidence::default(),
                };
                layout = plan.check(&layout, config.limits()).unwrap().after().clone();
            }
            decision
        };
        (1..=20).map(decide).collect()
    }

    fn kinds(decisions: &[Decision]) -> Vec<(usize, &'static str)> {
        let kind = |edit: &Edit| match edit {
            Edit::Grow { init: ExpertInit::Fresh, .. } => "grow",
            Edit::Grow { .. } => "grow from a parent",
            Edit::Prune { .. } => "prune",
            Edit::Merge { .. } => "merge",
            _ => "other",
        };
        let edits = decisions.iter().enumerate().flat_map(|(index, decision)| match &decision.action {
            Action::Apply(edits) => edits.iter().map(|edit| (index + 1, kind(edit))).collect(),
            _ => Vec::new(),
        });
        edits.collect()
    }

    #[test]
    fn the_same_kinds_come_in_order_at_points_that_the_seed_draws() {
        let script = [
            vec![grow(1, ExpertInit::Split { parent: ExpertId(0) })],
            vec![grow(2, ExpertInit::Aimed { direction: vec![1.0] })],
            vec![Edit::Merge { layer: LAYER, from: ExpertId(2), into: ExpertId(0), share: 0.1 }],
            vec![prune(1)],
        ];
        let config = config(8);
        let seeds: Vec<_> =
            (0..4).map(|seed| kinds(&run(&mut placebo(&script, &config, seed), &config, 3))).collect();
        for edits in &seeds {
            let (points, kinds): (Vec<usize>, Vec<&str>) = edits.iter().copied().unzip();
            assert_eq!(kinds, ["grow from a parent", "grow", "merge", "prune"]);
            // Warm-up ends at step 20, edits end at step 140.
            assert!(points.is_sorted() && points.iter().all(|point| (3..=14).contains(point)), "{points:?}");
        }
        assert!(seeds.iter().any(|edits| *edits != seeds[0]), "the seed changes nothing");
    }

    #[test]
    fn with_fewer_points_than_plans_one_follows_the_other() {
        let script = vec![vec![grow(1, ExpertInit::Fresh)]; 14];
        let config = config(99);
        let decisions = run(&mut placebo(&script, &config, 1), &config, 1);
        let points: Vec<usize> = kinds(&decisions).into_iter().map(|(point, _)| point).collect();
        assert_eq!(points, (3..=16).collect::<Vec<_>>());
        assert_eq!(decisions[0].reason, "the script's plan of step 1 (1 of 14) comes at step 30");
        assert_eq!(decisions[19].reason, "all 14 plans of the script are answered");
    }

    #[test]
    fn what_the_limits_forbid_is_skipped_and_said() {
        let script = [vec![prune(0), prune(1), grow(5, ExpertInit::Fresh)], vec![grow(6, ExpertInit::Fresh)]];
        let config = config(1);
        let decisions = run(&mut placebo(&script, &config, 1), &config, 1);
        assert_eq!(kinds(&decisions).iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), ["prune", "grow"]);
        let said = |text: &str| decisions.iter().filter(|decision| decision.reason.contains(text)).count();
        assert_eq!(said("layer 0 skips 1 of 3 edits: 1 experts, 1 to 1 allowed"), 1);
        assert_eq!(said("layer 0 skips 1 of 1 edits: 1 experts, 1 to 1 allowed"), 1);
        assert_eq!(config.limits(), Limits { min: 1, max: 1 });
    }

    #[test]
    fn a_layer_that_is_not_there_is_skipped() {
        let elsewhere = Edit::Grow { layer: LayerId(4), new: ExpertId(1), init: ExpertInit::Fresh };
        let config = config(4);
        let decisions = run(&mut placebo(&[vec![elsewhere]], &config, 1), &config, 1);
        assert_eq!(kinds(&decisions), []);
        assert!(decisions.iter().any(|decision| decision.reason.contains("layer 4 skips 1 of 1 edits")));
    }
}
