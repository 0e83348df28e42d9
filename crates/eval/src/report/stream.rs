//! What arms know where domains come and go: over the whole stream, at its end, and what they have forgotten by then.

use std::collections::BTreeMap;

use moelt_schema::{CellResult, TimeAccuracy};
use serde::{Deserialize, Serialize};

use crate::Summary;

/// An arm on a stream, over its seeds. Fractions; every domain counts the same, however many texts it has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamResults {
    /// Test accuracy at the last evaluation time, mean over the domains that are asked about then.
    pub final_accuracy: Summary,
    /// The same at every time, mean over the times.
    pub stream_accuracy: Summary,
    /// How far accuracy on a domain has fallen by the end from its best; mean over the domains that are asked about at the end and
    /// were before. None where there are no such domains.
    pub forgetting: Option<Summary>,
}

impl StreamResults {
    /// Of the cells of an arm; none where the domains of one do not come and go.
    pub(crate) fn of(results: &[&CellResult]) -> Option<Self> {
        let over_seeds = |number: fn(&[TimeAccuracy]) -> Option<f64>| {
            let numbers: Option<Vec<f64>> = results.iter().map(|result| number(&result.per_time)).collect();
            Summary::of(numbers?)
        };
        Some(Self {
            final_accuracy: over_seeds(|times| macro_accuracy(times.last()?))?,
            stream_accuracy: over_seeds(stream_accuracy)?,
            forgetting: over_seeds(forgetting),
        })
    }
}

/// Mean over the times of the mean test accuracy over the domains that are asked about then; none without times.
pub(crate) fn stream_accuracy(times: &[TimeAccuracy]) -> Option<f64> {
    mean(times.iter().filter_map(macro_accuracy))
}

/// Mean over the times of the validation accuracy then, over texts: results do not keep it by domain. None without times.
pub(crate) fn validation_accuracy(times: &[TimeAccuracy]) -> Option<f64> {
    mean(times.iter().map(|time| time.validation))
}

/// `1/|D| · Σ_{d ∈ D} (max_t a(d, t) − a(d, T))`, where `a(d, t)` is the test accuracy on domain `d` at time `t`, and `D` are the domains
/// asked about at the end `T` and before. None where there are none.
///
/// As in Chaudhry et al. 2018 (*Riemannian walk for incremental learning*), but that the end is among the times of the best: there a
/// domain that is known best at the end counts below 0, here it counts 0.
pub(crate) fn forgetting(times: &[TimeAccuracy]) -> Option<f64> {
    let (last, before) = times.split_last()?;
    let mut best: BTreeMap<u32, f64> = BTreeMap::new();
    for one in before.iter().flat_map(|time| &time.per_domain) {
        best.entry(one.domain).and_modify(|best| *best = best.max(one.accuracy)).or_insert(one.accuracy);
    }
    let fall = |accuracy: f64, best: &f64| (best - accuracy).max(0.0);
    mean(last.per_domain.iter().filter_map(|one| Some(fall(one.accuracy, best.get(&one.domain)?))))
}

/// Mean test accuracy over the domains that are asked about at a time.
fn macro_accuracy(time: &TimeAccuracy) -> Option<f64> {
    mean(time.per_domain.iter().map(|domain| domain.accuracy))
}

/// None of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    Some(Summary::of(values)?.mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Report,
        fixtures::{NOTHING, asked_at, outcomes_of, plan, result},
    };

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-12)
    }

    /// Domain 2 comes at the end, domain 1 is known best there.
    fn times() -> Vec<TimeAccuracy> {
        vec![
            asked_at(0.3, &[(0, 0.9)]),
            asked_at(0.6, &[(0, 0.8), (1, 0.6)]),
            asked_at(1.0, &[(0, 0.7), (1, 0.8), (2, 0.3)]),
        ]
    }

    #[test]
    fn numbers_equal_hand_worked_ones() {
        // (0.9 + 0.7 + 0.6) / 3.
        assert!(close(stream_accuracy(&times()), 2.2 / 3.0));
        // Domain 0 fell by 0.2, domain 1 by nothing; domain 2 had no time to fall.
        assert!(close(forgetting(&times()), 0.1));
        // The fixture has 0.01 less on validation than the mean over domains.
        assert!(close(validation_accuracy(&times()), 2.2 / 3.0 - 0.01));
    }

    /// A domain that is asked about no more at the end does not count.
    #[test]
    fn what_is_not_asked_about_cannot_be_forgotten() {
        let gone = [asked_at(0.5, &[(0, 0.9), (1, 0.9)]), asked_at(1.0, &[(1, 0.6)])];
        assert!(close(forgetting(&gone), 0.3));
        assert_eq!(forgetting(&[asked_at(0.5, &[(0, 0.9)]), asked_at(1.0, &[(1, 0.6)])]), None);
        assert_eq!([stream_accuracy(&[]), validation_accuracy(&[]), forgetting(&[])], [None; 3]);
    }

    #[test]
    fn arms_have_their_means_over_seeds() {
        let plan = plan(&["moe"], 2);
        let report = |streams: [Vec<TimeAccuracy>; 2]| {
            let mut results: Vec<_> = plan.cells.iter().map(|cell| result(cell, 0.8)).collect();
            results.iter_mut().zip(streams).for_each(|(result, times)| result.per_time = times);
            let outcomes = outcomes_of(&plan, results);
            Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap().arms[0].results.clone().unwrap()
        };
        let worse = vec![asked_at(0.5, &[(0, 0.9)]), asked_at(1.0, &[(0, 0.5)])];
        let stream = report([times(), worse.clone()]).stream.unwrap();
        // 0.6 and 0.5; 2.2 / 3 and 0.7; 0.1 and 0.4.
        assert!(close(Some(stream.final_accuracy.mean), 0.55));
        assert!(close(Some(stream.stream_accuracy.mean), (2.2 / 3.0 + 0.7) / 2.0));
        assert!(close(stream.forgetting.map(|one| one.mean), 0.25) && stream.final_accuracy.n == 2);
        let single = report([times(), vec![asked_at(1.0, &[(0, 0.5)])]]).stream.unwrap();
        assert_eq!(single.forgetting, None, "one cell has nothing to forget");
        assert_eq!(report([times(), Vec::new()]).stream, None);
    }
}
