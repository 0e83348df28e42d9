//! Who was right on what: the scores of an arm, and the paired differences of two.

use std::collections::BTreeSet;

use moelt_schema::Prediction;

use crate::{EvalError, stats::matrix::Matrix};

/// Scores of one arm: one row per seed (ascending), one column per example. A right prediction scores 1, a wrong
/// one 0; any other finite score per example (−loss, say) will do too. What only a whole run has, such as its number
/// of experts, is one score per seed ([`Self::of_seeds`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    seeds: Vec<u64>,
    scores: Matrix,
    /// Whether the one column is no example.
    of_seeds: bool,
}

impl Scores {
    /// Whether each prediction is right, from the predictions of each seed.
    ///
    /// # Errors
    /// When a seed comes twice or the seeds were not judged on the same examples: other numbers of them,
    /// or other labels. Without a seed or an example, too.
    ///
    /// ```
    /// use moelt_eval::Scores;
    /// use moelt_schema::Prediction;
    /// let say = |p| Prediction { label: 1, domain: None, probabilities: vec![1.0 - p, p] };
    /// let (first, second) = (vec![say(0.9), say(0.2)], vec![say(0.9), say(0.8)]);
    /// let arm = Scores::of_predictions([(0, first.as_slice()), (1, second.as_slice())]).unwrap();
    /// assert_eq!(arm.per_seed(), [0.5, 1.0]);
    /// ```
    pub fn of_predictions<'a>(
        runs: impl IntoIterator<Item = (u64, &'a [Prediction])>,
    ) -> Result<Self, EvalError> {
        let runs: Vec<(u64, &[Prediction])> = runs.into_iter().collect();
        for (seed, run) in &runs {
            let mut labels = run.iter().zip(runs[0].1).map(|(own, first)| own.label == first.label);
            if let Some(example) = labels.position(|same| !same) {
                let message = format!("example {example} has another label than for seed {}", runs[0].0);
                return Err(EvalError::Scores { seed: *seed, message });
            }
        }
        let right = |p: &Prediction| f64::from(u8::from(p.predicted() == p.label));
        Self::new(runs.iter().map(|(seed, run)| (*seed, run.iter().map(right).collect())))
    }

    /// One score per seed, of something that examples do not have. Differences of such scores have an interval over
    /// seeds alone.
    ///
    /// # Errors
    /// When a seed comes twice, when a score is not finite, and without a seed.
    ///
    /// ```
    /// use moelt_eval::{Bootstrap, Scores};
    /// let experts = |n: [f64; 3]| Scores::of_seeds((0..).zip(n)).unwrap();
    /// let fewer = experts([-4.0, -5.0, -4.0]).minus(&experts([-8.0, -8.0, -8.0])).unwrap();
    /// let interval = Bootstrap::default().difference(&fewer).unwrap().interval(0.95);
    /// assert!(interval.lower > 0.0, "fewer experts in every seed");
    /// ```
    pub fn of_seeds(scores: impl IntoIterator<Item = (u64, f64)>) -> Result<Self, EvalError> {
        let rows = Self::new(scores.into_iter().map(|(seed, score)| (seed, vec![score])))?;
        Ok(Self { of_seeds: true, ..rows })
    }

    /// The same with something added to every score of a seed: `shift` is of each seed, in order.
    #[must_use]
    pub(crate) fn shifted(&self, shift: &[f64]) -> Self {
        let rows = self.rows().zip(shift).map(|(row, shift)| row.iter().map(|score| score + shift).collect());
        Self { scores: Matrix::new(rows), ..self.clone() }
    }

    /// The same from scores, one per example.
    ///
    /// # Errors
    /// When a seed comes twice or has another number of examples than the rest, when a score is not finite,
    /// and without a seed or an example.
    pub fn new(runs: impl IntoIterator<Item = (u64, Vec<f64>)>) -> Result<Self, EvalError> {
        let mut runs: Vec<(u64, Vec<f64>)> = runs.into_iter().collect();
        runs.sort_by_key(|(seed, _)| *seed);
        let (seeds, rows): (Vec<u64>, Vec<Vec<f64>>) = runs.into_iter().unzip();
        let Some(first) = rows.first() else {
            return Err(EvalError::TooFewSeeds { what: "the arm", n: 0 });
        };
        if first.is_empty() {
            return Err(EvalError::TooFewExamples { n: 0 });
        }
        for (at, row) in rows.iter().enumerate() {
            let repeated = at > 0 && seeds[at] == seeds[at - 1];
            let fault = if repeated { Some("comes twice".to_owned()) } else { fault(row, first.len()) };
            if let Some(message) = fault {
                return Err(EvalError::Scores { seed: seeds[at], message });
            }
        }
        Ok(Self { seeds, scores: Matrix::new(rows), of_seeds: false })
    }

    /// The scores of these seeds alone.
    ///
    /// # Errors
    /// When it has none of them.
    pub(crate) fn only(&self, seeds: &BTreeSet<u64>) -> Result<Self, EvalError> {
        let rows = self.seeds.iter().zip(self.rows()).filter(|(seed, _)| seeds.contains(seed));
        let only = Self::new(rows.map(|(seed, row)| (*seed, row.to_vec())))?;
        Ok(Self { of_seeds: self.of_seeds, ..only })
    }

    /// The seeds, ascending.
    pub fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    /// Examples that every seed was judged on.
    pub fn n_examples(&self) -> usize {
        self.scores.n_columns()
    }

    /// The mean score of each seed, in the order of [`Scores::seeds`]: its accuracy, as a fraction.
    pub fn per_seed(&self) -> Vec<f64> {
        self.scores.row_means()
    }

    /// The mean over seeds and examples: the arm's accuracy, as a fraction.
    pub fn mean(&self) -> f64 {
        self.scores.mean()
    }

    /// The scores of each seed, in the order of [`Scores::seeds`].
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.scores.rows()
    }

    pub(crate) fn matrix(&self) -> &Matrix {
        &self.scores
    }

    /// `self − other`, within each seed and example.
    ///
    /// # Errors
    /// When the two do not have the same seeds and as many examples.
    ///
    /// ```
    /// use moelt_eval::Scores;
    /// let a = Scores::new([(0, vec![1.0, 1.0]), (1, vec![1.0, 0.0])]).unwrap();
    /// let b = Scores::new([(0, vec![1.0, 0.0]), (1, vec![1.0, 0.0])]).unwrap();
    /// assert_eq!(a.minus(&b).unwrap().per_seed(), [0.5, 0.0]);
    /// ```
    pub fn minus(&self, other: &Self) -> Result<Differences, EvalError> {
        self.check_seeds(other)?;
        let (own, others) = (self.n_examples(), other.n_examples());
        if own != others || self.of_seeds != other.of_seeds {
            return Err(EvalError::Unpaired { message: format!("{own} and {others} examples") });
        }
        let subtract = |(a, b): (&[f64], &[f64])| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let differences = Matrix::new(self.rows().zip(other.rows()).map(subtract));
        Ok(Differences { differences, of_seeds: self.of_seeds })
    }

    /// Fails when the two do not have the same seeds.
    pub(crate) fn check_seeds(&self, other: &Self) -> Result<(), EvalError> {
        if self.seeds == other.seeds {
            return Ok(());
        }
        Err(EvalError::Unpaired { message: format!("seeds {:?} and {:?}", self.seeds, other.seeds) })
    }
}

/// What is wrong with a seed's scores.
fn fault(row: &[f64], expected: usize) -> Option<String> {
    if row.len() != expected {
        return Some(format!("{} examples where the others have {expected}", row.len()));
    }
    let example = row.iter().position(|score| !score.is_finite())?;
    Some(format!("example {example} has the score {}", row[example]))
}

/// `A − B` of two arms within each seed and example.
#[derive(Clone, Debug, PartialEq)]
pub struct Differences {
    differences: Matrix,
    of_seeds: bool,
}

impl Differences {
    /// Seeds, S.
    pub fn n_seeds(&self) -> usize {
        self.differences.n_rows()
    }

    /// Whether there is one difference per seed, of no example.
    pub fn are_of_seeds(&self) -> bool {
        self.of_seeds
    }

    /// Examples, I; 1 where differences are of seeds.
    pub fn n_examples(&self) -> usize {
        self.differences.n_columns()
    }

    /// The mean over seeds and examples, in the unit of the scores.
    pub fn mean(&self) -> f64 {
        self.differences.mean()
    }

    /// The mean of each seed: what the paired t test is about.
    pub fn per_seed(&self) -> Vec<f64> {
        self.differences.row_means()
    }

    pub(crate) fn matrix(&self) -> &Matrix {
        &self.differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correct(runs: &[(u64, &[f64])]) -> Result<Scores, EvalError> {
        Scores::new(runs.iter().map(|(seed, scores)| (*seed, scores.to_vec())))
    }

    #[test]
    fn rows_are_in_the_order_of_the_seeds() {
        let arm = correct(&[(7, &[1.0, 1.0]), (3, &[0.0, 1.0])]).unwrap();
        assert_eq!((arm.seeds(), arm.per_seed()), ([3, 7].as_slice(), vec![0.5, 1.0]));
        assert_eq!((arm.n_examples(), arm.mean()), (2, 0.75));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = |runs: &[(u64, &[f64])]| correct(runs).unwrap_err().to_string();
        assert_eq!(message(&[]), "the arm has 0 seed(s); a comparison needs at least 2");
        assert_eq!(message(&[(0, &[])]), "0 example(s); a comparison needs at least 2");
        assert_eq!(message(&[(4, &[1.0]), (4, &[1.0])]), "seed 4: comes twice");
        assert_eq!(message(&[(4, &[1.0]), (5, &[])]), "seed 5: 0 examples where the others have 1");
        assert_eq!(message(&[(4, &[1.0, f64::NAN])]), "seed 4: example 1 has the score NaN");
    }

    #[test]
    fn seeds_judged_on_other_examples_are_refused() {
        let say = |label| Prediction { label, domain: None, probabilities: vec![0.5, 0.5] };
        let runs = [vec![say(0), say(1)], vec![say(0), say(0)]];
        let runs = [(0, runs[0].as_slice()), (1, runs[1].as_slice())];
        let message = Scores::of_predictions(runs).unwrap_err().to_string();
        assert_eq!(message, "seed 1: example 1 has another label than for seed 0");
    }

    #[test]
    fn only_the_same_seeds_and_examples_pair() {
        let a = correct(&[(0, &[1.0, 1.0]), (1, &[1.0, 0.0])]).unwrap();
        let message = |b: &[(u64, &[f64])]| a.minus(&correct(b).unwrap()).unwrap_err().to_string();
        assert_eq!(message(&[(0, &[1.0, 1.0])]), "the arms cannot be paired: seeds [0, 1] and [0]");
        let fewer: &[(u64, &[f64])] = &[(0, &[1.0]), (1, &[1.0])];
        assert_eq!(message(fewer), "the arms cannot be paired: 2 and 1 examples");
    }
}
