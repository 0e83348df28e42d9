//! Seeds that ended far below the others of their arm, and comparisons without them.

use std::collections::BTreeSet;

use moelt_schema::{CellResult, CollapseRule, Metrics};
use serde::{Deserialize, Serialize};

use crate::{ArmReport, Chosen, Interval, Judgement, Verdict};

/// A seed that collapsed by the plan's rule, and what it looked like. Accuracies are fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollapsedSeed {
    /// The seed.
    pub seed: u64,
    /// Its accuracy on the test split.
    pub accuracy: f64,
    /// The median of its arm's seeds.
    pub median: f64,
    /// Its accuracy on the validation split: far below, too, where the run failed and not the judging.
    pub validation_accuracy: f64,
    /// Accuracy of its last checkpoint on the test split.
    pub last_accuracy: f64,
    /// The step of the checkpoint that was judged.
    pub best_step: u64,
    /// The steps it trained for.
    pub steps: u64,
    /// Experts of the judged checkpoint, over all layers.
    pub n_experts: usize,
    /// The domain that fell furthest, or the class where the data set knows no domains.
    pub furthest: Option<Fall>,
}

/// A part of the test split on which a seed lies below its arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fall {
    /// `domain 3` or `class 1`.
    pub part: String,
    /// The seed's accuracy there.
    pub accuracy: f64,
    /// The median of its arm's seeds there.
    pub median: f64,
}

/// A comparison without the seeds in which one of its arms collapsed. It decides nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithoutCollapsed {
    /// The seeds left out.
    pub seeds: Vec<u64>,
    /// The difference over the others; none where fewer than two are left.
    pub difference: Option<f64>,
    /// Its interval, at the level that Holm's procedure then gives it.
    pub interval: Option<Interval>,
    /// The verdict of that interval alone: whether collapses might be unseen is not asked here.
    pub verdict: Verdict,
}

/// The seeds of an arm that collapsed, ascending. Of two seeds nobody can say which is the unusual one.
pub(crate) fn collapsed_seeds(results: &[&CellResult], rule: &CollapseRule) -> Vec<CollapsedSeed> {
    if results.len() < 3 {
        return Vec::new();
    }
    let Some(median) = median(results.iter().map(|result| result.test.accuracy)) else {
        return Vec::new();
    };
    let collapsed = results.iter().filter(|result| median - result.test.accuracy > rule.below);
    let mut seeds: Vec<CollapsedSeed> = collapsed
        .map(|result| CollapsedSeed {
            seed: result.seed,
            accuracy: result.test.accuracy,
            median,
            validation_accuracy: result.validation.accuracy,
            last_accuracy: result.last.test,
            best_step: result.best_step,
            steps: result.steps,
            n_experts: result.layout.n_experts(),
            furthest: furthest_fall(result, results),
        })
        .collect();
    seeds.sort_by_key(|seed| seed.seed);
    seeds
}

/// The part in which a run lies furthest below the median of all.
fn furthest_fall(result: &CellResult, all: &[&CellResult]) -> Option<Fall> {
    let falls = parts(&result.test).into_iter().filter_map(|(part, accuracy)| {
        let same = |other: &&CellResult| parts(&other.test).into_iter().find(|(name, _)| *name == part);
        let median = median(all.iter().filter_map(same).map(|(_, accuracy)| accuracy))?;
        Some(Fall { part, accuracy, median })
    });
    falls.max_by(|a, b| (a.median - a.accuracy).total_cmp(&(b.median - b.accuracy)))
}

/// Accuracies by domain; by class where there are no domains.
fn parts(metrics: &Metrics) -> Vec<(String, f64)> {
    if metrics.per_domain.is_empty() {
        let classes = metrics.per_class_accuracy.iter().enumerate();
        classes.filter_map(|(class, accuracy)| Some((format!("class {class}"), (*accuracy)?))).collect()
    } else {
        let domains = metrics.per_domain.iter();
        domains.map(|domain| (format!("domain {}", domain.domain), domain.accuracy)).collect()
    }
}

/// The middle value, of two the mean; none of nothing.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[values.len() / 2 - 1], upper) })
}

/// The seeds in which the arm of a comparison collapsed, or its opponent: of several, the one that was chosen.
pub(crate) fn collapsed_in(
    arms: &[ArmReport],
    arm: &str,
    against: &[String],
    chosen: Option<&Chosen>,
) -> BTreeSet<u64> {
    let is_opponent = |report: &&ArmReport| {
        let is_chosen = chosen.is_none_or(|chosen| report.sweep == Some(chosen.n_experts));
        against.contains(&report.arm) && is_chosen
    };
    let sides = arms.iter().filter(|report| report.arm == arm || is_opponent(report));
    let results = sides.filter_map(|report| report.results.as_ref());
    results.flat_map(|results| results.collapsed.iter().map(|seed| seed.seed)).collect()
}

impl WithoutCollapsed {
    pub(crate) fn of(seeds: BTreeSet<u64>, judged: &Judgement) -> Self {
        let Judgement { difference, interval, verdict, .. } = *judged;
        Self { seeds: seeds.into_iter().collect(), difference, interval, verdict }
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ClaimKind, DomainAccuracy};

    use super::*;
    use crate::{
        Outcome, Report,
        fixtures::{EXAMPLES, accuracy, declare, judged_plan, only, plan, predictions, result},
    };

    #[test]
    fn the_median_is_the_middle() {
        let of = |values: &[f64]| median(values.iter().copied());
        assert_eq!([of(&[3.0, 1.0, 2.0]), of(&[4.0, 1.0]), of(&[])], [Some(2.0), Some(2.5), None]);
    }

    #[test]
    fn a_seed_is_told_with_what_it_looked_like() {
        let plan = plan(&["moe"], 4);
        let mut results: Vec<CellResult> =
            plan.cells.iter().zip([0.90, 0.91, 0.885, 0.86]).map(|(cell, a)| result(cell, a)).collect();
        for (at, result) in results.iter_mut().enumerate() {
            let second = if at == 3 { 0.52 } else { 0.91 };
            let of = |(domain, accuracy)| DomainAccuracy { domain, n: 50, accuracy };
            result.test.per_domain = [(0, 0.9), (1, second)].map(of).into();
        }
        let found = collapsed_seeds(&results.iter().collect::<Vec<_>>(), &CollapseRule::default());
        assert_eq!(found.len(), 1, "0.885 is only 0.75 pp below the median of 0.8925");
        let CollapsedSeed { seed, accuracy, median, furthest, .. } = &found[0];
        assert_eq!((*seed, *accuracy), (3, 0.86));
        assert!((median - 0.8925).abs() < 1e-12);
        let fall = Fall { part: "domain 1".into(), accuracy: 0.52, median: 0.91 };
        assert_eq!(furthest.as_ref(), Some(&fall));
        let laxer = CollapseRule { below: 0.05, ..CollapseRule::default() };
        assert_eq!(collapsed_seeds(&results.iter().collect::<Vec<_>>(), &laxer), []);
        assert_eq!(collapsed_seeds(&[&results[0], &results[3]], &CollapseRule::default()), []);
    }

    /// Arm b is as good as a but for seed 1, which costs it the GO.
    #[test]
    fn a_comparison_is_shown_without_the_seeds_that_collapsed() {
        let arms = [("a", 0.80), ("b", 0.80)];
        let (plan, mut outcomes) = judged_plan(&arms, vec![declare("b", &["a"], ClaimKind::NonInferiority)]);
        let fallen = plan.cells[6].id.clone();
        outcomes.insert(fallen.clone(), Outcome::Finished(Box::new(result(&plan.cells[6], 0.70))));
        let read = |cell: &moelt_schema::Cell, _: &str| {
            let accuracy = if cell.id == fallen { 0.70 } else { accuracy(&arms, cell) };
            Ok(predictions(EXAMPLES, accuracy, cell.seed))
        };
        let report = Report::new(&plan, &outcomes, &only(&read), plan.code).unwrap();
        let arm = report.arms[1].results.as_ref().unwrap();
        assert_eq!(arm.collapsed.iter().map(|seed| seed.seed).collect::<Vec<_>>(), [1]);
        let compared = &report.comparisons[0];
        let without = compared.without_collapsed.as_ref().unwrap();
        assert_eq!((compared.judged.verdict, without.verdict), (Verdict::Inconclusive, Verdict::Go));
        assert!(compared.judged.difference.unwrap() < -0.015 && without.difference.unwrap() == 0.0);
        assert_eq!(without.seeds, [1]);
        let [terminal, markdown] = [report.to_terminal(), report.to_markdown()];
        for text in [&terminal, &markdown] {
            assert!(text.contains("b, seed 1: 70.00 %") && text.contains("without seed 1"), "{text}");
        }
        assert!(markdown.contains("best at step 90 of 100"), "{markdown}");
    }
}
