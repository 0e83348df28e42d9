//! Where the variance of a paired difference comes from: seeds, examples, or both together.

use serde::{Deserialize, Serialize};

use crate::{Differences, EvalError, Summary};

/// Variance components of the differences `d[s][i] = mean + seed[s] + item[i] + interaction[s][i]` between
/// two arms (crossed random effects). All in the squared unit of the scores: fraction² for accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Components {
    /// σ²_seed: of the difference between seeds, were there infinitely many examples.
    pub seed: f64,
    /// σ²_item: of the difference between examples, were there infinitely many seeds.
    pub item: f64,
    /// σ²_interaction: of what is particular to one example under one seed.
    pub interaction: f64,
}

/// What the squared error of the mean is made of, each multiplied by seeds × examples: the mean squares
/// that the two-way analysis of variance would find on average.
struct MeanSquares {
    seed: f64,
    item: f64,
    interaction: f64,
}

impl Components {
    /// Their estimates from a two-way analysis of variance without replication: with mean squares MS,
    /// σ²_interaction = MS_si, σ²_seed = (MS_s − MS_si)/I and σ²_item = (MS_i − MS_si)/S, the latter two
    /// raised to 0 where they come out negative (Searle, Casella & McCulloch 1992, ch. 4).
    ///
    /// # Errors
    /// With fewer than two seeds or two examples.
    ///
    /// ```
    /// use moelt_eval::{Components, Scores};
    /// let arm = |rows: [[f64; 3]; 2]| Scores::new((0..2).zip(rows.map(|r| r.to_vec()))).unwrap();
    /// let difference = arm([[1.0; 3], [1.0; 3]]).minus(&arm([[1.0; 3], [0.0; 3]])).unwrap();
    /// let components = Components::of(&difference).unwrap();
    /// assert_eq!(components, Components { seed: 0.5, item: 0.0, interaction: 0.0 });
    /// ```
    pub fn of(differences: &Differences) -> Result<Self, EvalError> {
        let (n_seeds, n_examples) = (differences.n_seeds(), differences.n_examples());
        let mean = differences.mean();
        let squares = |means: &[f64]| means.iter().map(|m| (m - mean).powi(2)).sum::<f64>();
        if n_seeds < 2 {
            return Err(EvalError::TooFewSeeds { what: "the comparison", n: n_seeds });
        }
        if differences.are_of_seeds() {
            let seed = squares(&differences.per_seed()) / (n_seeds as f64 - 1.0);
            return Ok(Self { seed, item: 0.0, interaction: 0.0 });
        }
        if n_examples < 2 {
            return Err(EvalError::TooFewExamples { n: n_examples });
        }
        let (s, i) = (n_seeds as f64, n_examples as f64);
        let matrix = differences.matrix();
        let (rows, columns) = (matrix.row_means(), matrix.column_means());
        let residuals = matrix.rows().zip(&rows).flat_map(|(row, row_mean)| {
            row.iter().zip(&columns).map(move |(d, column_mean)| (d - row_mean - column_mean + mean).powi(2))
        });
        let interaction = residuals.sum::<f64>() / ((s - 1.0) * (i - 1.0));
        Ok(Self {
            seed: (squares(&rows) / (s - 1.0) - interaction / i).max(0.0),
            item: (squares(&columns) / (i - 1.0) - interaction / s).max(0.0),
            interaction,
        })
    }

    /// Those of the seeds as given, one or more: all variance is that of examples, whose differences are means over these seeds.
    ///
    /// # Errors
    /// With fewer than two examples.
    pub(crate) fn of_these_seeds(differences: &Differences) -> Result<Self, EvalError> {
        let n = differences.n_examples();
        if n < 2 {
            return Err(EvalError::TooFewExamples { n });
        }
        let summary = Summary::of(differences.matrix().column_means());
        let sd = summary.and_then(|summary| summary.sd).unwrap_or(0.0);
        Ok(Self { seed: 0.0, item: sd * sd, interaction: 0.0 })
    }

    /// Standard error of the mean difference over this many seeds and examples:
    /// `√(σ²_seed/S + σ²_item/I + σ²_interaction/(S·I))`, in the unit of the scores.
    pub fn standard_error(&self, seeds: usize, examples: usize) -> f64 {
        let (s, i) = (seeds as f64, examples as f64);
        (self.seed / s + self.item / i + self.interaction / (s * i)).sqrt()
    }

    /// The same proportions with another standard error of the mean over as many seeds and examples. Where nothing
    /// varies, it is put down to the examples.
    pub(crate) fn with_error(&self, error: f64, seeds: usize, examples: usize) -> Self {
        let own = self.standard_error(seeds, examples);
        if own == 0.0 {
            return Self { item: error * error * examples as f64, ..*self };
        }
        let factor = (error / own).powi(2);
        Self { seed: factor * self.seed, item: factor * self.item, interaction: factor * self.interaction }
    }

    /// Degrees of freedom of that standard error when it is estimated from as many seeds and examples
    /// (Satterthwaite 1946): about S − 1 when seeds are all that varies, and I − 1 when examples are.
    /// I − 1 with a single seed; S − 1 with a single column, and when nothing varies at all, where it does not matter.
    pub fn freedom(&self, seeds: usize, examples: usize) -> f64 {
        let (s, i) = (seeds as f64, examples as f64);
        if examples == 1 {
            return s - 1.0;
        }
        if seeds == 1 {
            return i - 1.0;
        }
        let found = self.mean_squares(s, i);
        let total = found.seed + found.item + found.interaction;
        let spread = found.seed.powi(2) / (s - 1.0)
            + found.item.powi(2) / (i - 1.0)
            + found.interaction.powi(2) / ((s - 1.0) * (i - 1.0));
        if spread > 0.0 { total.powi(2) / spread } else { s - 1.0 }
    }

    /// `S·I·error² = MS_s + MS_i − MS_si`; where a component is 0, its MS and MS_si cancel.
    fn mean_squares(&self, s: f64, i: f64) -> MeanSquares {
        let (seed, item) = (self.seed > 0.0, self.item > 0.0);
        MeanSquares {
            seed: if seed { i * self.seed + self.interaction } else { 0.0 },
            item: if item { s * self.item + self.interaction } else { 0.0 },
            interaction: match (seed, item) {
                (true, true) => -self.interaction,
                (false, false) => self.interaction,
                _ => 0.0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scores;

    fn differences(rows: [[f64; 4]; 3]) -> Differences {
        let arm = |rows: [[f64; 4]; 3]| Scores::new((0..3).zip(rows.map(|r| r.to_vec()))).unwrap();
        arm(rows).minus(&arm([[0.0; 4]; 3])).unwrap()
    }

    /// Row means 3, 4, 8 and column means 3, 4, 6, 7 of the mean 5: SS_s = 4·(4 + 1 + 9) = 56,
    /// SS_i = 3·(4 + 1 + 1 + 4) = 30; the total is 102, so SS_si = 16 with 6 degrees of freedom.
    #[test]
    fn equal_hand_worked_values() {
        let table = differences([[2.0, 2.0, 3.0, 5.0], [2.0, 1.0, 7.0, 6.0], [5.0, 9.0, 8.0, 10.0]]);
        assert_eq!(table.per_seed(), [3.0, 4.0, 8.0]);
        let found = Components::of(&table).unwrap();
        let inter = 16.0 / 6.0;
        let expected = [(28.0 - inter) / 4.0, (10.0 - inter) / 3.0, inter];
        for (found, expected) in [found.seed, found.item, found.interaction].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        let total = 28.0 + 10.0 - inter;
        let spread = 28.0 * 28.0 / 2.0 + 10.0 * 10.0 / 3.0 + inter * inter / 6.0;
        assert!((found.standard_error(3, 4) - (total / 12.0).sqrt()).abs() < 1e-12);
        assert!((found.freedom(3, 4) - total * total / spread).abs() < 1e-12);
    }

    #[test]
    fn what_alone_varies_gives_the_freedom() {
        let freedom = |seed, item, interaction| Components { seed, item, interaction }.freedom(5, 872);
        assert_eq!(freedom(1.0, 0.0, 0.0), 4.0);
        assert_eq!(freedom(0.0, 1.0, 0.5), 871.0);
        assert_eq!(freedom(0.0, 0.0, 1.0), 4.0 * 871.0);
        assert_eq!(freedom(0.0, 0.0, 0.0), 4.0);
    }

    #[test]
    fn one_seed_is_refused() {
        let arm = Scores::new([(0, vec![1.0, 0.0])]).unwrap();
        let message = Components::of(&arm.minus(&arm).unwrap()).unwrap_err().to_string();
        assert_eq!(message, "the comparison has 1 seed(s); a comparison needs at least 2");
    }
}
