//! A number over seeds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Mean and spread of one number over the seeds of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Seeds.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (divisor `n − 1`); none for a single seed.
    pub sd: Option<f64>,
}

impl Summary {
    /// Mean and standard deviation of `values`; none of nothing.
    ///
    /// ```
    /// use moelt_eval::Summary;
    /// let summary = Summary::of([0.80, 0.84]).unwrap();
    /// assert_eq!(summary.percent().to_string(), "82.00 ± 2.83");
    /// ```
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (n > 1).then(|| (squares / (n as f64 - 1.0)).sqrt());
        (n > 0).then_some(Self { n, mean, sd })
    }

    /// The same in percent: for fractions.
    pub fn percent(&self) -> Self {
        Self { n: self.n, mean: 100.0 * self.mean, sd: self.sd.map(|sd| 100.0 * sd) }
    }
}

/// `mean ± SD`, with two decimals unless the format asks for others; without a spread the mean alone.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$}", self.mean)?;
        self.sd.map_or(Ok(()), |sd| write!(f, " ± {sd:.digits$}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_hand_worked_values() {
        let summary = Summary::of([1.0, 2.0, 4.0, 5.0]).unwrap();
        assert_eq!((summary.n, summary.mean), (4, 3.0));
        assert!((summary.sd.unwrap() - (10.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(format!("{summary:.1}"), "3.0 ± 1.8");
    }

    #[test]
    fn one_seed_has_no_spread_and_none_no_mean() {
        assert_eq!(Summary::of([0.5]).unwrap().percent().to_string(), "50.00");
        assert_eq!(Summary::of([]), None);
    }
}
