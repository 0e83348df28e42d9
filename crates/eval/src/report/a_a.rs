//! An arm against itself: what verdicts say where there is no difference.

use moelt_schema::{ClaimKind, CollapseRule, Comparison, Metric};

use crate::{Bootstrap, EvalError, Finding, Judgement, Scores, Verdict, judge};

/// Two disjoint sets of seeds of one arm, compared as if they were two arms.
#[derive(Clone, Debug, PartialEq)]
pub struct AaPair {
    /// The seeds of either side.
    pub seeds: [Vec<u64>; 2],
    /// Whether the first side is called better than the second.
    pub superiority: Judgement,
    /// Whether it is called not worse.
    pub non_inferiority: Judgement,
}

impl AaPair {
    /// Whether a verdict is wrong, for nothing distinguishes the sides: GO for superiority, or NO-GO for
    /// non-inferiority. With a margin above 0 they are rarer than alpha says.
    pub fn is_false(&self) -> bool {
        self.superiority.verdict == Verdict::Go || self.non_inferiority.verdict == Verdict::NoGo
    }

    /// Whether one side is called worse than the other, which alpha/2 of all pairs are.
    pub fn is_called_worse(&self) -> bool {
        self.superiority.verdict == Verdict::NoGo
    }
}

/// Compares `arm` with itself: its first `per_side` seeds with the next `per_side`, and so on as far as
/// seeds last. Each pair is judged alone, at this margin (a fraction) and alpha, and by its interval: seeds of one arm collapse alike.
///
/// # Errors
/// With fewer than two seeds per side or too few seeds for one pair, and when the margin or alpha is none.
///
/// ```
/// use moelt_eval::{Bootstrap, Scores, a_a};
/// let scores = |seed: u64| (0..100).map(|i| f64::from((i * 7 + seed * 3) % 10 < 8)).collect();
/// let arm = Scores::new((0..8).map(|seed| (seed, scores(seed)))).unwrap();
/// let pairs = a_a(&arm, 2, 0.005, 0.05, &Bootstrap::default()).unwrap();
/// assert_eq!(pairs.len(), 2);
/// assert_eq!(pairs[1].seeds, [vec![4, 5], vec![6, 7]]);
/// assert!(!pairs.iter().any(|pair| pair.is_false()));
/// ```
pub fn a_a(
    arm: &Scores,
    per_side: usize,
    margin: f64,
    alpha: f64,
    bootstrap: &Bootstrap,
) -> Result<Vec<AaPair>, EvalError> {
    let n_seeds = arm.seeds().len();
    if per_side < 2 || n_seeds < 2 * per_side {
        return Err(EvalError::TooFewSeeds { what: "the comparison of an arm with itself", n: n_seeds });
    }
    let starts = (0..=n_seeds - 2 * per_side).step_by(2 * per_side);
    starts.map(|start| pair(arm, start, per_side, margin, alpha, bootstrap)).collect()
}

fn pair(
    arm: &Scores,
    start: usize,
    per_side: usize,
    margin: f64,
    alpha: f64,
    bootstrap: &Bootstrap,
) -> Result<AaPair, EvalError> {
    let (first, first_seeds) = side(arm, start, per_side)?;
    let (second, second_seeds) = side(arm, start + per_side, per_side)?;
    let estimate = Some(bootstrap.difference(&first.minus(&second)?)?);
    let judged = |kind| {
        let declared = Comparison {
            metric: Metric::Accuracy,
            name: "A against A".to_owned(),
            arm: "A".to_owned(),
            against: vec!["A'".to_owned()],
            kind,
            margin,
            alpha,
            family: "A/A".to_owned(),
        };
        let finding = Finding { estimate: estimate.clone(), missing: Vec::new() };
        Ok(judge(&[(declared, finding)], &CollapseRule::OFF)?.swap_remove(0))
    };
    Ok(AaPair {
        seeds: [first_seeds, second_seeds],
        superiority: judged(ClaimKind::Superiority)?,
        non_inferiority: judged(ClaimKind::NonInferiority)?,
    })
}

/// Some seeds of an arm, renumbered from 0 so that two sides have the same, and their real numbers.
fn side(arm: &Scores, start: usize, n: usize) -> Result<(Scores, Vec<u64>), EvalError> {
    let rows = arm.rows().skip(start).take(n).map(<[f64]>::to_vec);
    let scores = Scores::new((0..).zip(rows))?;
    Ok((scores, arm.seeds()[start..start + n].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten seeds; of 1,000 examples `right(seed)` are right.
    fn arm(right: impl Fn(u64) -> u64) -> Scores {
        let row = |seed: u64| {
            let right = right(seed);
            (0..1_000).map(|example| f64::from((example * 389 + seed) % 1_000 < right)).collect()
        };
        Scores::new((0..10).map(|seed| (seed, row(seed)))).unwrap()
    }

    #[test]
    fn sides_that_differ_are_called_so() {
        let pairs = |arm: &Scores| a_a(arm, 5, 0.005, 0.05, &Bootstrap::default()).unwrap();
        let same = pairs(&arm(|_| 800));
        assert_eq!(same.len(), 1);
        assert!(!same[0].is_false());
        for (first, second) in [(850, 800), (800, 850)] {
            let differing = pairs(&arm(|seed| if seed < 5 { first } else { second }));
            assert!(differing[0].is_false(), "{differing:?}");
        }
    }

    #[test]
    fn too_few_seeds_are_refused() {
        let refused = |per_side| a_a(&arm(|_| 800), per_side, 0.005, 0.05, &Bootstrap::default()).is_err();
        assert_eq!([1, 2, 5, 6].map(refused), [true, false, false, true]);
    }
}
