//! Whether an accuracy has really fallen below its baseline.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{EvalError, Summary, stats::student::t_quantile};

/// Two-sided confidence of the interval.
const CONFIDENCE: f64 = 0.95;

/// Probability with which a fall of [`BaselineComparison::detectable`] would have been seen.
const POWER: f64 = 0.80;

/// What a comparison with a baseline says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegressionVerdict {
    /// The whole interval lies below −margin: clearly worse.
    Worse,
    /// The interval reaches below −margin, but not with its upper end.
    Inconclusive,
    /// The whole interval lies above −margin.
    Fine,
}

/// `now − baseline` of one arm's mean accuracy, as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineComparison {
    /// The difference of the means.
    pub difference: f64,
    /// Lower end of its 95 % interval.
    pub lower: f64,
    /// Upper end of its 95 % interval.
    pub upper: f64,
    /// The fall that would have been called [`RegressionVerdict::Worse`] with probability 0.8.
    pub detectable: f64,
    /// What follows.
    pub verdict: RegressionVerdict,
}

/// Compares an arm with its baseline; accuracies are fractions, by seed.
///
/// Under the same seeds the differences are paired, which tells a change of the code from the luck of the
/// seeds, and code that does the same has an interval of no width. Under other seeds it is Welch's t interval
/// (unequal variances, independent seeds).
///
/// # Errors
/// When one side has fewer than two seeds.
///
/// ```
/// use std::collections::BTreeMap;
/// use moelt_eval::{RegressionVerdict, compare_to_baseline};
/// let baseline = BTreeMap::from([(0, 0.90), (1, 0.94)]);
/// let now = BTreeMap::from([(0, 0.88), (1, 0.92)]);
/// let comparison = compare_to_baseline(&now, &baseline, 0.005).unwrap();
/// assert_eq!(comparison.verdict, RegressionVerdict::Worse);
/// ```
pub fn compare_to_baseline(
    now: &BTreeMap<u64, f64>,
    baseline: &BTreeMap<u64, f64>,
    margin: f64,
) -> Result<BaselineComparison, EvalError> {
    let difference = if now.keys().eq(baseline.keys()) {
        Difference::paired(now.values().zip(baseline.values()).map(|(now, then)| now - then))?
    } else {
        Difference::unpaired(&summary("the run", now)?, &summary("the baseline", baseline)?)?
    };
    Ok(difference.judge(margin))
}

fn summary(what: &'static str, accuracies: &BTreeMap<u64, f64>) -> Result<Summary, EvalError> {
    Summary::of(accuracies.values().copied()).ok_or(EvalError::TooFewSeeds { what, n: 0 })
}

/// A difference of means with what is needed for its t interval.
struct Difference {
    mean: f64,
    /// Standard error.
    error: f64,
    freedom: f64,
}

impl Difference {
    fn paired(differences: impl Iterator<Item = f64>) -> Result<Self, EvalError> {
        let few = |n| EvalError::TooFewSeeds { what: "the run", n };
        let differences = Summary::of(differences).ok_or_else(|| few(0))?;
        let error = squared_error("the run", &differences)?.sqrt();
        Ok(Self { mean: differences.mean, error, freedom: (differences.n - 1) as f64 })
    }

    fn unpaired(now: &Summary, baseline: &Summary) -> Result<Self, EvalError> {
        let now_part = squared_error("the run", now)?;
        let base_part = squared_error("the baseline", baseline)?;
        let error = (now_part + base_part).sqrt();
        let (n, m) = ((now.n - 1) as f64, (baseline.n - 1) as f64);
        // Welch–Satterthwaite; without any spread its value does not matter.
        let freedom = (now_part + base_part).powi(2) / (now_part.powi(2) / n + base_part.powi(2) / m);
        let freedom = if error > 0.0 { freedom } else { n + m };
        Ok(Self { mean: now.mean - baseline.mean, error, freedom })
    }

    fn judge(&self, margin: f64) -> BaselineComparison {
        let reach = t_quantile(0.5 + CONFIDENCE / 2.0, self.freedom) * self.error;
        let (lower, upper) = (self.mean - reach, self.mean + reach);
        let verdict = if upper < -margin {
            RegressionVerdict::Worse
        } else if lower < -margin {
            RegressionVerdict::Inconclusive
        } else {
            RegressionVerdict::Fine
        };
        let detectable = margin + reach + t_quantile(POWER, self.freedom) * self.error;
        BaselineComparison { difference: self.mean, lower, upper, detectable, verdict }
    }
}

/// The squared standard error of a mean.
fn squared_error(what: &'static str, summary: &Summary) -> Result<f64, EvalError> {
    match summary.sd {
        Some(sd) if summary.n > 1 => Ok(sd * sd / summary.n as f64),
        _ => Err(EvalError::TooFewSeeds { what, n: summary.n }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_seed(first: u64, accuracies: &[f64]) -> BTreeMap<u64, f64> {
        (first..).zip(accuracies.iter().copied()).collect()
    }

    /// scipy 1.17: `ttest_ind([3, 4, 5, 6, 7], [1, 2, 6], equal_var=False).confidence_interval()` with
    /// df = 2.88279; `t.ppf(0.975, df)` = 3.256912, `t.ppf(0.8, df)` = 0.984791; the standard error is
    /// √(2.5/5 + 7/3).
    #[test]
    fn the_interval_of_other_seeds_equals_scipys() {
        let now = by_seed(0, &[3.0, 4.0, 5.0, 6.0, 7.0]);
        let comparison = compare_to_baseline(&now, &by_seed(0, &[1.0, 2.0, 6.0]), 0.5).unwrap();
        let detectable = 0.5 + (3.256_912_087 + 0.984_791_190) * (0.5f64 + 7.0 / 3.0).sqrt();
        assert_close(&comparison, [2.0, -3.482_199_951, 7.482_199_951, detectable]);
    }

    /// scipy 1.17: `r = ttest_1samp([.4, -.1, .9, .6, .2], 0)`, `r.confidence_interval(.95)`; `t.ppf(0.8, 4)` =
    /// 0.940965, `t.ppf(0.975, 4)` = 2.776445; the standard error is 0.170294.
    #[test]
    fn the_interval_of_the_same_seeds_equals_scipys() {
        let now = by_seed(3, &[1.4, 0.9, 1.9, 1.6, 1.2]);
        let comparison = compare_to_baseline(&now, &by_seed(3, &[1.0; 5]), 0.5).unwrap();
        let detectable = 0.5 + (2.776_445_105 + 0.940_964_577) * 0.170_293_864;
        assert_close(&comparison, [0.4, -0.072_811_564, 0.872_811_564, detectable]);
    }

    fn assert_close(comparison: &BaselineComparison, expected: [f64; 4]) {
        let found = [comparison.difference, comparison.lower, comparison.upper, comparison.detectable];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn only_a_clear_fall_is_worse() {
        let around = |first, mean: f64, sd: f64| by_seed(first, &[mean - sd, mean, mean, mean, mean + sd]);
        let baseline = around(0, 0.90, 0.003);
        let verdict = |now| compare_to_baseline(&now, &baseline, 0.005).unwrap().verdict;
        assert_eq!(verdict(around(9, 0.90, 0.003)), RegressionVerdict::Fine);
        assert_eq!(verdict(around(9, 0.95, 0.003)), RegressionVerdict::Fine);
        assert_eq!(verdict(around(9, 0.895, 0.003)), RegressionVerdict::Inconclusive);
        assert_eq!(verdict(around(9, 0.89, 0.003)), RegressionVerdict::Worse);
        assert_eq!(verdict(around(9, 0.89, 0.03)), RegressionVerdict::Inconclusive);
        // The same seeds, all of them a little lower: seeds that differ much do not hide it.
        let noisy = around(0, 0.80, 0.05);
        let lower = noisy.iter().map(|(seed, accuracy)| (*seed, accuracy - 0.01)).collect();
        assert_eq!(compare_to_baseline(&lower, &noisy, 0.005).unwrap().verdict, RegressionVerdict::Worse);
        assert_eq!(compare_to_baseline(&noisy, &noisy, 0.005).unwrap().verdict, RegressionVerdict::Fine);
    }

    #[test]
    fn without_any_spread_the_difference_decides() {
        let baseline = by_seed(0, &[0.9; 3]);
        for first in [0, 7] {
            let comparison = compare_to_baseline(&by_seed(first, &[0.9; 3]), &baseline, 0.005).unwrap();
            assert_eq!((comparison.lower, comparison.upper, comparison.detectable), (0.0, 0.0, 0.005));
            let fallen = compare_to_baseline(&by_seed(first, &[0.8; 3]), &baseline, 0.005).unwrap();
            assert_eq!(fallen.verdict, RegressionVerdict::Worse);
        }
    }

    #[test]
    fn one_seed_is_refused() {
        let one = by_seed(0, &[0.9]);
        for baseline in [one.clone(), by_seed(0, &[0.9; 3])] {
            let message = compare_to_baseline(&one, &baseline, 0.005).unwrap_err().to_string();
            assert_eq!(message, "the run has 1 seed(s); a comparison needs at least 2");
        }
    }
}
