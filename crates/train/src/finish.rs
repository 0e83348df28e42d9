//! The end of a run: what it is judged by is loaded, re-evaluated, and judged once.
//!
//! That is the best checkpoint or, where the data drifts, at each evaluation time the model as it was then. The last
//! checkpoint is looked at beside it, when nothing is left to be chosen.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use moelt_eval::{Decided, metrics, predictions_to_csv};
use moelt_model::Classifier;
use moelt_schema::{
    Asked, CellResult, Digest, DomainRouting, Flops, LastCheckpoint, Metrics, PolicyState, Prediction,
    RESULT_FORMAT, RunConfig, RunDir, TimeAccuracy, resolved_toml, write_atomically,
};

use crate::{
    CheckpointError, CheckpointStore, LoadedModel, Prepared, Split, TrainError, TrainState,
    evaluate::{pass, predict_unless},
    interrupt::Interrupt,
    machine,
    other_runs::read_decisions,
};

/// A model that the run is judged by.
struct Judged {
    /// The texts that it is asked about; none where domains do not come and go: all of them.
    asked: Option<Vec<Asked>>,
    loaded: LoadedModel,
    /// The weights that are evaluated.
    model: Classifier,
}

/// What the models said of a split.
struct Answers {
    /// Of each text what the model of its time said.
    all: Vec<Prediction>,
    /// How good each model was on the texts it was asked about.
    each: Vec<Metrics>,
    /// What the last model's pass took.
    flops: Flops,
}

/// Evaluates what the run is judged by on validation, where it must repeat what was saved, and on the test
/// split; writes predictions and, last, `result.json`. Interrupted, it leaves nothing undone: the run is saved, and
/// the same call ends it.
pub(crate) fn finish(
    config: &RunConfig,
    run: &RunDir,
    prepared: &Prepared,
    store: &CheckpointStore,
    state: &TrainState,
    device: &Device,
    interrupt: Interrupt<'_>,
) -> Result<CellResult, TrainError> {
    let judged = judged(prepared, store, state, device)?;
    let n_classes = prepared.classes.len();
    let mut files = BTreeMap::new();
    let validation = ask(&judged, &prepared.validation, n_classes, interrupt)?;
    keep(run, "validation", &validation.all, &mut files)?;
    judged.iter().zip(&validation.each).try_for_each(|(judged, now)| check_repeated(judged, now))?;
    let test = ask(&judged, &prepared.test, n_classes, interrupt)?;
    keep(run, "test", &test.all, &mut files)?;
    let (on_validation, on_test) = (metrics(&validation.all, n_classes), metrics(&test.all, n_classes));
    let evaluated = judged.last().expect("a run is judged by one model at least");
    let same =
        LastCheckpoint { step: state.step, validation: on_validation.accuracy, test: on_test.accuracy };
    let is_last = prepared.drift.is_some() || evaluated.step() == state.step;
    let last = if is_last { same } else { ask_last(prepared, store, state.step, device, interrupt)? };
    let (best_step, layout) = (evaluated.step(), evaluated.loaded.checkpoint.manifest.layout.clone());
    let result = CellResult {
        format: RESULT_FORMAT,
        moelt: env!("CARGO_PKG_VERSION").to_owned(),
        arm: config.arm.clone(),
        seed: config.seed,
        config: config.digest(),
        data: prepared.digest,
        n_params: evaluated.model.n_params(),
        n_active_params: evaluated.model.n_active_params(&layout),
        layout,
        edits: state.edits.clone(),
        steps: state.step,
        best_step,
        splits: prepared.sizes,
        domains: prepared.domains.clone(),
        notes: prepared.notes.clone(),
        per_time: per_time(prepared, &judged, &validation.each, &test.each),
        routing: routing_by_domain(&evaluated.model, &prepared.test, interrupt)?,
        test_flops: test.flops,
        last,
        validation: on_validation,
        test: on_test,
        bayes_accuracy: prepared.bayes_accuracy,
        flops: state.progress.flops,
        measuring_flops: state.progress.measuring_flops,
        taught_flops: taught_flops(&state.progress.policy),
        inherited: state.progress.inherited,
        seconds: state.progress.seconds,
        machine: Some(machine::this()),
        files,
        decisions: Decided::digest(&read_decisions(run)?),
    };
    leave_whole(config, run, store, &judged, state)?;
    write(run, &result)?;
    Ok(result)
}

/// What the head of a policy was taught with before any run.
fn taught_flops(policy: &PolicyState) -> Flops {
    let taught = policy.head.as_ref().and_then(|head| head.taught.as_ref());
    taught.map_or(Flops::default(), |taught| taught.flops)
}

/// Writes predictions on a split and adds their hash to `files`.
fn keep(
    run: &RunDir,
    split: &str,
    predictions: &[Prediction],
    files: &mut BTreeMap<String, Digest>,
) -> Result<(), TrainError> {
    let (name, csv) = (RunDir::predictions_name(split), predictions_to_csv(predictions));
    let file = run.path().join(&name);
    write_atomically(&file, csv.as_bytes()).map_err(TrainError::io(file))?;
    files.insert(name, Digest::of_bytes(csv.as_bytes()));
    Ok(())
}

/// The last file of a run: with it the run is finished.
fn write(run: &RunDir, result: &CellResult) -> Result<(), TrainError> {
    let json = serde_json::to_vec_pretty(result).expect("results always serialise");
    write_atomically(&run.result(), &json).map_err(TrainError::io(run.result()))
}

/// The models that the run is judged by, in the order of their times.
fn judged(
    prepared: &Prepared,
    store: &CheckpointStore,
    state: &TrainState,
    device: &Device,
) -> Result<Vec<Judged>, TrainError> {
    let Some(drift) = &prepared.drift else {
        return Ok(vec![Judged::load(None, &best(store, state)?, device)?]);
    };
    let times = (1..).zip(prepared.judged_after());
    times.map(|(time, step)| Judged::load(Some(drift.asked_at(time)), &store.pinned(step)?, device)).collect()
}

/// The checkpoint that the run remembers as its best, or the last one where none counts. A pointer that somebody has removed
/// does not make another one the best.
fn best(store: &CheckpointStore, state: &TrainState) -> Result<PathBuf, CheckpointError> {
    state.progress.best.map_or_else(|| Ok(store.path(state.step)), |best| store.pinned(best.step))
}

/// Makes sure that the folder still holds what its result speaks of, whatever was removed under the run: puts back what the run
/// knows, which is its config and what its pointers name.
fn leave_whole(
    config: &RunConfig,
    run: &RunDir,
    store: &CheckpointStore,
    judged: &[Judged],
    state: &TrainState,
) -> Result<(), TrainError> {
    let file = run.config();
    if !file.exists() {
        write_atomically(&file, resolved_toml(config).as_bytes()).map_err(TrainError::io(file))?;
    }
    judged.iter().try_for_each(|judged| store.pinned(judged.step()).map(drop))?;
    Ok(store.restore_pointers(state.step, state.progress.best.map(|best| best.step))?)
}

impl Judged {
    fn load(asked: Option<Vec<Asked>>, path: &Path, device: &Device) -> Result<Self, TrainError> {
        let loaded = LoadedModel::load(path, device)?;
        Ok(Self { asked, model: loaded.evaluated(), loaded })
    }

    /// The step of its checkpoint.
    fn step(&self) -> u64 {
        self.loaded.checkpoint.manifest.step
    }
}

/// What the last checkpoint, of step `step`, knows of data that does not drift.
fn ask_last(
    prepared: &Prepared,
    store: &CheckpointStore,
    step: u64,
    device: &Device,
    interrupt: Interrupt<'_>,
) -> Result<LastCheckpoint, TrainError> {
    let n_classes = prepared.classes.len();
    let last = Judged::load(None, &store.path(step), device)?;
    let ask = |split| -> Result<Metrics, TrainError> {
        Ok(metrics(&predict_unless(interrupt, &last.model, split)?, n_classes))
    };
    let validation = ask(&prepared.validation)?;
    check_repeated(&last, &validation)?;
    let test = ask(&prepared.test)?;
    Ok(LastCheckpoint { step, validation: validation.accuracy, test: test.accuracy })
}

/// Asks each model about its texts. Of a text that several are asked about the last one's word counts.
fn ask(
    judged: &[Judged],
    split: &Split,
    n_classes: usize,
    interrupt: Interrupt<'_>,
) -> Result<Answers, TrainError> {
    let mut all: Vec<Option<Prediction>> = vec![None; split.texts.len()];
    let (mut each, mut flops) = (Vec::new(), Flops::default());
    for Judged { asked, model, .. } in judged {
        let everything = || (0..split.texts.len()).collect();
        let places = asked.as_ref().map_or_else(everything, |asked| split.places_of(asked));
        let pass = pass(interrupt, model, &split.part(&places))?;
        each.push(metrics(&pass.predictions, n_classes));
        flops = pass.flops;
        places.into_iter().zip(pass.predictions).for_each(|(place, said)| all[place] = Some(said));
    }
    let all = all.into_iter().map(|said| said.expect("every time has its model")).collect();
    Ok(Answers { all, each, flops })
}

/// Which experts of a model serve which domain of a split; nothing without domains, or without a router.
fn routing_by_domain(
    model: &Classifier,
    split: &Split,
    interrupt: Interrupt<'_>,
) -> Result<Vec<DomainRouting>, TrainError> {
    let domains: BTreeSet<u32> = split.domains.iter().copied().flatten().collect();
    let mut routing = Vec::new();
    for domain in domains {
        let is_of = |place: &usize| split.domains[*place] == Some(domain);
        let places: Vec<usize> = (0..split.texts.len()).filter(is_of).collect();
        let sums = pass(interrupt, model, &split.part(&places))?.routing;
        let tokens_per_expert: Vec<Vec<f64>> = sums.into_iter().map(|sums| sums.tokens_per_expert).collect();
        if !tokens_per_expert.is_empty() {
            routing.push(DomainRouting { domain, tokens_per_expert });
        }
    }
    Ok(routing)
}

/// A checkpoint must say of validation what it said when it was saved.
fn check_repeated(judged: &Judged, now: &Metrics) -> Result<(), TrainError> {
    match &judged.loaded.checkpoint.manifest.validation {
        Some(saved) if !saved.counts_as(now) => Err(TrainError::Reevaluation {
            path: judged.loaded.path.clone(),
            saved: saved.accuracy,
            now: now.accuracy,
        }),
        _ => Ok(()),
    }
}

/// Accuracy time by time, where domains come and go.
fn per_time(
    prepared: &Prepared,
    judged: &[Judged],
    validation: &[Metrics],
    test: &[Metrics],
) -> Vec<TimeAccuracy> {
    let Some(drift) = &prepared.drift else { return Vec::new() };
    let one = |(i, time): (usize, u32)| TimeAccuracy {
        at: drift.at(time),
        step: judged[i].step(),
        validation: validation[i].accuracy,
        test: test[i].accuracy,
        per_domain: test[i].per_domain.clone(),
    };
    (0..judged.len()).zip(1..).map(one).collect()
}
