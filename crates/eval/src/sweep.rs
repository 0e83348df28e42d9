//! What a sweep over frozen sizes says: the fair opponent of every adaptive arm.

use moelt_schema::frozen_size;
use serde::{Deserialize, Serialize};

use crate::{ArmReport, Summary};

/// A size counts as good as the best when its mean is within this many percentage points.
pub const CLOSE_TO_BEST_PP: f64 = 0.5;

/// Slack for a difference that is [`CLOSE_TO_BEST_PP`] on paper and not quite in floating point.
const ROUNDING_PP: f64 = 1e-9;

/// The finished arms `frozen-N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// The sizes, ascending.
    pub points: Vec<SweepPoint>,
    /// The size with the best mean on validation: the choice one could have made without looking.
    pub chosen_on_validation: usize,
    /// The size with the best mean on test.
    pub best_on_test: usize,
    /// The smallest size whose verdict mean is within [`CLOSE_TO_BEST_PP`] of the best.
    pub smallest_close: usize,
    /// How far one expert lies below the best on test, percentage points; none without `frozen-1`.
    pub one_expert_gap_pp: Option<f64>,
}

/// One size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepPoint {
    /// Experts per layer, N.
    pub n_experts: usize,
    /// Accuracy on validation.
    pub validation: Summary,
    /// Accuracy on test.
    pub verdict: Summary,
}

impl Sweep {
    /// The sweep among `arms`; none when no `frozen-N` has a finished cell.
    pub(crate) fn of(arms: &[ArmReport]) -> Option<Self> {
        let mut points: Vec<SweepPoint> = arms.iter().filter_map(point).collect();
        points.sort_by_key(|point| point.n_experts);
        let chosen = smallest_best(&points, |point| point.validation.mean)?;
        let best = smallest_best(&points, |point| point.test.mean)?;
        let below_best = |point: &SweepPoint| 100.0 * (best.test.mean - point.test.mean);
        let close = points.iter().find(|point| below_best(point) <= CLOSE_TO_BEST_PP + ROUNDING_PP)?;
        let one = points.iter().find(|point| point.n_experts == 1);
        Some(Self {
            chosen_on_validation: chosen.n_experts,
            best_on_test: best.n_experts,
            smallest_close: close.n_experts,
            one_expert_gap_pp: one.map(below_best),
            points,
        })
    }
}

fn point(arm: &ArmReport) -> Option<SweepPoint> {
    let n_experts = frozen_size(&arm.arm)?;
    let results = arm.results.as_ref()?;
    Some(SweepPoint { n_experts, validation: results.validation_accuracy, verdict: results.test_accuracy })
}

/// The point with the largest `value`, the smaller size on a tie. `points` ascend.
fn smallest_best(points: &[SweepPoint], value: fn(&SweepPoint) -> f64) -> Option<SweepPoint> {
    points.iter().copied().reduce(|best, point| if value(&point) > value(&best) { point } else { best })
}

#[cfg(test)]
mod tests {
    use crate::{
        Report,
        report::tests::{NOTHING, finished, plan},
    };

    #[test]
    fn finds_the_knee() {
        let plan = plan(&["moe", "frozen-8", "frozen-1", "frozen-4", "frozen-2"], 1);
        let report =
            Report::new(&plan, &finished(&plan, &[0.99, 0.95, 0.70, 0.945, 0.81]), &NOTHING, plan.code)
                .unwrap();
        let sweep = report.sweep.unwrap();
        let sizes: Vec<usize> = sweep.points.iter().map(|point| point.n_experts).collect();
        assert_eq!(sizes, [1, 2, 4, 8]);
        assert_eq!((sweep.chosen_on_validation, sweep.best_on_test), (8, 8));
        assert_eq!(sweep.smallest_close, 4);
        assert!((sweep.one_expert_gap_pp.unwrap() - 25.0).abs() < 1e-9);
    }

    #[test]
    fn a_tie_goes_to_the_smaller_size() {
        let plan = plan(&["frozen-2", "frozen-4"], 1);
        let report = Report::new(&plan, &finished(&plan, &[0.9, 0.9]), &NOTHING, plan.code).unwrap();
        let sweep = report.sweep.unwrap();
        assert_eq!((sweep.chosen_on_validation, sweep.one_expert_gap_pp), (2, None));
    }
}
