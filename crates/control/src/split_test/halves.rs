//! Rows that come in texts: which half a text is in, and how sure a mean over such rows is.

use std::collections::BTreeMap;

/// Rows of one expert in two halves that share no text: every other text, in the order in which they first appear.
pub(super) struct Halves {
    /// The rows to fit on, ascending.
    pub(super) fitting: Vec<usize>,
    /// The rows to judge on, ascending.
    pub(super) held_out: Vec<usize>,
    /// How many texts there are in both together.
    pub(super) n_texts: usize,
}

impl Halves {
    /// Of rows that belong to these texts.
    pub(super) fn of(texts: &[u32]) -> Self {
        let mut seen = BTreeMap::new();
        let mut is_fitting = |row: &usize| {
            let next = seen.len();
            *seen.entry(texts[*row]).or_insert(next) % 2 == 0
        };
        let (fitting, held_out) = (0..texts.len()).partition(&mut is_fitting);
        Self { fitting, held_out, n_texts: seen.len() }
    }
}

/// Mean of `values` over rows and its standard error, when rows of one text may depend on one another in any way and
/// texts do not. The mean is a ratio, Σ Dₜ / Σ nₜ, of sums over the n texts t, hence
/// `SE² = n / (n − 1) · Σ (Dₜ − mean · nₜ)² / (Σ nₜ)²` (Cochran 1977, 6.3, without the finite-population factor).
/// With one row per text it is the ordinary standard error. Infinite with fewer than two texts.
pub(super) fn clustered_mean(values: &[f64], texts: &[u32]) -> (f64, f64) {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for (value, text) in values.iter().zip(texts) {
        let (sum, rows) = sums.entry(*text).or_default();
        *sum += value;
        *rows += 1.0;
    }
    let rows = values.len() as f64;
    let mean = sums.values().map(|(sum, _)| sum).sum::<f64>() / rows;
    let n = sums.len() as f64;
    if n < 2.0 {
        return (mean, f64::INFINITY);
    }
    let squares: f64 = sums.values().map(|(sum, rows)| (sum - mean * rows).powi(2)).sum();
    (mean, (n / (n - 1.0) * squares).sqrt() / rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_on_one_side() {
        // In the order of first appearance: 7 fits, 3 is held out, 9 fits.
        let halves = Halves::of(&[7, 3, 7, 9, 3, 9]);
        assert_eq!((halves.fitting, halves.held_out), (vec![0, 2, 3, 5], vec![1, 4]));
        assert_eq!(halves.n_texts, 3);
        assert_eq!(Halves::of(&[]).n_texts, 0);
    }

    /// mean 2; squares 1 + 0 + 1 = 2, variance 2 / 2 = 1, SE √(1 / 3).
    #[test]
    fn with_one_row_per_text_the_standard_error_is_the_ordinary_one() {
        let (mean, error) = clustered_mean(&[1.0, 2.0, 3.0], &[5, 6, 7]);
        assert_eq!(mean, 2.0);
        assert!((error - (1f64 / 3.0).sqrt()).abs() < 1e-12, "{error}");
    }

    /// Text 0 has rows 1, 3, 5 (D = 9, n = 3), text 1 has row 7 (D = 7, n = 1): mean 16 / 4 = 4,
    /// residuals 9 − 12 = −3 and 7 − 4 = 3, SE = √(2 / 1 · 18) / 4 = 1.5.
    #[test]
    fn texts_of_unequal_length() {
        let (mean, error) = clustered_mean(&[1.0, 7.0, 3.0, 5.0], &[0, 1, 0, 0]);
        assert_eq!(mean, 4.0);
        assert!((error - 1.5).abs() < 1e-12, "{error}");
    }

    /// Ten copies of a row are no more evidence than the row.
    #[test]
    fn copies_of_rows_change_nothing() {
        let values = [0.25, -1.0, 2.0, 0.5];
        let once = clustered_mean(&values, &[0, 1, 2, 3]);
        let texts: Vec<u32> = (0..40).map(|row| row % 4).collect();
        let ten = clustered_mean(&values.repeat(10), &texts);
        assert!((once.0 - ten.0).abs() < 1e-12 && (once.1 - ten.1).abs() < 1e-12, "{once:?} {ten:?}");
        assert_eq!(clustered_mean(&values, &[4; 4]), (0.4375, f64::INFINITY));
    }
}
