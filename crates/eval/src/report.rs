//! An ablation's numbers: one line per arm, and what is missing.

pub(crate) mod a_a;
pub(crate) mod answer;
pub(crate) mod collapsed;
pub(crate) mod compared;
pub(crate) mod cost;
pub(crate) mod decisions;
pub(crate) mod domains;
pub(crate) mod history;
pub(crate) mod machines;
pub(crate) mod needs;
pub(crate) mod plan_scores;
pub(crate) mod purity;
pub(crate) mod signal;
pub(crate) mod stream;
pub(crate) mod sweep;
pub(crate) mod systems;
pub(crate) mod training_log;

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, CellResult, CollapseRule, Digest, SplitSizes};
use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, CollapsedSeed, Compared, Domains, EvalError, ExpertHistory, MachineCells, Readers, Signal,
    StreamResults, Summary, Sweep, WithNeeds,
};
use collapsed::collapsed_seeds;
use compared::{bootstrap, compare};
use needs::training_flops;
use plan_scores::PlanScores;

/// Version of `report.json`.
pub const REPORT_FORMAT: u32 = 8;

/// What became of a planned cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It left a complete result.
    Finished(Box<CellResult>),
    /// It ran and failed.
    Failed {
        /// How it ended.
        reason: String,
        /// The last lines it printed.
        log_tail: Vec<String>,
    },
    /// It has not run to an end yet.
    Missing,
}

/// `report.json`: what the finished cells of a plan say. Accuracies are fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`REPORT_FORMAT`].
    pub format: u32,
    /// The ablation's name.
    pub name: String,
    /// Version of moelt that planned it.
    pub moelt: String,
    /// Hash of the plan.
    pub plan: Digest,
    /// Hash of the code that was planned with, and cells were run by.
    pub code: Digest,
    /// Hash of the code that judged.
    pub judged_by: Digest,
    /// The data all finished cells saw; none while no cell is finished.
    pub data: Option<DataFacts>,
    /// The arms, in the plan's order.
    pub arms: Vec<ArmReport>,
    /// What was judged, in the plan's order.
    pub comparisons: Vec<Compared>,
    /// How every comparison was resampled.
    pub bootstrap: Bootstrap,
    /// Which seeds counted as collapsed, and what a GO had to exclude.
    pub collapse: CollapseRule,
    /// What the frozen sweep says, when the plan has one and some of it is finished.
    pub sweep: Option<Sweep>,
    /// What experts do for single domains, where the data set has some.
    pub domains: Option<Domains>,
    /// How experts came and went, for every finished cell of the arms that edited any.
    pub experts_over_time: Vec<ExpertHistory>,
    /// What labels know of the measured effect of edits, when a finished cell measured twice.
    pub signal: Option<Signal>,
    /// Planned cells without a result.
    pub unfinished: Vec<Unfinished>,
    /// On which machines the finished cells were computed; there where these differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MachineCells>,
}

/// What was learned from, chosen on and judged on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFacts {
    /// Hash of the examples.
    pub digest: Digest,
    /// Sizes of the splits.
    pub splits: SplitSizes,
    /// The accuracy no classifier can beat, when the data set knows it.
    pub bayes_accuracy: Option<f64>,
    /// What a reader should know about the data: repeats, contradictions, what was held out.
    pub notes: Vec<String>,
}

/// One arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmReport {
    /// Its name.
    pub arm: String,
    /// The phase of the research log that it repeats; empty: none.
    pub phase: String,
    /// Experts per layer, when it belongs to the frozen sweep.
    pub sweep: Option<usize>,
    /// Cells with a result.
    pub finished: usize,
    /// Cells planned.
    pub planned: usize,
    /// Its numbers; none while no cell is finished.
    pub results: Option<ArmResults>,
}

impl ArmReport {
    /// Its name with the phase of the research log, as in `rule (7a)`.
    pub fn title(&self) -> String {
        if self.phase.is_empty() { self.arm.clone() } else { format!("{} ({})", self.arm, self.phase) }
    }
}

/// One arm's numbers over its finished cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmResults {
    /// Accuracy on the test split.
    pub test_accuracy: Summary,
    /// The same, by seed.
    pub test_by_seed: BTreeMap<u64, f64>,
    /// The seeds that collapsed, by the plan's rule.
    pub collapsed: Vec<CollapsedSeed>,
    /// Accuracy of the last checkpoint on the test split; nothing is chosen by it.
    pub last_accuracy: Summary,
    /// What it knows of domains that come and go; none where none do.
    pub stream: Option<StreamResults>,
    /// Accuracy on the validation split.
    pub validation_accuracy: Summary,
    /// Macro-F1 on the test split.
    pub macro_f1: Summary,
    /// Expected calibration error on the test split.
    pub ece: Summary,
    /// Bayes accuracy − mean test accuracy, when the former is known.
    pub gap_to_bayes: Option<f64>,
    /// Trainable values.
    pub n_params: Summary,
    /// Values that work on one row.
    pub n_active_params: Summary,
    /// Experts of the checkpoint that was judged, over all layers.
    pub n_experts: Summary,
    /// Optimizer steps of a cell, with those of the weights that it started from.
    pub steps: Summary,
    /// Floating-point operations that training a cell computed.
    pub flops: Summary,
    /// … of which for what policies had measured.
    pub measuring_flops: Summary,
    /// What training a cell would take if experts computed no padding.
    pub unpadded_flops: Summary,
    /// Operations behind what a cell's model knows: what it computed, what went into the weights that it started from,
    /// and what its teachers computed; none while one of those has no result.
    pub training_flops: Option<Summary>,
    /// Wall-clock seconds of training a cell.
    pub seconds: Summary,
    /// Training a cell with the runs that it builds on; none while one of those has no result.
    pub with_needs: Option<WithNeeds>,
    /// Operations that went once, before any run, into the head that the cells use; no other number holds them. None without
    /// such a head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taught_flops: Option<f64>,
}

/// A planned cell without a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unfinished {
    /// Its id.
    pub cell: String,
    /// How it failed; none when it has not run to an end.
    pub failure: Option<String>,
    /// The last lines it printed, when it failed.
    pub log_tail: Vec<String>,
}

impl Report {
    /// Gathers `outcomes`, keyed by cell id (a cell that is not among them is missing), and judges what the
    /// plan declares by what `read` gives. `judged_by` is the hash of the code that does so.
    ///
    /// # Errors
    /// When finished cells were not run on the same data, one has edits that cannot have happened, or a
    /// comparison cannot be judged.
    pub fn new(
        plan: &AblationPlan,
        outcomes: &BTreeMap<String, Outcome>,
        read: &Readers<'_>,
        judged_by: Digest,
    ) -> Result<Self, EvalError> {
        let finished: Vec<(&Cell, &CellResult)> = plan
            .cells
            .iter()
            .filter_map(|cell| match outcomes.get(&cell.id) {
                Some(Outcome::Finished(result)) => Some((cell, &**result)),
                _ => None,
            })
            .collect();
        let arms: Vec<ArmReport> =
            plan.arms().into_iter().map(|arm| arm_report(plan, arm, &finished)).collect();
        let data = common_data(&finished)?;
        let sweep = Sweep::of(&arms);
        let scores = PlanScores::load(plan, outcomes, read.predictions);
        Ok(Self {
            format: REPORT_FORMAT,
            name: plan.name.clone(),
            moelt: plan.moelt.clone(),
            plan: plan.digest(),
            code: plan.code,
            judged_by,
            data,
            comparisons: compare(plan, &scores, &arms, sweep.as_ref())?,
            bootstrap: bootstrap(plan),
            collapse: plan.collapse,
            domains: Domains::of(&plan.arms(), &finished, sweep.as_ref()),
            sweep,
            experts_over_time: experts_over_time(&finished)?,
            arms,
            signal: Signal::of(plan, outcomes, read.decisions),
            unfinished: plan.cells.iter().filter_map(|cell| unfinished(cell, outcomes)).collect(),
            machines: MachineCells::of(&finished),
        })
    }

    /// Cells that failed (and are not merely missing).
    pub fn failed(&self) -> impl Iterator<Item = &Unfinished> {
        self.unfinished.iter().filter(|cell| cell.failure.is_some())
    }
}

fn facts(result: &CellResult) -> DataFacts {
    DataFacts {
        digest: result.data,
        splits: result.splits,
        bayes_accuracy: result.bayes_accuracy,
        notes: result.notes.clone(),
    }
}

/// The data of all finished cells, which must be the same.
fn common_data(finished: &[(&Cell, &CellResult)]) -> Result<Option<DataFacts>, EvalError> {
    let Some(((first, result), others)) = finished.split_first() else {
        return Ok(None);
    };
    let common = facts(result);
    match others.iter().find(|(_, result)| facts(result) != common) {
        Some((other, _)) => Err(EvalError::MixedData { first: first.id.clone(), other: other.id.clone() }),
        None => Ok(Some(common)),
    }
}

fn arm_report(plan: &AblationPlan, arm: &str, finished: &[(&Cell, &CellResult)]) -> ArmReport {
    let (cells, results): (Vec<&Cell>, Vec<&CellResult>) =
        finished.iter().copied().filter(|(cell, _)| cell.arm == arm).unzip();
    let by_id = finished.iter().map(|(cell, result)| (cell.id.as_str(), *result)).collect();
    let (with_needs, training_flops) =
        (WithNeeds::of(plan, &cells, &by_id), training_flops(plan, &cells, &by_id));
    let first = plan.cells.iter().find(|cell| cell.arm == arm);
    ArmReport {
        arm: arm.to_owned(),
        phase: first.map_or(String::new(), |cell| cell.config.phase.clone()),
        sweep: first.and_then(|cell| cell.sweep),
        finished: results.len(),
        planned: plan.cells.iter().filter(|cell| cell.arm == arm).count(),
        results: arm_results(&results, &plan.collapse).map(|results| ArmResults {
            with_needs,
            training_flops,
            ..results
        }),
    }
}

/// But for what other runs add.
fn arm_results(results: &[&CellResult], rule: &CollapseRule) -> Option<ArmResults> {
    let over_seeds =
        |number: fn(&CellResult) -> f64| Summary::of(results.iter().map(|result| number(result)));
    let test_accuracy = over_seeds(|r| r.test.accuracy)?;
    let bayes_accuracy = results.first()?.bayes_accuracy;
    Some(ArmResults {
        test_accuracy,
        test_by_seed: results.iter().map(|result| (result.seed, result.test.accuracy)).collect(),
        collapsed: collapsed_seeds(results, rule),
        last_accuracy: over_seeds(|r| r.last.test)?,
        stream: StreamResults::of(results),
        validation_accuracy: over_seeds(|r| r.validation.accuracy)?,
        macro_f1: over_seeds(|r| r.test.macro_f1)?,
        ece: over_seeds(|r| r.test.ece)?,
        gap_to_bayes: bayes_accuracy.map(|bayes| bayes - test_accuracy.mean),
        n_params: over_seeds(|r| r.n_params as f64)?,
        n_active_params: over_seeds(|r| r.n_active_params as f64)?,
        n_experts: over_seeds(|r| r.layout.n_experts() as f64)?,
        steps: over_seeds(|r| r.steps as f64 + r.inherited.steps as f64)?,
        flops: over_seeds(|r| r.flops.computed as f64)?,
        measuring_flops: over_seeds(|r| r.measuring_flops.computed as f64)?,
        unpadded_flops: over_seeds(|r| r.flops.unpadded as f64)?,
        training_flops: None,
        seconds: over_seeds(|r| r.seconds)?,
        with_needs: None,
        taught_flops: results.first().map(|r| r.taught_flops.computed as f64).filter(|flops| *flops > 0.0),
    })
}

/// The histories of the arms in which a cell had edits, in the plan's order.
fn experts_over_time(finished: &[(&Cell, &CellResult)]) -> Result<Vec<ExpertHistory>, EvalError> {
    let history = |(cell, result): &(&Cell, &CellResult)| {
        ExpertHistory::of(result).map_err(|cause| EvalError::Edits { cell: cell.id.clone(), cause })
    };
    let histories: Vec<ExpertHistory> = finished.iter().map(history).collect::<Result<_, _>>()?;
    let edited: BTreeSet<String> =
        histories.iter().filter(|cell| cell.edits > 0).map(|cell| cell.arm.clone()).collect();
    Ok(histories.into_iter().filter(|cell| edited.contains(&cell.arm)).collect())
}

fn unfinished(cell: &Cell, outcomes: &BTreeMap<String, Outcome>) -> Option<Unfinished> {
    let (failure, log_tail) = match outcomes.get(&cell.id) {
        Some(Outcome::Finished(_)) => return None,
        Some(Outcome::Failed { reason, log_tail }) => (Some(reason.clone()), log_tail.clone()),
        Some(Outcome::Missing) | None => (None, Vec::new()),
    };
    Some(Unfinished { cell: cell.id.clone(), failure, log_tail })
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Edit, ExpertId, LayerId};

    use super::*;
    use crate::fixtures::{NOTHING, finished, grown, plan, result};

    #[test]
    fn numbers_are_taken_over_the_finished_seeds() {
        let plan = plan(&["dense", "moe"], 2);
        let mut outcomes = finished(&plan, &[0.80, 0.84, 0.9, 0.9]);
        outcomes.remove(&plan.cells[2].id);
        let report = Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap();
        let dense = report.arms[0].results.as_ref().unwrap();
        assert!((dense.test_accuracy.mean - 0.82).abs() < 1e-12);
        assert!((dense.gap_to_bayes.unwrap() - 0.15).abs() < 1e-12);
        assert_eq!((report.arms[1].finished, report.arms[1].planned), (1, 2));
        assert_eq!(report.arms[1].results.as_ref().unwrap().test_accuracy.sd, None);
        assert_eq!(report.unfinished[0].cell, plan.cells[2].id);
        assert_eq!(report.failed().count(), 0);
        assert!(report.sweep.is_none());
    }

    #[test]
    fn cells_on_other_data_are_refused() {
        let plan = plan(&["dense"], 2);
        let mut outcomes = finished(&plan, &[0.8, 0.8]);
        let mut stale = result(&plan.cells[1], 0.8);
        stale.data = Digest::of_bytes(b"other data");
        outcomes.insert(plan.cells[1].id.clone(), Outcome::Finished(Box::new(stale)));
        let message = Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap_err().to_string();
        assert!(message.contains(&plan.cells[0].id) && message.contains(&plan.cells[1].id), "{message}");
    }

    #[test]
    fn experts_over_time_are_told_of_arms_that_edited() {
        let plan = plan(&["moe", "rule"], 2);
        let mut outcomes = finished(&plan, &[0.8, 0.8, 0.9, 0.9]);
        let cell = &plan.cells[3];
        let edited = grown(result(cell, 0.9), &[30, 60]);
        outcomes.insert(cell.id.clone(), Outcome::Finished(Box::new(edited.clone())));
        let report = Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap();
        let told: Vec<_> =
            report.experts_over_time.iter().map(|h| (h.arm.as_str(), h.seed, h.edits)).collect();
        assert_eq!(told, [("rule", 0, 0), ("rule", 1, 2)]);
        let counts = report.experts_over_time[1].counts.iter().map(|count| (count.step, count.n_experts));
        assert_eq!(counts.collect::<Vec<_>>(), [(0, 4), (30, 5), (60, 6)]);
        assert_eq!(report.arms[1].results.as_ref().unwrap().n_experts.mean, 5.0);

        let mut impossible = edited;
        impossible.edits.plans[1].edits = vec![Edit::Prune { layer: LayerId(0), expert: ExpertId(9) }];
        outcomes.insert(cell.id.clone(), Outcome::Finished(Box::new(impossible)));
        let message = Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap_err().to_string();
        assert!(message.contains(&cell.id) && message.contains("plan 1 (step 60)"), "{message}");
    }

    #[test]
    fn nothing_finished_is_a_report_too() {
        let plan = plan(&["dense", "frozen-2"], 1);
        let report = Report::new(&plan, &BTreeMap::new(), &NOTHING, plan.code).unwrap();
        assert_eq!((report.data, report.sweep.as_ref()), (None, None));
        assert_eq!(report.unfinished.len(), 2);
    }

    #[test]
    fn the_json_reads_back() {
        let plan = plan(&["dense", "frozen-1", "frozen-4"], 2);
        let mut outcomes = finished(&plan, &[0.8, 0.81, 0.7, 0.71, 0.9, 0.91]);
        let failure = Outcome::Failed { reason: "exit code 1".into(), log_tail: vec!["boom".into()] };
        outcomes.insert(plan.cells[0].id.clone(), failure);
        let report = Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap();
        let json = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
