//! What seeds cannot say of collapses that none of them shows, and what a GO must have to spare because of it.

use moelt_schema::{CollapseRule, Comparison, Metric};
use serde::{Deserialize, Serialize};

use crate::{Verdict, go_above};

/// Collapses that a comparison's seeds may have missed. Those they show are part of the difference and of its interval.
///
/// An arm whose seeds collapse at rate r shows none in S seeds with probability `(1 − r)^S`. Where that is alpha or less
/// the rate is excluded, so that the highest one that is not is `1 − alpha^(1/S)`: 45 % with 5 seeds, 26 % with 10, 9.8 % with 29
/// (the exact binomial bound of Clopper & Pearson 1934 for none of S; at 5 % the "rule of three", 3/S).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unseen {
    /// Seeds that were compared.
    pub seeds: usize,
    /// The highest collapse rate that these seeds do not exclude.
    pub rate: f64,
    /// Seeds that exclude the rate which the plan asks for.
    pub seeds_needed: usize,
    /// How far above what GO needs the lower bound must lie, in the unit of the metric: `rate` × the plan's depth, 0 with
    /// seeds enough, none where no gain makes up for missing seeds (losses have no greatest fall).
    pub to_spare: Option<f64>,
    /// Whether the interval says GO and this alone forbids it.
    pub withheld: bool,
}

impl Unseen {
    /// Of a comparison over this many seeds; none where a GO has no such condition: where the plan asks for none, and of
    /// experts and operations, which do not collapse, and forgetting, of which a seed that never learnt has none.
    pub(crate) fn of(declared: &Comparison, rule: &CollapseRule, seeds: usize) -> Option<Self> {
        if rule.is_off() || !can_collapse(declared.metric) {
            return None;
        }
        let to_spare = Some(to_spare(declared, rule, seeds)).filter(|gain| gain.is_finite());
        let seeds_needed = seeds_to_exclude(rule.rate, declared.alpha);
        let rate = highest_rate(seeds, declared.alpha);
        Some(Self { seeds, rate, seeds_needed, to_spare, withheld: false })
    }

    /// Whether the seeds are too few to exclude the rate that the plan asks for.
    pub fn is_too_high(&self) -> bool {
        self.to_spare != Some(0.0)
    }

    /// What a GO comes to that an interval with this lower bound gives for this reason.
    pub(super) fn judge(&mut self, declared: &Comparison, lower: f64, reason: String) -> (Verdict, String) {
        if !self.is_too_high() {
            return (Verdict::Go, reason);
        }
        let Self { seeds, seeds_needed, .. } = *self;
        if let Some(spare) = self.to_spare.filter(|spare| lower - spare > go_above(declared)) {
            let spare = declared.metric.shown(spare);
            let also = format!("also with {} less", spare.trim_start_matches('+'));
            return (
                Verdict::Go,
                format!("{reason}, {also} for collapses that {seeds} seeds do not exclude"),
            );
        }
        self.withheld = true;
        let rate = 100.0 * self.rate;
        let but = format!("{seeds} seeds do not exclude that up to {rate:.0} % of seeds collapse");
        let reason = format!("the interval says GO ({reason}), but {but}: that takes {seeds_needed} seeds");
        (Verdict::Inconclusive, reason)
    }
}

/// How far above what GO needs the lower bound must lie with this many seeds; endless where nothing would do.
pub(crate) fn to_spare(declared: &Comparison, rule: &CollapseRule, seeds: usize) -> f64 {
    if rule.is_off() || seeds >= seeds_to_exclude(rule.rate, declared.alpha) {
        return 0.0;
    }
    match declared.metric {
        Metric::Accuracy | Metric::Utility { .. } | Metric::MacroF1 | Metric::StreamAccuracy => {
            highest_rate(seeds, declared.alpha) * rule.depth
        }
        Metric::Loss => f64::INFINITY,
        Metric::Experts | Metric::TrainingFlops | Metric::Forgetting | Metric::InferenceFlops => 0.0,
    }
}

/// Whether a run that collapses is worse in this.
fn can_collapse(metric: Metric) -> bool {
    match metric {
        Metric::Accuracy
        | Metric::Utility { .. }
        | Metric::Loss
        | Metric::MacroF1
        | Metric::StreamAccuracy => true,
        Metric::Experts | Metric::TrainingFlops | Metric::Forgetting | Metric::InferenceFlops => false,
    }
}

/// `1 − alpha^(1/S)`.
fn highest_rate(seeds: usize, alpha: f64) -> f64 {
    1.0 - alpha.powf(1.0 / seeds as f64)
}

/// The fewest S with `(1 − rate)^S ≤ alpha`.
fn seeds_to_exclude(rate: f64, alpha: f64) -> usize {
    (alpha.ln() / (1.0 - rate).ln()).ceil() as usize
}

#[cfg(test)]
mod tests {
    use moelt_schema::ClaimKind;

    use super::*;

    fn of(metric: Metric, seeds: usize) -> Option<Unseen> {
        let declared = Comparison {
            name: "a".into(),
            metric,
            arm: "a".into(),
            against: vec!["b".into()],
            kind: ClaimKind::NonInferiority,
            margin: 0.005,
            alpha: 0.05,
            family: "main".into(),
        };
        Unseen::of(&declared, &CollapseRule::default(), seeds)
    }

    #[test]
    fn so_many_seeds_exclude_so_much() {
        let rate = |seeds| of(Metric::Accuracy, seeds).unwrap().rate;
        for (seeds, expected) in [(5, 0.4507), (10, 0.2589), (29, 0.0981), (59, 0.0495)] {
            assert!((rate(seeds) - expected).abs() < 5e-5, "{seeds}: {}", rate(seeds));
        }
        assert_eq!(of(Metric::Accuracy, 5).unwrap().seeds_needed, 29);
        assert_eq!([0.05, 0.2, 0.5].map(|rate| seeds_to_exclude(rate, 0.05)), [59, 14, 5]);
    }

    #[test]
    fn what_is_to_spare_depends_on_the_metric() {
        let to_spare = |metric, seeds| of(metric, seeds).map(|unseen| unseen.to_spare);
        assert!((to_spare(Metric::Utility { price: 0.001 }, 5).unwrap().unwrap() - 0.045_07).abs() < 5e-6);
        assert_eq!(to_spare(Metric::Accuracy, 29), Some(Some(0.0)));
        assert_eq!([28, 29].map(|seeds| to_spare(Metric::Loss, seeds)), [Some(None), Some(Some(0.0))]);
        assert_eq!(to_spare(Metric::StreamAccuracy, 5), to_spare(Metric::Accuracy, 5));
        let without = [Metric::Experts, Metric::TrainingFlops, Metric::Forgetting, Metric::InferenceFlops];
        assert_eq!(without.map(|metric| to_spare(metric, 2)), [None; 4]);
    }
}
