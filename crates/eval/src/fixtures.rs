//! Plans, results and predictions that tests make reports of.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{
    AblationPlan, Cell, CellResult, ClaimKind, CollapseRule, Comparison, Digest, DomainAccuracy,
    DomainRouting, Edit, EditLog, EffectHeadConfig, Evidence, ExpertInit, Flops, Inherited, LastCheckpoint,
    LayerId, Limits, LookaheadConfig, Machine, Metric, Metrics, PLAN_FORMAT, Plan, PolicyConfig, Prediction,
    RESULT_FORMAT, RoutingConfig, RunConfig, RunDir, RunRef, SplitSizes, TimeAccuracy,
};

use crate::{Decided, Outcome, ReadPredictions, Readers};

/// A plan over `arms` (`frozen-N` has N experts, `dense` and `moe` one, others four) with `seeds` seeds each.
pub(crate) fn plan(arms: &[&str], seeds: u64) -> AblationPlan {
    let cell = |arm: &str, seed| {
        let mut config = RunConfig { arm: arm.to_owned(), seed, ..RunConfig::default() };
        let sweep: Option<usize> = arm.strip_prefix("frozen-").map(|n| n.parse().unwrap());
        if let Some(n_experts) = sweep {
            config.model.routing = RoutingConfig::TopK { n_experts };
        } else if ["dense", "moe"].contains(&arm) {
            config.model.routing = RoutingConfig::Dense {};
        }
        Cell { sweep, ..Cell::new(config) }
    };
    let cells = arms.iter().flat_map(|arm| (0..seeds).map(move |seed| cell(arm, seed))).collect();
    AblationPlan {
        format: PLAN_FORMAT,
        name: "test".into(),
        moelt: "0.0.0".into(),
        code: Digest::of_bytes(b"code"),
        data: BTreeMap::new(),
        resamples: 200,
        // Five seeds are quickly made; what they cannot exclude has tests of its own.
        collapse: CollapseRule::OFF,
        comparisons: Vec::new(),
        cells,
    }
}

/// A head that has learnt from these runs.
pub(crate) fn taught_by(runs: &[String]) -> PolicyConfig {
    let records_of = runs.iter().cloned().map(RunRef::from).collect();
    let head = Some(EffectHeadConfig { records_of, ..EffectHeadConfig::default() });
    PolicyConfig::Lookahead(LookaheadConfig { head, ..LookaheadConfig::default() })
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

fn no_decisions(cell: &Cell) -> Result<Vec<Decided>, String> {
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
        domains: Vec::new(),
        per_time: Vec::new(),
        routing: Vec::new(),
        test_flops: Flops::unpadded(1),
        bayes_accuracy: Some(0.97),
        last: LastCheckpoint { step: 100, validation: accuracy - 0.03, test: accuracy - 0.02 },
        flops: Flops { computed: 3_000_000, unpadded: 2_000_000 },
        taught_flops: Flops::default(),
        measuring_flops: Flops::default(),
        inherited: Inherited::default(),
        seconds: 12.5,
        machine: None,
        decisions: Decided::digest(&[]),
        files: ["validation", "test"]
            .map(|split| (RunDir::predictions_name(split), Digest::of_bytes(b"predictions")))
            .into(),
    }
}

/// A machine with this processor.
pub(crate) fn machine(cpu: &str) -> Machine {
    Machine { cpu: cpu.to_owned(), n_cpus: 8, n_threads: 1, system: "linux x86_64".to_owned() }
}

/// The same with an expert more after each of `steps`; the checkpoint that was judged has them all.
pub(crate) fn grown(result: CellResult, steps: &[u64]) -> CellResult {
    let CellResult { mut layout, mut edits, .. } = result.clone();
    for &step in steps {
        let (layer, new, init) = (LayerId(0), layout.next_id(), ExpertInit::Fresh);
        let edits_now = vec![Edit::Grow { layer, new, init }];
        let plan = Plan { step, edits: edits_now, reason: "test".into(), evidence: Evidence::default() };
        let plan = plan.check(&layout, Limits::default()).unwrap();
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

/// Every cell finished with its result.
pub(crate) fn outcomes_of(plan: &AblationPlan, results: Vec<CellResult>) -> BTreeMap<String, Outcome> {
    let outcome =
        |(cell, result): (&Cell, CellResult)| (cell.id.clone(), Outcome::Finished(Box::new(result)));
    plan.cells.iter().zip(results).map(outcome).collect()
}

/// An evaluation time with the test accuracy on each domain; 0.01 less on validation than their mean.
pub(crate) fn asked_at(at: f64, accuracies: &[(u32, f64)]) -> TimeAccuracy {
    let test = accuracies.iter().map(|(_, accuracy)| accuracy).sum::<f64>() / accuracies.len() as f64;
    let of = |&(domain, accuracy): &(u32, f64)| DomainAccuracy { domain, n: 50, accuracy };
    let per_domain = accuracies.iter().map(of).collect();
    TimeAccuracy { at, step: (100.0 * at) as u64, validation: test - 0.01, test, per_domain }
}

/// The same result with these test accuracies on domains 0, 1, …
pub(crate) fn on_domains(mut result: CellResult, accuracies: &[f64]) -> CellResult {
    let of = |(domain, &accuracy): (u32, &f64)| DomainAccuracy { domain, n: 50, accuracy };
    result.test.per_domain = (0..).zip(accuracies).map(of).collect();
    result
}

/// Tokens by domain, layer and expert.
pub(crate) fn routed(domains: &[&[&[f64]]]) -> Vec<DomainRouting> {
    let of = |(domain, layers): (u32, &&[&[f64]])| DomainRouting {
        domain,
        tokens_per_expert: layers.iter().map(|tokens| tokens.to_vec()).collect(),
    };
    (0..).zip(domains).map(of).collect()
}

/// Verdict and validation examples.
pub(crate) const EXAMPLES: usize = 2_000;

pub(crate) fn declare(arm: &str, against: &[&str], kind: ClaimKind) -> Comparison {
    let opponent = if against.len() > 1 { "best-frozen" } else { against[0] };
    Comparison {
        name: format!("{arm} against {opponent}"),
        metric: Metric::Accuracy,
        arm: arm.into(),
        against: against.iter().map(|&name| name.into()).collect(),
        kind,
        margin: 0.005,
        alpha: 0.05,
        family: format!("{arm}'s"),
    }
}

/// A plan with these comparisons of arms with five seeds, finished with these accuracies.
pub(crate) fn judged_plan(
    arms: &[(&str, f64)],
    comparisons: Vec<Comparison>,
) -> (AblationPlan, BTreeMap<String, Outcome>) {
    let names: Vec<&str> = arms.iter().map(|(name, _)| *name).collect();
    let plan = AblationPlan { comparisons, ..plan(&names, 5) };
    let accuracies: Vec<f64> = plan.cells.iter().map(|cell| accuracy(arms, cell)).collect();
    let outcomes = finished(&plan, &accuracies);
    (plan, outcomes)
}

pub(crate) fn accuracy(arms: &[(&str, f64)], cell: &Cell) -> f64 {
    let spread = 0.001 * (cell.seed % 3) as f64;
    arms.iter().find(|(name, _)| *name == cell.arm).map_or(f64::NAN, |(_, accuracy)| accuracy + spread)
}

/// The predictions that go with it.
pub(crate) fn reader(
    arms: &[(&'static str, f64)],
) -> impl Fn(&Cell, &str) -> Result<Vec<Prediction>, String> {
    let arms = arms.to_vec();
    move |cell, _| Ok(predictions(EXAMPLES, accuracy(&arms, cell), cell.seed))
}
