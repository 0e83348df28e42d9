//! An ablation's numbers: one line an arm, with what is missing said aloud.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, CellResult, Digest, SplitSizes};
use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, Compared, EvalError, ExpertHistory, Readers, Signal, Summary, Sweep, WithNeeds,
    compared::{bootstrap, compare},
    needs::training_flops,
    scores::Scores,
};

/// Version of `report.json`.
pub const REPORT_FORMAT: u32 = 4;

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
    /// What the frozen sweep says, when the plan has one and some of it is finished.
    pub sweep: Option<Sweep>,
    /// How experts came and went, for every finished cell of the arms that edited any.
    pub experts_over_time: Vec<ExpertHistory>,
    /// What labels know of the measured effect of edits, when a finished cell measured twice.
    pub signal: Option<Signal>,
    /// Planned cells without a result.
    pub unfinished: Vec<Unfinished>,
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
    /// Cells with a result.
    pub finished: usize,
    /// Cells planned.
    pub planned: usize,
    /// Its numbers; none while no cell is finished.
    pub results: Option<ArmResults>,
}

/// One arm's numbers over its finished cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmResults {
    /// Accuracy on the test split.
    pub test_accuracy: Summary,
    /// The same, by seed.
    pub test_by_seed: BTreeMap<u64, f64>,
    /// Accuracy of the last checkpoint on the test split; nothing is chosen by it.
    pub last_accuracy: Summary,
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
        let scores = Scores::load(plan, outcomes, read.predictions);
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
            sweep,
            experts_over_time: experts_over_time(&finished)?,
            arms,
            signal: Signal::of(plan, outcomes, read.decisions),
            unfinished: plan.cells.iter().filter_map(|cell| unfinished(cell, outcomes)).collect(),
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
    ArmReport {
        arm: arm.to_owned(),
        finished: results.len(),
        planned: plan.cells.iter().filter(|cell| cell.arm == arm).count(),
        results: arm_results(&results).map(|results| ArmResults { with_needs, training_flops, ..results }),
    }
}

/// But for what other runs add.
fn arm_results(results: &[&CellResult]) -> Option<ArmResults> {
    let over_seeds =
        |number: fn(&CellResult) -> f64| Summary::of(results.iter().map(|result| number(result)));
    let test_accuracy = over_seeds(|r| r.test.accuracy)?;
    let bayes_accuracy = results.first()?.bayes_accuracy;
    Some(ArmResults {
        test_accuracy,
        test_by_seed: results.iter().map(|result| (result.seed, result.test.accuracy)).collect(),
        last_accuracy: over_seeds(|r| r.last.test)?,
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
pub(crate) mod tests {
    use moelt_schema::{
        Edit, EditLog, Evidence, ExpertId, ExpertInit, Flops, Inherited, LastCheckpoint, LayerId,
        LayerKindConfig, Limits, METRIC, Metrics, PLAN_FORMAT, Plan, Prediction, RESULT_FORMAT, RunConfig,
        RunDir,
    };

    use super::*;
    use crate::ReadPredictions;

    /// A plan over `arms` (`frozen-N` has N experts, `dense` and `moe` one, others four) with `seeds` seeds each.
    pub(crate) fn plan(arms: &[&str], seeds: u64) -> AblationPlan {
        let cell = |arm: &str, seed| {
            let mut config = RunConfig { arm: arm.to_owned(), seed, ..RunConfig::default() };
            match arm.strip_prefix("frozen-") {
                Some(n) => config.model.n_experts = n.parse().unwrap(),
                None if arm.starts_with('q') => config.model.kind = LayerKindConfig::Dense,
                None => {}
            }
            Cell::new(config)
        };
        let cells = arms.iter().flat_map(|arm| (0..seeds).map(move |seed| cell(arm, seed))).collect();
        AblationPlan {
            format: PLAN_FORMAT,
            name: "test".into(),
            moelt: "0.0.0".into(),
            code: Digest::of_bytes(b"code"),
            data: BTreeMap::new(),
            metric: METRIC.into(),
            resamples: 200,
            comparisons: Vec::new(),
            cells,
        }
    }

    /// For reports without comparisons.
    pub(crate) fn no_predictions(cell: &Cell, _: &str) -> Result<Vec<Prediction>, String> {
        Err(format!("{} has none", cell.id))
    }

    /// Nor any decisions.
    pub(crate) const NOTHING: Readers<'_> = only(&no_predictions);

    /// Predictions without decisions.
    pub(crate) const fn only<'a>(predictions: &'a ReadPredictions<'a>) -> Readers<'a> {
        Readers { predictions, decisions: &no_decisions }
    }

    fn no_decisions(cell: &Cell) -> Result<Vec<crate::Decided>, String> {
        Err(format!("{} has none", cell.id))
    }

    /// Predictions on `n` texts, the share `accuracy` of which is right; mostly the same in every seed, for
    /// some texts are harder than others.
    pub(crate) fn predictions(n: usize, accuracy: f64, seed: u64) -> Vec<Prediction> {
        let difficulty = |at: usize| {
            let shared = (at * 389 % n) as f64 / n as f64;
            let own = ((at * 97 + 53 * (seed as usize + 1) * (at % 7 + 1)) % n) as f64 / n as f64;
            0.95 * shared + 0.05 * own
        };
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| difficulty(a).total_cmp(&difficulty(b)));
        let right: BTreeSet<usize> = order.into_iter().take((accuracy * n as f64).round() as usize).collect();
        let prediction = |at: usize| {
            let label = (at % 2) as u32;
            let predicted = if right.contains(&at) { label } else { 1 - label };
            let probabilities = if predicted == 0 { vec![0.75, 0.25] } else { vec![0.25, 0.75] };
            Prediction { label, domain: None, probabilities }
        };
        (0..n).map(prediction).collect()
    }

    /// A finished cell with this accuracy on test, and 0.01 less on validation.
    pub(crate) fn result(cell: &Cell, accuracy: f64) -> CellResult {
        let metrics = |accuracy| Metrics {
            n: 100,
            accuracy,
            macro_f1: accuracy - 0.001,
            loss: 0.3,
            ece: 0.02,
            confusion: vec![vec![0; 2]; 2],
            per_class_accuracy: vec![Some(accuracy); 2],
            per_domain: Vec::new(),
        };
        CellResult {
            format: RESULT_FORMAT,
            moelt: "0.0.0".into(),
            arm: cell.arm.clone(),
            seed: cell.seed,
            config: cell.digest,
            data: Digest::of_bytes(b"data"),
            layout: cell.config.model.initial_layout(),
            edits: EditLog::new(cell.config.model.initial_layout()),
            n_params: 12_345,
            n_active_params: 2_345,
            steps: 100,
            best_step: 90,
            splits: SplitSizes { train: 1_000, validation: 200, test: 100 },
            notes: vec!["7 texts are repeated".into()],
            validation: metrics(accuracy - 0.01),
            test: metrics(accuracy),
            per_time: Vec::new(),
            bayes_accuracy: Some(0.97),
            last: LastCheckpoint { step: 100, validation: accuracy - 0.03, test: accuracy - 0.02 },
            flops: Flops { computed: 3_000_000, unpadded: 2_000_000 },
            measuring_flops: Flops::default(),
            inherited: Inherited::default(),
            seconds: 12.5,
            decisions: crate::Decided::digest(&[]),
            files: ["validation", "test"]
                .map(|split| (RunDir::predictions_name(split), Digest::of_bytes(b"predictions")))
                .into(),
        }
    }

    /// The same with an expert more after each of `steps`; the checkpoint that was judged has them all.
    pub(crate) fn grown(result: CellResult, steps: &[u64]) -> CellResult {
        let CellResult { mut layout, mut edits, .. } = result.clone();
        for &step in steps {
            let (layer, new, init) = (LayerId(0), layout.next_id(), ExpertInit::Fresh);
            let edits_now = vec![Edit::Grow { layer, new, init }];
            let plan = Plan { step, edits: edits_now, reason: "test".into(), evidence: Evidence::default() };
            let plan = plan.check(&layout, &Limits::default()).unwrap();
            layout = plan.after().clone();
            edits.push(&plan);
        }
        CellResult { layout, edits, ..result }
    }

    /// Every cell finished, with the accuracy of its position in the plan.
    pub(crate) fn finished(plan: &AblationPlan, accuracies: &[f64]) -> BTreeMap<String, Outcome> {
        assert_eq!(plan.cells.len(), accuracies.len());
        let outcome = |(cell, &accuracy): (&Cell, &f64)| {
            (cell.id.clone(), Outcome::Finished(Box::new(result(cell, accuracy))))
        };
        plan.cells.iter().zip(accuracies).map(outcome).collect()
    }

    #[test]
    fn numbers_are_taken_over_the_finished_seeds() {
        let plan = plan(&["dense", "moe"], 2);
        let mut outcomes = finished(&plan, &[0.80, 0.84, 0.9, 0.9]);
        outcomes.remove(&plan.cells[2].id);
        let report = Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap();
        let q1 = report.arms[0].results.as_ref().unwrap();
        assert!((q1.test_accuracy.mean - 0.82).abs() < 1e-12);
        assert!((q1.gap_to_bayes.unwrap() - 0.15).abs() < 1e-12);
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
