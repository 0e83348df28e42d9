//! McNemar's test of two classifiers on the same examples, for one seed.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, Discrete, DiscreteCDF};

/// How two runs disagree, and whether that could be a toss of coins.
///
/// Stands beside a comparison over seeds, never instead of it: it knows nothing of other seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McNemar {
    /// Examples on which the first one alone scores higher (is right).
    pub first_only: u64,
    /// Examples on which the second one alone does.
    pub second_only: u64,
    /// Exact two-sided p-value of "each is as likely as the other": binomial with probability 1/2.
    pub p_exact: f64,
    /// Mid-p-value: counts half of the observed outcome's probability, as the exact one is too large
    /// for small counts (Fagerland, Lydersen & Laake 2013).
    pub p_mid: f64,
}

impl McNemar {
    /// The test of two runs' scores on the same examples.
    ///
    /// # Panics
    /// When the two have different numbers of examples.
    ///
    /// ```
    /// use moelt_eval::McNemar;
    /// let test = McNemar::of(&[1.0, 1.0, 0.0, 1.0], &[0.0, 1.0, 0.0, 1.0]);
    /// assert_eq!((test.first_only, test.second_only), (1, 0));
    /// assert!(test.p_exact > 0.99 && test.p_mid > 0.49);
    /// ```
    pub fn of(first: &[f64], second: &[f64]) -> Self {
        assert_eq!(first.len(), second.len(), "McNemar's test is about the same examples");
        let higher = |a: &[f64], b: &[f64]| a.iter().zip(b).filter(|(a, b)| a > b).count() as u64;
        Self::of_counts(higher(first, second), higher(second, first))
    }

    /// The same from the counts of examples on which one alone is right.
    pub fn of_counts(first_only: u64, second_only: u64) -> Self {
        let (fewer, all) = (first_only.min(second_only), first_only + second_only);
        let coins = Binomial::new(0.5, all).expect("1/2 is a probability");
        let tail = coins.cdf(fewer);
        let p_exact = (2.0 * tail).min(1.0);
        let p_mid = (2.0 * tail - coins.pmf(fewer)).min(1.0);
        Self { first_only, second_only, p_exact, p_mid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.17: `binomtest(b, b + c).pvalue`, and with `n = b + c`
    /// `2 * (binom.cdf(min(b, c), n, .5) - .5 * binom.pmf(min(b, c), n, .5))`.
    #[test]
    fn equals_scipys() {
        let cases = [
            (2, 10, 0.038_574_219, 0.022_460_938),
            (16, 6, 0.052_478_790, 0.034_689_665),
            (0, 5, 0.0625, 0.03125),
            (1, 1, 1.0, 1.0),
        ];
        for (first, second, exact, mid) in cases {
            let test = McNemar::of_counts(first, second);
            assert!((test.p_exact - exact).abs() < 1e-8 && (test.p_mid - mid).abs() < 1e-8, "{test:?}");
        }
    }

    #[test]
    fn runs_that_agree_show_nothing() {
        let test = McNemar::of(&[1.0, 0.0], &[1.0, 0.0]);
        assert_eq!((test.first_only, test.second_only, test.p_exact, test.p_mid), (0, 0, 1.0, 1.0));
    }
}
