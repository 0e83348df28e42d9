//! Comparisons that are resampled together: each draw is made once for all that have the same seeds and as many examples.

use std::collections::BTreeMap;

use rayon::iter::{IndexedParallelIterator, ParallelIterator};

use crate::{
    BestOf, Bootstrap, Candidate, Choice, Components, Differences, Estimate, EvalError, Scores,
    stats::{bootstrap::Draw, estimate::Calibration, sparse_matrix::SparseMatrix},
};

/// An arm with one opponent, or with several of which every resample chooses the best on validation.
pub(crate) struct Contest {
    /// Experts per layer of each opponent, ascending.
    sizes: Vec<usize>,
    /// The arm's difference to each of them.
    test: Vec<SparseMatrix>,
    /// What each scores on validation; empty with one opponent, who is no matter of choice.
    validation: Vec<SparseMatrix>,
    n_validation: usize,
    /// Place of the one that is best on the data themselves, and the difference to that one.
    chosen: usize,
    pub(crate) differences: Differences,
    components: Components,
}

/// Draws that are made before any table is read: few enough to stay in a core's cache with one table, many enough that reading the
/// tables from memory does not count.
const BLOCK: usize = 16;

/// What a draw depends on: numbers of seeds, of test examples and of validation examples.
type Shape = (usize, usize, usize);

/// How often each thing was drawn.
struct Counts {
    seeds: Vec<f64>,
    test: Vec<f64>,
    validation: Vec<f64>,
}

/// One resample's choice and differences.
#[derive(Clone, Copy)]
struct Resample {
    chosen: usize,
    /// To the candidate chosen here.
    best: f64,
    /// To the one chosen on the data themselves.
    fixed: f64,
}

impl Bootstrap {
    /// Resamples all `contests`, and gives the result of each.
    pub(crate) fn all(&self, contests: &[&Contest]) -> Vec<BestOf> {
        let mut alike: BTreeMap<Shape, Vec<usize>> = BTreeMap::new();
        for (at, contest) in contests.iter().enumerate() {
            alike.entry(contest.shape()).or_default().push(at);
        }
        let mut results: Vec<(usize, BestOf)> = Vec::with_capacity(contests.len());
        for (shape, places) in alike {
            let resample = |draws: Vec<Draw>| -> Vec<Vec<Resample>> {
                let counts: Vec<Counts> = draws.into_iter().map(|draw| Counts::draw(draw, shape)).collect();
                let of = |at: &usize| counts.iter().map(|counts| contests[*at].resample(counts)).collect();
                places.iter().map(of).collect()
            };
            let blocks: Vec<Vec<Vec<Resample>>> = self.draws().chunks(BLOCK).map(resample).collect();
            results.extend(places.iter().enumerate().map(|(place, at)| {
                let own: Vec<Resample> = blocks.iter().flat_map(|block| &block[place]).copied().collect();
                (*at, contests[*at].result(&own))
            }));
        }
        results.sort_by_key(|(at, _)| *at);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

impl Counts {
    fn draw(mut draw: Draw, (seeds, test, validation): Shape) -> Self {
        Self { seeds: draw.counts(seeds), test: draw.counts(test), validation: draw.counts(validation) }
    }
}

impl Contest {
    /// With one opponent.
    ///
    /// # Errors
    /// With fewer than two seeds or two examples.
    pub(crate) fn with_one(differences: Differences) -> Result<Self, EvalError> {
        Ok(Self {
            sizes: vec![0],
            test: vec![SparseMatrix::of(differences.matrix())],
            validation: Vec::new(),
            n_validation: 0,
            chosen: 0,
            components: Components::of(&differences)?,
            differences,
        })
    }

    /// With the best of several.
    ///
    /// # Errors
    /// Without a candidate, when the seeds or the examples of a split do not fit, and with fewer than two.
    pub(crate) fn with_best(arm: &Scores, candidates: &[Candidate]) -> Result<Self, EvalError> {
        let mut candidates = candidates.to_vec();
        candidates.sort_by_key(|candidate| candidate.n_experts);
        let n_validation = n_validation(arm, &candidates)?;
        let validation: Vec<SparseMatrix> =
            candidates.iter().map(|c| SparseMatrix::of(c.validation.matrix())).collect();
        let chosen = best(&validation, &vec![1.0; arm.seeds().len()], &vec![1.0; n_validation]);
        let test = candidates.iter().map(|c| Ok(SparseMatrix::of(arm.minus(c.test)?.matrix())));
        let test = test.collect::<Result<_, EvalError>>()?;
        let differences = arm.minus(candidates[chosen].test)?;
        let sizes = candidates.iter().map(|candidate| candidate.n_experts).collect();
        let components = Components::of(&differences)?;
        Ok(Self { sizes, test, validation, n_validation, chosen, differences, components })
    }

    /// Experts per layer of the opponent.
    pub(crate) fn chosen_size(&self) -> usize {
        self.sizes[self.chosen]
    }

    fn shape(&self) -> Shape {
        (self.differences.n_seeds(), self.differences.n_examples(), self.n_validation)
    }

    fn resample(&self, counts: &Counts) -> Resample {
        let difference = |at: usize| self.test[at].weighted_mean(&counts.seeds, &counts.test);
        let chosen = best(&self.validation, &counts.seeds, &counts.validation);
        let fixed = difference(self.chosen);
        Resample { chosen, best: if chosen == self.chosen { fixed } else { difference(chosen) }, fixed }
    }

    fn result(&self, resampled: &[Resample]) -> BestOf {
        let with_choice: Vec<f64> = resampled.iter().map(|resample| resample.best).collect();
        let without: Vec<f64> = resampled.iter().map(|resample| resample.fixed).collect();
        let (n_seeds, n_test, _) = self.shape();
        let calibration = Calibration::of(&self.components, n_seeds, n_test, &without)
            .with_seeds(&self.differences.per_seed());
        let fraction = |at| {
            resampled.iter().filter(|resample| resample.chosen == at).count() as f64 / resampled.len() as f64
        };
        let choice =
            |(at, n_experts): (usize, &usize)| Choice { n_experts: *n_experts, fraction: fraction(at) };
        BestOf {
            chosen: self.chosen_size(),
            estimate: Estimate::new(self.differences.mean(), with_choice, &calibration, self.components),
            choices: self.sizes.iter().enumerate().map(choice).collect(),
        }
    }
}

/// Place of the scores with the best mean, the first on a tie; 0 of none.
fn best(scores: &[SparseMatrix], seeds: &[f64], examples: &[f64]) -> usize {
    let means = scores.iter().map(|scores| scores.weighted_mean(seeds, examples)).enumerate();
    means.reduce(|best, next| if next.1 > best.1 { next } else { best }).map_or(0, |(at, _)| at)
}

/// Examples of validation, which all candidates share.
fn n_validation(arm: &Scores, candidates: &[Candidate]) -> Result<usize, EvalError> {
    let unpaired = |message| Err(EvalError::Unpaired { message });
    let Some(first) = candidates.first() else {
        return unpaired("there is no candidate to choose".to_owned());
    };
    let n_validation = first.validation.n_examples();
    for candidate in candidates {
        arm.check_seeds(candidate.validation)?;
        let found = candidate.validation.n_examples();
        if found != n_validation {
            return unpaired(format!("{n_validation} and {found} examples of validation"));
        }
    }
    Ok(n_validation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(right: [[f64; 4]; 2]) -> Scores {
        Scores::new((0..2).zip(right.map(|row| row.to_vec()))).unwrap()
    }

    /// Two of one shape, one of another and one that chooses.
    #[test]
    fn together_they_are_what_each_is_alone() {
        let bootstrap = Bootstrap { resamples: 200, seed: 4 };
        let [a, b] = [arm([[1.0, 1.0, 0.0, 1.0]; 2]), arm([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0]])];
        let seeds = |n: [f64; 2]| Scores::of_seeds((0..).zip(n)).unwrap();
        let (experts, fewer) = (seeds([8.0, 6.0]), seeds([4.0, 4.0]));
        let candidates = [(1, &a), (2, &b)].map(|(n_experts, scores)| Candidate {
            n_experts,
            validation: scores,
            test: scores,
        });
        let contests = [
            Contest::with_one(a.minus(&b).unwrap()).unwrap(),
            Contest::with_one(experts.minus(&fewer).unwrap()).unwrap(),
            Contest::with_best(&b, &candidates).unwrap(),
            Contest::with_one(b.minus(&a).unwrap()).unwrap(),
        ];
        let together = bootstrap.all(&contests.iter().collect::<Vec<_>>());
        for (contest, result) in contests.iter().zip(&together) {
            assert_eq!(&bootstrap.all(&[contest])[0], result);
        }
        assert_eq!(together[0].estimate.difference(), -together[3].estimate.difference());
        assert_eq!((together[2].chosen, together[2].choices.len()), (1, 2));
    }
}
