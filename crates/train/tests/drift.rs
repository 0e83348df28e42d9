//! Runs on data that drifts: judged time by time, resumed bit for bit, refused when a time is missing.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use burn::tensor::Device;
use moelt_data::Dataset;
use moelt_eval::{metrics, predictions_from_csv};
use moelt_schema::{Budget, CellResult, Digest, PlantedConfig, Prediction, RunConfig, RunDir};
use moelt_train::{
    CheckpointError, CheckpointStore, LoadedModel, Observer, Outcome, Prepared, TrainError, Trainer, predict,
};
use tempfile::TempDir;

/// 60 steps, times after 15, 30, 45 and 60; domain 0 goes at step 30, domain 2 comes at step 20.
const CONFIG: &str = "
[data.planted]
domains = 3
train = 320
validation = 60
test = 120
live = [[0.0, 0.5], [0.0, 1.0], [0.3333, 1.0]]
times = 4
[model]
d_model = 8
d_ff = 4
[model.routing.top_k]
n_experts = 3
[optim]
lr = 0.02
schedule = 'constant'
ema_decay = 0.8
[train]
budget = { epochs = 3 }
batch_size = 16
eval_every = 7
checkpoint_every = 4
keep_last = 1
[control.edits]
every = 5
warmup = 0.0
[control.policy.rule]
confirm = 1
cooldown = 0
grow_above = 0.0
grow_load_above = 0.0
";

const TIMES: [u64; 4] = [15, 30, 45, 60];

fn config() -> RunConfig {
    RunConfig::from_toml(CONFIG).unwrap()
}

fn planted(config: &mut RunConfig) -> &mut PlantedConfig {
    config.data.planted_mut().unwrap()
}

/// Raises the flag after some step.
struct StopAfter(u64, Arc<AtomicBool>);

impl Observer for StopAfter {
    fn stepped(&mut self, step: u64, _loss: f64) {
        self.1.store(step == self.0, Ordering::Relaxed);
    }
}

/// Trains until after `step`, or to the end.
fn go(run: &RunDir, step: u64) -> Result<Outcome, TrainError> {
    let flag = Arc::new(AtomicBool::new(false));
    Trainer::new(config())
        .interrupt(&flag)
        .observer(&mut StopAfter(step, flag.clone()))
        .run(run.path(), &Device::flex())
}

fn finished(run: &RunDir) -> CellResult {
    match go(run, u64::MAX).unwrap() {
        Outcome::Finished(result) => *result,
        Outcome::Interrupted { step } => panic!("interrupted after step {step}"),
    }
}

fn predictions(run: &RunDir, split: &str) -> Vec<Prediction> {
    let name = RunDir::predictions_name(split);
    predictions_from_csv(&fs::read_to_string(run.path().join(&name)).unwrap(), &name).unwrap()
}

fn checkpoint_names(run: &RunDir) -> Vec<String> {
    let entries = fs::read_dir(run.checkpoints()).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_text_is_put_to_the_model_of_its_time() {
    let folder = TempDir::new().unwrap();
    let run = RunDir::new(folder.path().join("run"));
    let result = finished(&run);
    assert_eq!((result.steps, result.best_step), (60, 60));
    assert_eq!(result.per_time.iter().map(|time| time.step).collect::<Vec<_>>(), TIMES);
    assert!(result.edits.plans.len() > 1, "experts came or went");
    let prepared = Prepared::new(&config()).unwrap();
    let store = CheckpointStore::at(run.checkpoints());
    for (name, split) in [("validation", &prepared.validation), ("test", &prepared.test)] {
        let said = predictions(&run, name);
        for (time, step) in (1..).zip(TIMES) {
            let loaded = LoadedModel::load(&store.path(step), &Device::flex()).unwrap();
            let places = split.places_of(&prepared.drift.as_ref().unwrap().asked_at(time));
            assert_eq!(places.len(), split.texts.len() / 4);
            let expected = predict(&loaded.evaluated(), &split.part(&places));
            let said: Vec<Prediction> = places.iter().map(|place| said[*place].clone()).collect();
            assert_eq!(said, expected, "{name} at step {step}");
            let of_time = &result.per_time[time as usize - 1];
            let accuracy = metrics(&expected, 2).accuracy;
            assert_eq!(accuracy, if name == "test" { of_time.test } else { of_time.validation });
        }
    }
    let mean = result.per_time.iter().map(|time| time.test).sum::<f64>() / 4.0;
    assert!((result.test.accuracy - mean).abs() < 1e-12, "the accuracy is the mean over the stream");
    assert_ne!(predictions(&run, "test"), {
        let last = LoadedModel::load(&store.path(60), &Device::flex()).unwrap();
        predict(&last.evaluated(), &prepared.test)
    });
    let kept = [15, 30, 45, 56, 60].map(CheckpointStore::name);
    assert_eq!(checkpoint_names(&run), kept, "those of the times, and the last one beside them");
    assert_eq!(store.pointed("best").unwrap(), None);
}

#[test]
fn steps_and_evaluations_see_only_what_is_live() {
    let mut prepared = Prepared::new(&config()).unwrap();
    let (plain, total) = (prepared.validation.clone(), prepared.total_steps);
    let domains = |step| {
        let split = prepared.validation_at(step, total);
        let mut domains: Vec<u32> = split.domains.iter().flatten().copied().collect();
        domains.sort_unstable();
        domains.dedup();
        (split.times[0], domains)
    };
    assert_eq!(domains(5), (Some(1), vec![0, 1]));
    assert_eq!(domains(20), (Some(2), vec![0, 1]), "domain 2 has not been seen yet");
    assert_eq!(domains(21), (Some(2), vec![0, 1, 2]));
    assert_eq!(domains(31), (Some(3), vec![1, 2]));
    assert_eq!(prepared.validation.texts.len(), plain.texts.len());
    let data = config().data.splits(&config().text).unwrap();
    for step in 0..total {
        for example in prepared.train.at(step).examples {
            let live: &[u32] = match step {
                0..20 => &[0, 1],
                20..30 => &[0, 1, 2],
                _ => &[1, 2],
            };
            assert!(live.contains(&data.train[example].domain.unwrap()), "step {step}");
        }
    }
}

#[test]
fn without_drift_validation_is_the_whole_split_at_every_step() {
    let mut config = config();
    planted(&mut config).live.clear();
    let prepared = Prepared::new(&config).unwrap();
    let whole = prepared.validation_at(7, prepared.total_steps);
    assert!(matches!(whole, std::borrow::Cow::Borrowed(_)));
    assert_eq!(prepared.judged_after().count(), 0);
}

#[test]
fn an_interrupted_run_ends_bit_for_bit_like_one_that_was_not() {
    let folder = TempDir::new().unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| RunDir::new(folder.path().join(name)));
    let result = finished(&whole);
    for step in [3, 15, 22, 44, 59] {
        assert!(matches!(go(&stopped, step).unwrap(), Outcome::Interrupted { step: at } if at == step));
    }
    let again = finished(&stopped);
    assert_eq!(again, CellResult { seconds: again.seconds, ..result });
    let weights = |run: &RunDir| -> BTreeMap<String, Digest> {
        let store = CheckpointStore::at(run.checkpoints());
        let files = ["model", "average", "optimizer"].map(|name| format!("{name}.safetensors"));
        let paths = TIMES.into_iter().flat_map(|step| files.clone().map(|file| store.path(step).join(file)));
        let relative = |path: &std::path::Path| path.strip_prefix(run.path()).unwrap().display().to_string();
        paths.map(|path| (relative(&path), Digest::of_file(&path).unwrap())).collect()
    };
    assert_eq!(weights(&whole), weights(&stopped));
}

#[test]
fn a_missing_checkpoint_of_a_time_is_named() {
    let folder = TempDir::new().unwrap();
    let run = RunDir::new(folder.path().join("run"));
    let gone = run.checkpoints().join("step-00000015");
    go(&run, 40).unwrap();
    fs::remove_dir_all(&gone).unwrap();
    let error = go(&run, u64::MAX).unwrap_err();
    assert!(
        matches!(&error, TrainError::Checkpoint(CheckpointError::Gone(path)) if *path == gone),
        "{error}"
    );
    assert!(error.to_string().contains("delete the run folder"), "{error}");
}

#[test]
fn more_times_than_steps_are_refused() {
    let mut config = config();
    config.train.budget = Budget::Epochs(0.1);
    let error = Prepared::new(&config).map(drop).unwrap_err().to_string();
    assert_eq!(error, "`data.planted.times`: is 4, but the run has 2 steps; raise train.budget.epochs");
}

#[test]
fn a_domain_that_ends_between_two_times_is_judged_until_it_does() {
    let mut config = config();
    // Domain 0 ends at step 36, between the times after 30 and 45 steps.
    planted(&mut config).live = vec![[0.0, 0.6], [0.0, 1.0], [0.3333, 1.0]];
    let prepared = Prepared::new(&config).unwrap();
    let asked = |step| {
        let split = prepared.validation_at(step, prepared.total_steps);
        let asked: BTreeSet<(u32, u32)> = split
            .times
            .iter()
            .zip(&split.domains)
            .map(|(time, domain)| (domain.unwrap(), time.unwrap()))
            .collect();
        asked.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(asked(30), [(0, 2), (1, 2), (2, 2)]);
    assert_eq!(asked(36), [(0, 2), (1, 3), (2, 3)], "of the time that has been, for want of a later one");
    assert_eq!(asked(37), [(1, 3), (2, 3)]);
    // A change of everything between two times is a run like another.
    planted(&mut config).live = vec![[0.0, 0.6], [0.6, 1.0], [0.6, 1.0]];
    let folder = TempDir::new().unwrap();
    let run = RunDir::new(folder.path().join("run"));
    let ended = Trainer::new(config.clone()).run(run.path(), &Device::flex()).unwrap();
    assert!(matches!(ended, Outcome::Finished(result) if result.per_time.len() == 4));
}

#[test]
fn a_domain_that_no_step_sees_is_refused() {
    let mut config = config();
    planted(&mut config).live[2] = [0.495, 0.505];
    let error = Prepared::new(&config).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("`data.planted.live`: has domain 2 live from 0.495 to 0.505"), "{error}");
}
