//! The scores of every arm that is compared, and what of them is missing.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, CellResult, Comparison, Prediction, RunDir};

use crate::{Correct, Decided, EvalError, Outcome};

/// The split arms are judged on.
pub(crate) const VERDICT: &str = "verdict";
/// The split a candidate is chosen on.
pub(crate) const VALIDATION: &str = "validation";

/// Reads the predictions of a finished cell on a split (`verdict` or `validation`), or says why it cannot.
pub type ReadPredictions<'a> = dyn Fn(&Cell, &str) -> Result<Vec<Prediction>, String> + 'a;

/// Reads what a finished cell's decisions to keep or to edit rest on, or says why it cannot.
pub type ReadDecisions<'a> = dyn Fn(&Cell) -> Result<Vec<Decided>, String> + 'a;

/// How a report comes by what cells left beside their results.
#[derive(Clone, Copy)]
pub struct Readers<'a> {
    /// For comparisons.
    pub predictions: &'a ReadPredictions<'a>,
    /// For cells that measured twice.
    pub decisions: &'a ReadDecisions<'a>,
}

/// What comparisons need of the cells of a plan.
pub(crate) struct Scores {
    /// By arm and split.
    arms: BTreeMap<(String, &'static str), ArmScores>,
}

/// An arm on a split.
struct ArmScores {
    /// None when no cell has any.
    correct: Option<Correct>,
    /// Seeds of the planned cells.
    planned: BTreeSet<u64>,
    /// Cells that give none, with what is wrong.
    missing: Vec<String>,
}

impl Scores {
    /// Reads the predictions of every arm that the plan compares, each once.
    pub(crate) fn load(
        plan: &AblationPlan,
        outcomes: &BTreeMap<String, Outcome>,
        read: &ReadPredictions,
    ) -> Self {
        let needed: BTreeSet<_> = plan.comparisons.iter().flat_map(sides).collect();
        let arms = needed.into_iter().map(|(arm, split)| {
            let cells = plan.cells.iter().filter(|cell| cell.arm == arm);
            ((arm.to_owned(), split), ArmScores::load(cells, outcomes, split, read))
        });
        Self { arms: arms.collect() }
    }

    /// What is missing of a comparison's arms; a seed that only some of them were planned with, too.
    pub(crate) fn missing(&self, comparison: &Comparison) -> Vec<String> {
        let arms = || sides(comparison).filter_map(|(arm, split)| Some((arm, self.get(arm, split)?)));
        let seeds: BTreeSet<u64> = arms().flat_map(|(_, scores)| scores.planned.iter().copied()).collect();
        let mut missing: Vec<String> = Vec::new();
        for (arm, scores) in arms() {
            let unplanned = seeds.difference(&scores.planned);
            let unplanned = unplanned.map(|seed| format!("{arm} is not planned with seed {seed}"));
            for reason in scores.missing.iter().cloned().chain(unplanned) {
                if !missing.contains(&reason) {
                    missing.push(reason);
                }
            }
        }
        missing
    }

    /// Seeds of which every arm of a comparison has all it takes.
    pub(crate) fn common_seeds(&self, comparison: &Comparison) -> BTreeSet<u64> {
        let seeds = |(arm, split)| -> BTreeSet<u64> {
            let correct = self.get(arm, split).and_then(|scores| scores.correct.as_ref());
            correct.map_or(BTreeSet::new(), |correct| correct.seeds().iter().copied().collect())
        };
        sides(comparison).map(seeds).reduce(|common, seeds| &common & &seeds).unwrap_or_default()
    }

    /// The scores of an arm under these seeds.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn of(
        &self,
        arm: &str,
        split: &'static str,
        seeds: &BTreeSet<u64>,
    ) -> Result<Correct, EvalError> {
        let correct = self.get(arm, split).and_then(|scores| scores.correct.as_ref());
        correct.ok_or(EvalError::TooFewSeeds { what: "the comparison", n: 0 })?.only(seeds)
    }

    fn get(&self, arm: &str, split: &'static str) -> Option<&ArmScores> {
        self.arms.get(&(arm.to_owned(), split))
    }
}

/// The arms of a comparison with the splits it takes of them: validation of those that are chosen among.
fn sides(comparison: &Comparison) -> impl Iterator<Item = (&str, &'static str)> {
    let splits: &[&'static str] =
        if comparison.against.len() > 1 { &[VERDICT, VALIDATION] } else { &[VERDICT] };
    let against = comparison.against.iter().flat_map(|arm| splits.iter().map(|split| (arm.as_str(), *split)));
    [(comparison.arm.as_str(), VERDICT)].into_iter().chain(against)
}

impl ArmScores {
    fn load<'a>(
        cells: impl Iterator<Item = &'a Cell>,
        outcomes: &BTreeMap<String, Outcome>,
        split: &'static str,
        read: &ReadPredictions,
    ) -> Self {
        let (mut runs, mut planned, mut missing) = (Vec::new(), BTreeSet::new(), Vec::new());
        for cell in cells {
            planned.insert(cell.seed);
            match predictions(cell, outcomes.get(&cell.id), split, read) {
                Ok(predictions) => runs.push((cell.seed, predictions)),
                Err(reason) => missing.push(format!("{}: {reason}", cell.id)),
            }
        }
        let scored = Correct::of_predictions(runs.iter().map(|(seed, run)| (*seed, run.as_slice())));
        if let (Err(error), false) = (&scored, runs.is_empty()) {
            missing.push(error.to_string());
        }
        Self { correct: scored.ok(), planned, missing }
    }
}

fn predictions(
    cell: &Cell,
    outcome: Option<&Outcome>,
    split: &str,
    read: &ReadPredictions,
) -> Result<Vec<Prediction>, String> {
    match outcome {
        Some(Outcome::Finished(result)) => {
            check_listed(result, split)?;
            read(cell, split)
        }
        Some(Outcome::Failed { reason, .. }) => Err(reason.clone()),
        Some(Outcome::Missing) | None => Err("has not run to its end".to_owned()),
    }
}

/// Predictions that the result does not list have not been checked against a hash.
fn check_listed(result: &CellResult, split: &str) -> Result<(), String> {
    let name = RunDir::predictions_name(split);
    if result.files.contains_key(&name) { Ok(()) } else { Err(format!("its result lists no {name}")) }
}
