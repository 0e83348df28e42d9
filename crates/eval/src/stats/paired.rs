//! The paired t test over seeds: examples taken as given, only the seeds as drawn.

use serde::{Deserialize, Serialize};

use crate::{
    EvalError, Interval, Summary,
    stats::student::{t_cdf, t_quantile},
};

/// What the paired t test says of the per-seed differences of two arms.
///
/// It answers for these very examples alone. On 872 sentences that is most of what there is to doubt, so it
/// stands beside the crossed interval ([`crate::Bootstrap::difference`]) and never decides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedT {
    /// Mean and standard deviation of the differences, fractions for accuracy.
    pub differences: Summary,
    /// Degrees of freedom: seeds − 1.
    pub freedom: usize,
    /// `mean·√n / SD`; none when all differences are the same.
    pub t: Option<f64>,
    /// Two-sided p-value of "the mean is 0"; none when all differences are the same.
    pub p: Option<f64>,
    /// Interval of the mean.
    pub interval: Interval,
}

impl PairedT {
    /// The test of `differences`, one a seed, and the interval of confidence `level` (0.95, say).
    ///
    /// # Errors
    /// With fewer than two differences.
    ///
    /// ```
    /// use moelt_eval::PairedT;
    /// let test = PairedT::of(&[0.01, 0.02, 0.03], 0.95).unwrap();
    /// assert!(test.p.unwrap() > 0.05 && test.interval.lower < 0.0);
    /// ```
    pub fn of(differences: &[f64], level: f64) -> Result<Self, EvalError> {
        let n = differences.len();
        let few = EvalError::TooFewSeeds { what: "the comparison", n };
        let Some((summary, sd)) = Summary::of(differences.iter().copied()).and_then(|s| Some((s, s.sd?)))
        else {
            return Err(few);
        };
        let (freedom, error) = (n - 1, sd / (n as f64).sqrt());
        let t = (error > 0.0).then(|| summary.mean / error);
        let reach = t_quantile(0.5 + level / 2.0, freedom as f64) * error;
        Ok(Self {
            differences: summary,
            freedom,
            t,
            p: t.map(|t| 2.0 * t_cdf(-t.abs(), freedom as f64)),
            interval: Interval { level, lower: summary.mean - reach, upper: summary.mean + reach },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.17: `r = ttest_1samp([.4, -.1, .9, .6, .2], 0)` and `r.confidence_interval(.95)`.
    #[test]
    fn equals_scipys() {
        let test = PairedT::of(&[0.4, -0.1, 0.9, 0.6, 0.2], 0.95).unwrap();
        let found = [test.t.unwrap(), test.p.unwrap(), test.interval.lower, test.interval.upper];
        let expected = [2.348_880_878, 0.078_611_399, -0.072_811_564, 0.872_811_564];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-8, "{found} is not {expected}");
        }
        assert_eq!(test.freedom, 4);
    }

    #[test]
    fn equal_differences_have_no_t() {
        let test = PairedT::of(&[0.25, 0.25], 0.95).unwrap();
        assert_eq!((test.t, test.p, test.interval.lower, test.interval.upper), (None, None, 0.25, 0.25));
    }

    #[test]
    fn one_seed_is_refused() {
        let message = PairedT::of(&[0.1], 0.95).unwrap_err().to_string();
        assert_eq!(message, "the comparison has 1 seed(s); a comparison needs at least 2");
    }
}
