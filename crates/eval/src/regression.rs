//! Whether an accuracy has really fallen below its baseline.

use serde::{Deserialize, Serialize};

use crate::{EvalError, Summary, student::t_quantile};

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

/// Compares an arm with its baseline by Welch's t interval (unequal variances, independent seeds).
///
/// Runs that share their seeds with the baseline are positively correlated with it if anything, and
/// the interval is then too wide rather than too narrow: it errs against an alarm.
///
/// # Errors
/// When one side has fewer than two seeds.
///
/// ```
/// use moelt_eval::{RegressionVerdict, Summary, compare_to_baseline};
/// let baseline = Summary { n: 5, mean: 0.90, sd: Some(0.002) };
/// let now = Summary { n: 5, mean: 0.88, sd: Some(0.002) };
/// let comparison = compare_to_baseline(&now, &baseline, 0.005).unwrap();
/// assert_eq!(comparison.verdict, RegressionVerdict::Worse);
/// ```
pub fn compare_to_baseline(
    now: &Summary,
    baseline: &Summary,
    margin: f64,
) -> Result<BaselineComparison, EvalError> {
    let now_part = squared_error("the run", now)?;
    let base_part = squared_error("the baseline", baseline)?;
    let error = (now_part + base_part).sqrt();
    let (n, m) = ((now.n - 1) as f64, (baseline.n - 1) as f64);
    // Welch–Satterthwaite; without any spread its value does not matter.
    let freedom = (now_part + base_part).powi(2) / (now_part.powi(2) / n + base_part.powi(2) / m);
    let t = t_quantiles(if error > 0.0 { freedom } else { n + m });
    let difference = now.mean - baseline.mean;
    let (lower, upper) = (difference - t.interval * error, difference + t.interval * error);
    let verdict = if upper < -margin {
        RegressionVerdict::Worse
    } else if lower < -margin {
        RegressionVerdict::Inconclusive
    } else {
        RegressionVerdict::Fine
    };
    Ok(BaselineComparison {
        difference,
        lower,
        upper,
        detectable: margin + (t.interval + t.power) * error,
        verdict,
    })
}

/// The squared standard error of a mean.
fn squared_error(what: &'static str, summary: &Summary) -> Result<f64, EvalError> {
    match summary.sd {
        Some(sd) if summary.n > 1 => Ok(sd * sd / summary.n as f64),
        _ => Err(EvalError::TooFewSeeds { what, n: summary.n }),
    }
}

/// Quantiles of Student's t.
struct Quantiles {
    /// Half-width of the interval, in standard errors.
    interval: f64,
    /// What to add for the power asked for.
    power: f64,
}

fn t_quantiles(freedom: f64) -> Quantiles {
    let interval = t_quantile(0.5 + CONFIDENCE / 2.0, freedom);
    Quantiles { interval, power: t_quantile(POWER, freedom) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(n: usize, mean: f64, sd: f64) -> Summary {
        Summary { n, mean, sd: Some(sd) }
    }

    /// scipy 1.17: `ttest_ind([3, 4, 5, 6, 7], [1, 2, 6], equal_var=False).confidence_interval()` with
    /// df = 2.88279; `t.ppf(0.975, df)` = 3.256912, `t.ppf(0.8, df)` = 0.984791; the standard error is
    /// √(2.5/5 + 7/3).
    #[test]
    fn the_interval_equals_scipys() {
        let now = Summary::of([3.0, 4.0, 5.0, 6.0, 7.0]).unwrap();
        let baseline = Summary::of([1.0, 2.0, 6.0]).unwrap();
        let comparison = compare_to_baseline(&now, &baseline, 0.5).unwrap();
        let detectable = 0.5 + (3.256_912_087 + 0.984_791_190) * (0.5f64 + 7.0 / 3.0).sqrt();
        let expected = [2.0, -3.482_199_951, 7.482_199_951, detectable];
        let found = [comparison.difference, comparison.lower, comparison.upper, comparison.detectable];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    }

    #[test]
    fn only_a_clear_fall_is_worse() {
        let verdict = |now, baseline| compare_to_baseline(&now, &baseline, 0.005).unwrap().verdict;
        let baseline = summary(5, 0.90, 0.002);
        assert_eq!(verdict(summary(5, 0.90, 0.002), baseline), RegressionVerdict::Fine);
        assert_eq!(verdict(summary(5, 0.95, 0.002), baseline), RegressionVerdict::Fine);
        assert_eq!(verdict(summary(5, 0.895, 0.002), baseline), RegressionVerdict::Inconclusive);
        assert_eq!(verdict(summary(5, 0.89, 0.002), baseline), RegressionVerdict::Worse);
        assert_eq!(verdict(summary(2, 0.89, 0.02), baseline), RegressionVerdict::Inconclusive);
    }

    #[test]
    fn without_any_spread_the_difference_decides() {
        let baseline = summary(3, 0.9, 0.0);
        let comparison = compare_to_baseline(&summary(3, 0.9, 0.0), &baseline, 0.005).unwrap();
        assert_eq!((comparison.lower, comparison.upper, comparison.detectable), (0.0, 0.0, 0.005));
        let fallen = compare_to_baseline(&summary(3, 0.8, 0.0), &baseline, 0.005).unwrap();
        assert_eq!(fallen.verdict, RegressionVerdict::Worse);
    }

    #[test]
    fn one_seed_is_refused() {
        let one = Summary { n: 1, mean: 0.9, sd: None };
        let message = compare_to_baseline(&one, &summary(3, 0.9, 0.1), 0.005).unwrap_err().to_string();
        assert_eq!(message, "the run has 1 seed(s); a comparison needs at least 2");
    }
}
