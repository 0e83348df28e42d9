//! The scores of every arm that is compared, and what of them is missing.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, CellResult, Comparison, Metric, Prediction, RunDir};

use crate::{
    Decided, EvalError, Outcome, Scores,
    report::{needs::flops_with_needs, stream},
};

/// The split arms are judged on.
pub(crate) const TEST: &str = "test";
/// The split a candidate is chosen on.
pub(crate) const VALIDATION: &str = "validation";

/// Reads the predictions of a finished cell on a split (`test` or `validation`), or says why it cannot.
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
pub(crate) struct PlanScores {
    /// By arm and split.
    arms: BTreeMap<(String, &'static str), ArmScores>,
    /// Experts per layer of the arms of the frozen sweep.
    sweep: BTreeMap<String, usize>,
}

/// An arm on a split.
struct ArmScores {
    /// Who was right on what; none when no cell has any.
    correct: Option<Scores>,
    /// Log-probability of the true class, nats, where a comparison is about losses.
    log_likelihood: Option<Scores>,
    /// What only whole cells have, by seed.
    cells: BTreeMap<u64, CellFacts>,
    /// Seeds of the planned cells.
    planned: BTreeSet<u64>,
    /// Cells that give none, with what is wrong.
    missing: Vec<String>,
}

/// Why a cell has no training FLOPs, stream accuracy, forgetting and inference FLOPs.
const NO_RESULT: &str = "builds on a run that has no result";
const NO_TIMES: &str = "has no evaluation times: its domains do not come and go";
const NOTHING_BEFORE: &str = "is asked about no domain both at the end and before: it can forget none";
const NO_OPERATIONS: &str = "counts no operations of predicting the test split";

/// What a metric takes of a whole cell.
#[derive(Clone, Copy)]
struct CellFacts {
    /// Experts per layer of the judged checkpoint, mean over the layers.
    experts: f64,
    /// Of the split.
    macro_f1: f64,
    /// Of training, with every run that it builds on; none while one of those has no result.
    flops: Option<f64>,
    /// Of the split; none where domains do not come and go.
    stream_accuracy: Option<f64>,
    /// On test; none where no domain is asked about at the end and before.
    forgetting: Option<f64>,
    /// Of predicting a text of the test split; none where none were counted.
    inference_flops: Option<f64>,
}

impl PlanScores {
    /// Reads the predictions of every arm that the plan compares, each once.
    pub(crate) fn load(
        plan: &AblationPlan,
        outcomes: &BTreeMap<String, Outcome>,
        read: &ReadPredictions,
    ) -> Self {
        let needed: BTreeSet<_> = plan.comparisons.iter().flat_map(sides).collect();
        let with_losses = plan.comparisons.iter().any(|comparison| comparison.metric == Metric::Loss);
        let finished = finished(plan, outcomes);
        let arms = needed.into_iter().map(|(arm, split)| {
            let cells = plan.cells.iter().filter(|cell| cell.arm == arm);
            let mut scores = ArmScores::load(cells, outcomes, split, with_losses, read);
            scores.cells = cell_facts(plan, arm, split, &finished);
            ((arm.to_owned(), split), scores)
        });
        let sweep = plan.cells.iter().filter_map(|cell| Some((cell.arm.clone(), cell.sweep?)));
        Self { arms: arms.collect(), sweep: sweep.collect() }
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

    /// The scores of an arm under these seeds: the more, the better.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn of(
        &self,
        metric: Metric,
        arm: &str,
        split: &'static str,
        seeds: &BTreeSet<u64>,
    ) -> Result<Scores, EvalError> {
        let none = EvalError::TooFewSeeds { what: "the comparison", n: 0 };
        let Some(scores) = self.get(arm, split) else { return Err(none) };
        let only = |scores: &Option<Scores>| scores.as_ref().ok_or(none)?.only(seeds);
        let of_cells = |of: fn(&CellFacts) -> Result<f64, &'static str>| {
            let cells = scores.cells.iter().filter(|(seed, _)| seeds.contains(seed));
            let of_cell = |(seed, facts): (&u64, &CellFacts)| match of(facts) {
                Ok(score) => Ok((*seed, score)),
                Err(reason) => Err(EvalError::NoValue { arm: arm.to_owned(), reason }),
            };
            Scores::of_seeds(cells.map(of_cell).collect::<Result<Vec<_>, _>>()?)
        };
        let stream_accuracy = |facts: &CellFacts| facts.stream_accuracy.ok_or(NO_TIMES);
        match metric {
            Metric::Accuracy => only(&scores.correct),
            Metric::Utility { price } => {
                let correct = only(&scores.correct)?;
                let experts = |seed| scores.cells.get(seed).map_or(f64::NAN, |facts| facts.experts);
                let shift: Vec<f64> = correct.seeds().iter().map(|seed| -price * experts(seed)).collect();
                Ok(correct.shifted(&shift))
            }
            Metric::Loss => only(&scores.log_likelihood),
            Metric::MacroF1 => of_cells(|facts| Ok(facts.macro_f1)),
            Metric::Experts => of_cells(|facts| Ok(-facts.experts)),
            Metric::TrainingFlops => of_cells(|facts| Ok(-facts.flops.ok_or(NO_RESULT)?.ln())),
            Metric::StreamAccuracy => of_cells(stream_accuracy),
            // Results do not keep validation accuracies by domain; and who never learnt has nothing to forget: of several
            // opponents the one that knows most over the stream is chosen.
            Metric::Forgetting if split == VALIDATION => of_cells(stream_accuracy),
            Metric::Forgetting => of_cells(|facts| {
                facts.stream_accuracy.ok_or(NO_TIMES)?;
                Ok(-facts.forgetting.ok_or(NOTHING_BEFORE)?)
            }),
            Metric::InferenceFlops => of_cells(|facts| Ok(-facts.inference_flops.ok_or(NO_OPERATIONS)?.ln())),
        }
    }

    /// Experts per layer, when an arm belongs to the frozen sweep.
    pub(crate) fn sweep_size(&self, arm: &str) -> Option<usize> {
        self.sweep.get(arm).copied()
    }

    fn get(&self, arm: &str, split: &'static str) -> Option<&ArmScores> {
        self.arms.get(&(arm.to_owned(), split))
    }
}

/// The arms of a comparison with the splits it takes of them: validation of those that are chosen among.
fn sides(comparison: &Comparison) -> impl Iterator<Item = (&str, &'static str)> {
    let splits: &[&'static str] = if comparison.against.len() > 1 { &[TEST, VALIDATION] } else { &[TEST] };
    let against = comparison.against.iter().flat_map(|arm| splits.iter().map(|split| (arm.as_str(), *split)));
    [(comparison.arm.as_str(), TEST)].into_iter().chain(against)
}

impl ArmScores {
    fn load<'a>(
        cells: impl Iterator<Item = &'a Cell>,
        outcomes: &BTreeMap<String, Outcome>,
        split: &'static str,
        with_losses: bool,
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
        let scored = Scores::of_predictions(runs.iter().map(|(seed, run)| (*seed, run.as_slice())));
        if let (Err(error), false) = (&scored, runs.is_empty()) {
            missing.push(error.to_string());
        }
        let losses = runs.iter().map(|(seed, run)| (*seed, run.iter().map(log_likelihood).collect()));
        let log_likelihood = with_losses.then(|| Scores::new(losses).ok()).flatten();
        Self { correct: scored.ok(), log_likelihood, cells: BTreeMap::new(), planned, missing }
    }
}

/// Of the true class, nats. Predictions are rounded when they are written: none counts as impossible.
fn log_likelihood(prediction: &Prediction) -> f64 {
    const LEAST: f64 = 1e-7;
    let probability = prediction.probabilities.get(prediction.label as usize).copied().unwrap_or(0.0);
    f64::from(probability).max(LEAST).ln()
}

/// The results there are, by cell id.
fn finished<'a>(
    plan: &'a AblationPlan,
    outcomes: &'a BTreeMap<String, Outcome>,
) -> BTreeMap<&'a str, &'a CellResult> {
    let result = |cell: &'a Cell| match outcomes.get(&cell.id) {
        Some(Outcome::Finished(result)) => Some((cell.id.as_str(), &**result)),
        _ => None,
    };
    plan.cells.iter().filter_map(result).collect()
}

/// What the finished cells of an arm are, by seed.
fn cell_facts(
    plan: &AblationPlan,
    arm: &str,
    split: &str,
    finished: &BTreeMap<&str, &CellResult>,
) -> BTreeMap<u64, CellFacts> {
    let facts = |cell: &Cell| {
        let result = finished.get(cell.id.as_str())?;
        let (metrics, stream_accuracy) = if split == TEST {
            (&result.test, stream::stream_accuracy(&result.per_time))
        } else {
            (&result.validation, stream::validation_accuracy(&result.per_time))
        };
        let layers = result.layout.layers();
        let experts =
            layers.iter().map(|layer| layer.n_experts()).sum::<usize>() as f64 / layers.len() as f64;
        let facts = CellFacts {
            experts,
            macro_f1: metrics.macro_f1,
            flops: flops_with_needs(plan, cell, finished),
            stream_accuracy,
            forgetting: stream::forgetting(&result.per_time),
            inference_flops: inference_flops(result),
        };
        Some((cell.seed, facts))
    };
    plan.cells.iter().filter(|cell| cell.arm == arm).filter_map(facts).collect()
}

/// Of predicting a text of the test split; none where none were counted.
fn inference_flops(result: &CellResult) -> Option<f64> {
    let per_text = result.test_flops.computed as f64 / result.splits.test as f64;
    Some(per_text).filter(|flops| flops.is_finite() && *flops > 0.0)
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
