//! An arm against the best of several candidates, the choice among them being part of what is resampled.

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Estimate, EvalError, Scores, stats::contest::Contest};

/// One of the opponents that are chosen among: a frozen size.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its number of experts per layer, N.
    pub n_experts: usize,
    /// Its scores on validation, which it is chosen by.
    pub validation: &'a Scores,
    /// Its scores on test, which it is judged by.
    pub test: &'a Scores,
}

/// `arm − the candidate that is best on validation`, on test.
#[derive(Clone, Debug, PartialEq)]
pub struct BestOf {
    /// The size with the best mean on validation, the smaller one on a tie.
    pub chosen: usize,
    /// The difference to it. Its distribution holds the choice: in every resample the best is chosen anew.
    pub estimate: Estimate,
    /// How often each size was the best of a resample, sizes ascending.
    pub choices: Vec<Choice>,
}

/// How often a size was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Its number of experts per layer, N.
    pub n_experts: usize,
    /// Fraction of the resamples that chose it.
    pub fraction: f64,
}

impl Bootstrap {
    /// Compares `arm` (its scores on test) with the best of `candidates`, chosen on validation.
    ///
    /// One resample draws seeds, for all arms and both splits alike, a set of test examples and a set of
    /// validation examples; it chooses the candidate with the best mean on the drawn validation, and takes
    /// the arm's difference to that one on the drawn verdict. The correction for few seeds is that of the
    /// comparison with the chosen candidate alone ([`Estimate`]), applied to the spread of these differences.
    /// Where candidates are about equally good, those differences spread more than the true one does, and the
    /// interval is wider than need be (98–99 % coverage of a 95 % interval among three equal ones).
    ///
    /// # Errors
    /// Without a candidate, when the seeds or the examples of a split do not fit, and with fewer than two.
    ///
    /// # Panics
    /// When no resamples are asked for.
    pub fn against_best(&self, arm: &Scores, candidates: &[Candidate]) -> Result<BestOf, EvalError> {
        let contest = Contest::with_best(arm, candidates)?;
        Ok(self.all(&[&contest]).remove(0))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 500, seed: 2 };

    /// Five seeds × `n` examples, of which `percent` are right by chance.
    fn arm(salt: u64, percent: u32, n: usize) -> Scores {
        let mut rng = ChaCha8Rng::seed_from_u64(salt);
        let mut row = |_| (0..n).map(|_| f64::from(u8::from(rng.random_ratio(percent, 100)))).collect();
        Scores::new((0..5).map(|seed| (seed, row(seed)))).unwrap()
    }

    /// Five seeds that are right on these of `n` examples.
    fn right_on(right: Range<usize>, n: usize) -> Scores {
        let row: Vec<f64> = (0..n).map(|i| f64::from(u8::from(right.contains(&i)))).collect();
        Scores::new((0..5).map(|seed| (seed, row.clone()))).unwrap()
    }

    #[test]
    fn with_one_candidate_it_is_the_plain_difference() {
        let (a, b, validation) = (arm(1, 80, 100), arm(2, 70, 100), arm(3, 70, 60));
        let candidate = Candidate { n_experts: 4, validation: &validation, test: &b };
        let best = BOOTSTRAP.against_best(&a, &[candidate]).unwrap();
        assert_eq!(best.estimate, BOOTSTRAP.difference(&a.minus(&b).unwrap()).unwrap());
        assert_eq!((best.chosen, best.choices[0].fraction), (4, 1.0));
    }

    #[test]
    fn the_choice_varies_with_the_resample() {
        // 44, 42 and 6 of 60: the first two differ on 34 examples, by 2.
        let (a, validation) = (arm(1, 80, 100), [0..44, 18..60, 0..6].map(|right| right_on(right, 60)));
        let verdict = [arm(5, 75, 100), arm(6, 60, 100), arm(7, 10, 100)];
        let candidate =
            |at: usize| Candidate { n_experts: 1 << at, validation: &validation[at], test: &verdict[at] };
        let best = BOOTSTRAP.against_best(&a, &[candidate(1), candidate(2), candidate(0)]).unwrap();
        let sizes: Vec<usize> = best.choices.iter().map(|choice| choice.n_experts).collect();
        let fractions: Vec<f64> = best.choices.iter().map(|choice| choice.fraction).collect();
        assert_eq!((best.chosen, sizes), (1, vec![1, 2, 4]));
        assert!(fractions[0] > fractions[1] && fractions[1] > 0.25 && fractions[2] == 0.0, "{fractions:?}");
        assert!((fractions.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // The difference is the chosen one's, and its spread holds the doubt about the choice.
        let alone = BOOTSTRAP.difference(&a.minus(&verdict[0]).unwrap()).unwrap();
        assert_eq!(best.estimate.difference(), alone.difference());
        assert!(best.estimate.standard_error() > 1.3 * alone.standard_error());
    }

    #[test]
    fn a_tie_goes_to_the_smaller_size() {
        let (a, b, validation) = (arm(1, 80, 100), arm(2, 70, 100), arm(3, 70, 60));
        let candidate = |n_experts| Candidate { n_experts, validation: &validation, test: &b };
        let best = BOOTSTRAP.against_best(&a, &[candidate(8), candidate(2)]).unwrap();
        assert_eq!(best.chosen, 2);
        assert_eq!(best.choices[1], Choice { n_experts: 8, fraction: 0.0 });
    }

    #[test]
    fn candidates_that_do_not_fit_are_refused() {
        let (a, validation, shorter) = (arm(1, 80, 100), arm(3, 70, 60), arm(3, 70, 59));
        let message =
            |candidates: &[Candidate]| BOOTSTRAP.against_best(&a, candidates).unwrap_err().to_string();
        assert_eq!(message(&[]), "the arms cannot be paired: there is no candidate to choose");
        let candidate = |n_experts, validation| Candidate { n_experts, validation, test: &a };
        let found = message(&[candidate(1, &validation), candidate(2, &shorter)]);
        assert_eq!(found, "the arms cannot be paired: 60 and 59 examples of validation");
    }
}
