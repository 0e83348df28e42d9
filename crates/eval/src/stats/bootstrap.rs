//! The crossed bootstrap of a difference: seeds are drawn, and once a set of examples for all of them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::{
    Components, Differences, Estimate, EvalError,
    stats::{contest::Contest, estimate::Calibration, sparse_matrix::SparseMatrix},
};

/// Seed of every bootstrap: fixed, so that a report depends on its cells alone.
pub(crate) const BOOTSTRAP_SEED: u64 = 0;

/// How differences are resampled. Resample `r` draws from stream `r` of `seed`, so that a result depends on
/// these numbers and the data alone.
///
/// The same examples serve all seeds: one resample draws S of the S seeds and, once, I of the I examples,
/// shared by all seeds and both arms (Owen 2007, "The pigeonhole bootstrap"). Drawing examples anew for each
/// seed would take the error that all seeds share for one that averages out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Resamples, R.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 10_000, seed: BOOTSTRAP_SEED }
    }
}

impl Bootstrap {
    /// The mean difference with its calibrated distribution: see [`Estimate`].
    ///
    /// # Errors
    /// With fewer than two seeds or two examples.
    ///
    /// # Panics
    /// When no resamples are asked for.
    ///
    /// ```
    /// use moelt_eval::{Bootstrap, Scores};
    /// let a = Scores::new([(0, vec![1.0, 1.0, 1.0]), (1, vec![1.0, 0.0, 1.0])]).unwrap();
    /// let b = Scores::new([(0, vec![1.0, 0.0, 1.0]), (1, vec![1.0, 0.0, 0.0])]).unwrap();
    /// let estimate = Bootstrap::default().difference(&a.minus(&b).unwrap()).unwrap();
    /// assert!((estimate.difference() - 1.0 / 3.0).abs() < 1e-12);
    /// assert!(estimate.interval(0.95).lower < 0.0);
    /// ```
    pub fn difference(&self, differences: &Differences) -> Result<Estimate, EvalError> {
        let contest = Contest::with_one(differences.clone())?;
        Ok(self.all(&[&contest]).remove(0).estimate)
    }

    /// The same with the seeds as given, of which there may be one: examples alone are drawn, and nothing is said of what other
    /// seeds would have given. It is about these models, not about how they were trained.
    ///
    /// # Errors
    /// With fewer than two examples.
    ///
    /// # Panics
    /// When no resamples are asked for.
    ///
    /// ```
    /// use moelt_eval::{Bootstrap, Scores};
    /// let a = Scores::new([(0, vec![1.0, 1.0, 1.0, 0.0])]).unwrap();
    /// let b = Scores::new([(0, vec![1.0, 0.0, 1.0, 0.0])]).unwrap();
    /// let differences = a.minus(&b).unwrap();
    /// assert!(Bootstrap::default().difference(&differences).is_err());
    /// assert_eq!(Bootstrap::default().of_these_seeds(&differences).unwrap().freedom(), 3.0);
    /// ```
    pub fn of_these_seeds(&self, differences: &Differences) -> Result<Estimate, EvalError> {
        let components = Components::of_these_seeds(differences)?;
        let (seeds, examples) = (differences.n_seeds(), differences.n_examples());
        let (table, all_seeds) = (SparseMatrix::of(differences.matrix()), vec![1.0; seeds]);
        let resample = |mut draw: Draw| table.weighted_mean(&all_seeds, &draw.counts(examples));
        let resampled: Vec<f64> = self.draws().map(resample).collect();
        let calibration = Calibration::of(&components, seeds, examples, &resampled);
        Ok(Estimate::new(differences.mean(), resampled, &calibration, components))
    }

    /// The sources of chance, one per resample. They are worked on side by side, and collected in their order.
    pub(crate) fn draws(&self) -> impl IndexedParallelIterator<Item = Draw> {
        assert!(self.resamples > 0, "a bootstrap needs resamples");
        (0..self.resamples).into_par_iter().map(|index| Draw::of(self.seed, index as u64))
    }
}

/// What one resample draws from.
pub(crate) struct Draw(ChaCha8Rng);

impl Draw {
    /// That of resample `index`.
    fn of(seed: u64, index: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index);
        Self(rng)
    }

    /// How often each of `n` things comes when `n` are drawn with replacement.
    pub(crate) fn counts(&mut self, n: usize) -> Vec<f64> {
        let end = u32::try_from(n).expect("there are fewer than 2³² seeds or examples");
        let mut counts = vec![0.0; n];
        for _ in 0..n {
            counts[self.0.random_range(0..end) as usize] += 1.0;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PairedT, Scores};

    fn differences(rows: Vec<Vec<f64>>) -> Differences {
        let zeros = rows.iter().map(|row| vec![0.0; row.len()]).collect();
        let arm = |rows: Vec<Vec<f64>>| Scores::new((0..).zip(rows)).unwrap();
        arm(rows).minus(&arm(zeros)).unwrap()
    }

    /// Some table of −1, 0 and 1.
    fn some_table() -> Differences {
        differences(
            (0..5u32).map(|s| (0..40u32).map(|i| f64::from((s * s + 7 * i) % 3) - 1.0).collect()).collect(),
        )
    }

    #[test]
    fn the_draws_depend_on_the_seed_alone() {
        let estimate = |resamples, seed| Bootstrap { resamples, seed }.difference(&some_table()).unwrap();
        assert_eq!(estimate(200, 3), estimate(200, 3));
        assert_ne!(estimate(200, 3), estimate(200, 4));
        let counts = |index| Draw::of(0, index).counts(872);
        assert_eq!(counts(5).iter().sum::<f64>(), 872.0);
        assert_ne!(counts(5), counts(6));
    }

    /// With one column the resamples are those of the seeds alone; with equal rows those of the examples.
    #[test]
    fn spread_over_seeds_and_over_examples_is_found() {
        let bootstrap = Bootstrap { resamples: 2000, seed: 1 };
        let seeds = differences([1.0, 2.0, 4.0, 5.0].map(|d| vec![d; 30]).to_vec());
        let estimate = bootstrap.difference(&seeds).unwrap();
        // SD √(10/3) over four seeds.
        assert!((estimate.standard_error() - (10.0f64 / 12.0).sqrt()).abs() < 1e-9);
        assert_eq!(estimate.freedom(), 3.0);
        let row: Vec<f64> = (0..30).map(|i| f64::from(i % 2)).collect();
        let estimate = bootstrap.difference(&differences(vec![row; 4])).unwrap();
        assert!((estimate.standard_error() - (0.25f64 / 29.0).sqrt()).abs() < 1e-9);
        assert!((estimate.freedom() - 29.0).abs() < 1e-9);
    }

    /// As the paired t interval over the examples, or wider.
    #[test]
    fn one_seed_has_an_interval_over_examples() {
        let row: Vec<f64> = (0..60).map(|i| f64::from(i % 3) - 0.8).collect();
        let estimate = Bootstrap::default().of_these_seeds(&differences(vec![row.clone()])).unwrap();
        let (found, t) = (estimate.interval(0.95), PairedT::of(&row, 0.95).unwrap().interval);
        assert_eq!((estimate.n_seeds(), estimate.freedom()), (1, 59.0));
        assert!(found.lower <= t.lower + 1e-9 && found.lower > t.lower - 0.02, "{found:?}, {t:?}");
        assert!(found.upper >= t.upper - 1e-9 && found.upper < t.upper + 0.02, "{found:?}, {t:?}");
        let same = Bootstrap::default().of_these_seeds(&differences(vec![vec![0.0; 60]])).unwrap();
        assert!(same.interval(0.95).upper > 1.0 / 60.0, "agreeing on sixty is not agreeing on all");
    }

    #[test]
    fn the_interval_holds_the_difference() {
        let table = some_table();
        let estimate = Bootstrap { resamples: 999, seed: 0 }.difference(&table).unwrap();
        let interval = estimate.interval(0.95);
        assert!(interval.lower < table.mean() && table.mean() < interval.upper, "{interval:?}");
        let wider = estimate.interval(0.99);
        assert!(wider.lower < interval.lower && interval.upper < wider.upper);
    }
}
