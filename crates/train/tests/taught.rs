//! A head that begins with what other runs measured, or that was taught before any of them: read from their logs or from
//! its file, part of its state from then on, and refused when that is not there, not finished or damaged.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use burn::tensor::Device;
use moelt_control::head::SHIPPED;
use moelt_schema::{EffectHeadConfig, Move, PolicyConfig, RunConfig, RunDir, RunRef, TaughtFile};
use moelt_train::Trainer;
use tempfile::TempDir;

use support::{FROZEN, Finished, LOOKAHEAD, config, finish, interrupt};

/// A run that measures everything.
fn teaching(seed: u64, horizon: u64) -> RunConfig {
    let policy = format!("{LOOKAHEAD}confidence = 1e9\nhorizon = {horizon}");
    config(&policy, |config| config.seed = seed)
}

/// Runs that measured everything.
static TEACHERS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    for seed in 71..=74 {
        finish(&teaching(seed, 3), &RunDir::new(folder.path().join(seed.to_string())));
    }
    folder
});

fn teacher(seed: u64) -> PathBuf {
    TEACHERS.path().join(seed.to_string())
}

/// What a finished run is known by.
fn copy_result(run: &Path, to: &Path) {
    fs::create_dir_all(to.join("predictions")).unwrap();
    for file in ["result.json", "events.jsonl", "predictions/validation.csv", "predictions/test.csv"] {
        fs::copy(run.join(file), to.join(file)).unwrap();
    }
}

/// A head that learns from these folders.
fn learner(folders: &[&Path]) -> RunConfig {
    let policy = format!("{LOOKAHEAD}confidence = 0.0\nhorizon = 3\nexpert_cost = 0.0\nhead = {{}}");
    config(&policy, |config| {
        let PolicyConfig::Lookahead(lookahead) = &mut config.control.policy else { panic!() };
        let named = folders.iter().map(|path| RunRef::from(path.display().to_string()));
        lookahead.head.as_mut().unwrap().records_of = named.collect();
    })
}

fn run_in(folder: &TempDir, config: &RunConfig) -> Finished {
    finish(config, &RunDir::new(folder.path().join("run")))
}

#[test]
fn what_other_runs_measured_is_known_at_the_first_decision() {
    let teachers: Vec<PathBuf> = (71..=74).map(teacher).collect();
    let teachers: Vec<&Path> = teachers.iter().map(PathBuf::as_path).collect();
    let taught = run_in(&TempDir::new().unwrap(), &learner(&teachers));
    let alone = run_in(&TempDir::new().unwrap(), &learner(&[]));
    let head = taught.manifest.state.policy.head.as_ref().unwrap();
    let of_run = |run| head.records.iter().filter(|record| record.run == run).count() as f64;
    assert!((1..=4).all(|run| of_run(run) > 20.0));
    assert_eq!(taught.numbers("records")[0], (1..=4).map(of_run).sum::<f64>());
    assert_eq!(alone.numbers("records")[0], 0.0);
    let forecasts =
        |run: &Finished| run.trials(0, Move::Prune).iter().filter(|trial| trial.forecast.is_some()).count();
    assert!(forecasts(&taught) > forecasts(&alone), "{} {}", forecasts(&taught), forecasts(&alone));
}

#[test]
fn a_run_that_goes_on_does_not_need_its_teachers_any_more() {
    let whole = run_in(&TempDir::new().unwrap(), &learner(&[&teacher(71)]));
    let (folder, teachers) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let copy = teachers.path().join("teacher");
    copy_result(&teacher(71), &copy);
    let config = learner(&[&copy]);
    let run = RunDir::new(folder.path().join("run"));
    // Before the first decision.
    interrupt(&config, &run, 2);
    fs::remove_dir_all(&copy).unwrap();
    interrupt(&config, &run, 12);
    let resumed = finish(&config, &run);
    assert_eq!(resumed.actions(), whole.actions());
    assert_eq!(resumed.manifest.state.policy, whole.manifest.state.policy);
    assert!(whole.losses.ends_with(&resumed.losses));
}

#[test]
fn a_teacher_that_cannot_teach_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["unfinished", "damaged", "cut", "twice"] {
        copy_result(&teacher(71), &path(name));
    }
    fs::remove_file(path("unfinished/result.json")).unwrap();
    fs::write(path("damaged/events.jsonl"), "{\"step\":5,\"event\":\"deci").unwrap();
    let whole = fs::read_to_string(teacher(71).join("events.jsonl")).unwrap();
    let cut: Vec<&str> = whole.lines().take(9).collect();
    fs::write(path("cut/events.jsonl"), cut.join("\n") + "\n").unwrap();
    let frozen = config(FROZEN, |config| config.seed = 75);
    finish(&frozen, &RunDir::new(path("frozen")));
    let twin = teaching(learner(&[]).seed, 3);
    finish(&twin, &RunDir::new(path("twin")));
    for (teachers, expected) in [
        (vec![path("nowhere")], "has no result.json"),
        (vec![path("unfinished")], "has no result.json"),
        (vec![path("damaged")], "events.jsonl:1: "),
        (vec![path("cut")], "events.jsonl: its decisions have hash"),
        (vec![teacher(71), path("twice")], "is the same run as"),
        (vec![path("frozen")], "measured no move"),
        (vec![path("twin")], "this run's own seed"),
        (
            vec![PathBuf::from("{lookahead}")],
            r#"a cell of an ablation; name the folder of a finished run: --set control.policy.lookahead.head.records_of='["DIR"]'"#,
        ),
    ] {
        let run = RunDir::new(path("run"));
        let teachers: Vec<&Path> = teachers.iter().map(PathBuf::as_path).collect();
        let error = Trainer::new(learner(&teachers)).run(run.path(), &Device::flex()).unwrap_err();
        let message = format!("{error:#}");
        assert!(
            message.contains("control.policy.lookahead.head.records_of") && message.contains(expected),
            "{message}"
        );
        assert!(!run.config().exists(), "nothing is claimed");
    }
}

#[test]
fn runs_of_one_seed_are_one_teacher() {
    let folder = TempDir::new().unwrap();
    finish(&teaching(71, 4), &RunDir::new(folder.path().join("longer")));
    let names = [teacher(71), teacher(72), folder.path().join("longer")];
    let names: Vec<&Path> = names.iter().map(PathBuf::as_path).collect();
    let runs = moelt_train::decided_runs("RUN", &names).unwrap();
    assert_eq!(
        runs.iter().map(|run| (run.number, run.seed)).collect::<Vec<_>>(),
        [(1, 71), (2, 72), (1, 71)]
    );
}

/// A head that was taught before, and knows no mercy: it acts where a move is likelier to gain than not.
fn pupil(taught: &str, ask_above: f64) -> RunConfig {
    let policy = format!("{LOOKAHEAD}confidence = 0.0\nhorizon = 3\nexpert_cost = 0.01\nhead = {{}}");
    config(&policy, |config| {
        let PolicyConfig::Lookahead(lookahead) = &mut config.control.policy else { panic!() };
        let (taught, act_above) = (Some(taught.to_owned()), 0.5);
        lookahead.head =
            Some(EffectHeadConfig { taught, act_above, ask_above, ..EffectHeadConfig::default() });
    })
}

#[test]
fn a_run_with_a_taught_head_goes_on_bit_for_bit_without_its_file() {
    let (folder, heads) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = heads.path().join("head.json");
    fs::write(&path, SHIPPED).unwrap();
    let config = pupil(path.to_str().unwrap(), 0.0);
    let whole = run_in(&TempDir::new().unwrap(), &config);
    let run = RunDir::new(folder.path().join("run"));
    // Before the first decision.
    interrupt(&config, &run, 2);
    fs::remove_file(&path).unwrap();
    interrupt(&config, &run, 12);
    let resumed = finish(&config, &run);
    assert_eq!(resumed.actions(), whole.actions());
    assert_eq!(resumed.manifest.state.policy, whole.manifest.state.policy);
    assert!(whole.losses.ends_with(&resumed.losses));
    let known = TaughtFile::from_json(SHIPPED).unwrap().head;
    assert_eq!(resumed.result.taught_flops, known.flops);
    assert_eq!(whole.manifest.state.policy.head.unwrap().taught, Some(known), "it learns no more");
}

#[test]
fn a_taught_head_decides_alone_and_costs_nothing() {
    let run = run_in(&TempDir::new().unwrap(), &pupil(EffectHeadConfig::SHIPPED, 1e6));
    assert!(run.numbers("asked").iter().all(|asked| *asked == 0.0));
    let trials = [0, 1].map(|layer| run.trials(layer, Move::Prune));
    assert!(trials.iter().flatten().count() > 0);
    assert!(trials.iter().flatten().all(|trial| trial.forecast.is_some() && trial.effect.is_none()));
    assert!(run.result.measuring_flops.is_zero());
}

#[test]
fn a_taught_head_that_cannot_serve_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let altered = SHIPPED.replacen("\"tasks\":", "\"tasks\":1", 1);
    let TaughtFile { ranges, teaching, mut head, .. } = TaughtFile::from_json(SHIPPED).unwrap();
    head.networks.pop();
    let smaller = TaughtFile::new("0.1.0", ranges, teaching, head).to_json();
    for (name, text) in [("altered", altered.as_str()), ("smaller", &smaller), ("config", "hidden = 3")] {
        fs::write(path(name), text).unwrap();
    }
    for (name, expected) in [
        ("nowhere", "cannot be read"),
        ("altered", "digest: is "),
        ("smaller", "head.networks: are 7; must be 8"),
        ("config", "expected value"),
    ] {
        let run = RunDir::new(folder.path().join("run"));
        let error = Trainer::new(pupil(&path(name), 0.0)).run(run.path(), &Device::flex()).unwrap_err();
        let message = format!("{error:#}");
        for part in ["control.policy.lookahead.head.taught", name, expected] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(message.contains("moelt control teach") || message.contains("`shipped`"), "{message}");
        assert!(!run.config().exists(), "nothing is claimed");
    }
}
