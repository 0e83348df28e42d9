//! A run that is killed or interrupted goes on as if nothing had been; a cold start does not.

#![cfg(unix)]

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    damage::{edit_tensors, rehash},
    support::{Ended, Run, TINY, checkpoints, reproducible},
};

/// A run of 120 steps with so large a table of embeddings that writing a checkpoint takes a while.
const LARGE: &str = "
arm = 'large'
[data.planted]
train = 1280
validation = 64
test = 2000
filler_words = 20000
fillers_per_text = 40
[optim]
ema_decay = 0.9
[train]
batch_size = 32
checkpoint_every = 4
eval_every = 10
log_every = 3
";

/// When a run is stopped, seen from the outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    /// As soon as the folder is claimed.
    Claimed,
    /// As soon as the first event is logged.
    Started,
    /// While a checkpoint is written.
    Writing,
    /// As soon as `latest` has moved so many times.
    Pointed(usize),
    /// Between two checkpoints: something was logged since `latest` moved.
    Between,
    /// As soon as a checkpoint counts an evaluation that was not the best.
    Waiting,
    /// While a trial runs: what is wanted measured is the last line of the log, and this process has written it.
    Measuring,
    /// After the last step, before the result is there.
    Stopped,
}

/// What can be seen of a run from the outside.
#[derive(Clone, Debug, PartialEq)]
struct Sight {
    latest: Option<String>,
    log: u64,
}

impl Sight {
    fn of(run: &Run) -> Self {
        let log = fs::metadata(run.dir.events()).map_or(0, |file| file.len());
        Self { latest: run.pointed("latest"), log }
    }
}

/// Whether a checkpoint is being written.
fn is_writing(run: &Run) -> bool {
    let Ok(entries) = fs::read_dir(run.dir.checkpoints()) else { return false };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .into_iter()
        .any(|name| name.ends_with(".tmp") && name.starts_with(".step-") && !name.contains("old"))
}

fn is_stopped(run: &Run) -> bool {
    fs::read_to_string(run.dir.events()).is_ok_and(|log| log.contains(r#""event":"stop""#))
}

/// The last line of the log, whole or not.
fn last_line(run: &Run) -> String {
    let log = fs::read_to_string(run.dir.events()).unwrap_or_default();
    log.lines().last().unwrap_or_default().to_owned()
}

/// What the latest checkpoint says; 0 when it is just being replaced.
pub(crate) fn evaluations_since_best(run: &Run) -> u64 {
    let manifest = run.pointed("latest").map(|name| run.checkpoint(&name).join("manifest.json"));
    let manifest = manifest.and_then(|path| fs::read(path).ok());
    manifest.map_or(0, |manifest| {
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        manifest["state"]["evaluations_since_best"].as_u64().unwrap()
    })
}

/// Starts or goes on with a run and comes back at `moment` with the process still there.
fn start_until(run: &Run, moment: Moment) -> Child {
    const LIMIT: Duration = Duration::from_secs(120);
    let begun = Instant::now();
    let mut moves: Vec<Sight> = vec![Sight::of(run)];
    let said = last_line(run);
    let mut child = run.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    loop {
        let now = Sight::of(run);
        if moves.last().unwrap().latest != now.latest {
            moves.push(now.clone());
        }
        let moved = moves.len() - 1;
        let reached = match moment {
            Moment::Claimed => run.dir.config().exists(),
            Moment::Started => now.log > 0,
            Moment::Writing => is_writing(run),
            Moment::Pointed(times) => moved >= times,
            Moment::Between => moved >= 1 && now.log > moves[moved].log,
            Moment::Waiting => evaluations_since_best(run) > 0,
            Moment::Measuring => {
                let line = last_line(run);
                line != said && line.contains(r#""action":"measure""#) && line.ends_with('}')
            }
            Moment::Stopped => is_stopped(run),
        };
        if reached {
            return child;
        }
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "the run ended before {moment:?}");
        assert!(begun.elapsed() < LIMIT, "{moment:?} has not come");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Kills a run at `moment`; says whether it was really hit.
fn kill(run: &Run, moment: Moment) -> bool {
    let mut child = start_until(run, moment);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let killed = status.signal() == Some(9);
    killed && (moment != Moment::Writing || is_writing(run)) && !run.dir.result().exists()
}

/// Kills a run at `moment`, in a later session if the first ones were past it when the signal came.
pub(crate) fn kill_surely(run: &Run, moment: Moment) {
    const TRIES: usize = 5;
    assert!((0..TRIES).any(|_| kill(run, moment)), "{moment:?} was missed {TRIES} times");
}

/// Sends a signal at `moment`; says how the run ended.
fn signal(run: &Run, moment: Moment, name: &str) -> Ended {
    stop(start_until(run, moment), name)
}

fn stop(child: Child, name: &str) -> Ended {
    send(&child, name);
    Ended::from(child.wait_with_output().unwrap())
}

fn send(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Goes on to the end, really from the checkpoint: starting anew would give the same bits, later.
#[track_caller]
pub(crate) fn go_on(run: &Run) {
    let from = run.pointed("latest").map(|name| name["step-".len()..].parse::<u64>().unwrap());
    let ended = run.train().well();
    let said = from.map(|step| format!("resuming at step {step} of "));
    assert!(said.is_some_and(|said| ended.stderr.contains(&said)), "{from:?}: {}", ended.stderr);
}

#[track_caller]
pub(crate) fn assert_same(run: &Run, other: &Run, names: &[String]) {
    let (one, other) = (reproducible(run, names), reproducible(other, names));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    let differing: Vec<&String> = one.keys().filter(|key| one[*key] != other[*key]).collect();
    assert!(differing.is_empty(), "differ in {differing:?}");
}

/// Two of the same run, of which one is killed twice: all their checkpoints are the same.
#[track_caller]
pub(crate) fn goes_on_after_kills(run: impl Fn(&str) -> Run) {
    let [whole, killed] =
        ["whole", "killed"].map(|name| run(name).set("train.checkpoint_every=1").set("train.keep_last=100"));
    whole.train().well();
    kill_surely(&killed, Moment::Pointed(3));
    kill_surely(&killed, Moment::Pointed(9));
    go_on(&killed);
    assert_same(&whole, &killed, &checkpoints(&whole));
}

/// The weights under training and the averaged ones at the end, as hashes.
fn weights(run: &Run) -> [serde_json::Value; 2] {
    let latest = run.pointed("latest").unwrap();
    let facts = reproducible(run, std::slice::from_ref(&latest));
    ["model", "average"].map(|file| facts[&format!("checkpoints/{latest}/{file}.safetensors")].clone())
}

#[test]
fn a_run_killed_at_ten_moments_is_bit_identical_to_an_uninterrupted_one() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", LARGE);
    whole.train().well();
    let killed = Run::new(folder.path(), "killed", LARGE);
    let moments = [
        Moment::Claimed,
        Moment::Started,
        Moment::Writing,
        Moment::Pointed(1),
        Moment::Between,
        Moment::Writing,
        Moment::Pointed(2),
        Moment::Between,
        Moment::Writing,
        Moment::Pointed(3),
        Moment::Stopped,
    ];
    for moment in moments {
        kill_surely(&killed, moment);
    }
    go_on(&killed);
    assert_eq!(checkpoints(&whole), checkpoints(&killed));
    assert_same(&whole, &killed, &checkpoints(&whole));
}

#[test]
fn a_run_that_is_interrupted_writes_a_checkpoint_and_goes_on_bit_identically() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", LARGE);
    whole.train().well();
    let interrupted = Run::new(folder.path(), "interrupted", LARGE);
    for (moment, name) in [
        (Moment::Started, "INT"),
        (Moment::Writing, "INT"),
        (Moment::Between, "TERM"),
        (Moment::Between, "INT"),
    ] {
        let ended = signal(&interrupted, moment, name);
        assert_eq!(ended.code, Some(130), "{moment:?}: {}", ended.stderr);
        let step = interrupted.pointed("latest").unwrap()["step-".len()..].parse::<u64>().unwrap();
        assert!(ended.stderr.contains(&format!("interrupted after step {step};")), "{}", ended.stderr);
        assert!(!is_writing(&interrupted));
    }
    go_on(&interrupted);
    // Checkpoints of interrupts count among the last ones that are kept, so that others may be there.
    let named = ["latest", "best"].map(|pointer| whole.pointed(pointer).unwrap());
    assert_same(&whole, &interrupted, &named);
}

/// A scheduler tells every process of a job, and the ablation that started the run tells it once more.
#[test]
fn signals_that_come_together_are_one_request() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", LARGE);
    let child = start_until(&run, Moment::Between);
    for name in ["TERM", "INT"] {
        send(&child, name);
        thread::sleep(Duration::from_millis(2));
    }
    let ended = stop(child, "TERM");
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("interrupted after step "), "{}", ended.stderr);
}

/// Two trials of 2,400 steps on forks each; without them the run takes a moment.
const MEASURING: &str = "
arm = 'measuring'
[data.planted]
train = 19200
validation = 64
test = 64
[model.routing.top_k]
n_experts = 4
[optim]
ema_decay = 0.9
[train]
batch_size = 32
checkpoint_every = 300
[train.budget]
epochs = 2.0
[control.edits]
every = 500
warmup = 0.0
until = 1.0
[control.policy.lookahead]
cooldown = 0
horizon = 600
race_every = 200
confidence = 0.0
";

#[test]
fn a_trial_that_is_interrupted_stops_at_once_and_is_held_again_bit_identically() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", MEASURING);
    whole.train().well();
    let measured = |run: &Run| run.events().iter().filter(|event| event["action"] == "measure").count();
    assert!(measured(&whole) >= 2, "{:?}", whole.events());
    let interrupted = Run::new(folder.path(), "interrupted", MEASURING);
    for (turn, name) in ["INT", "TERM"].into_iter().cycle().take(10).enumerate() {
        let child = start_until(&interrupted, Moment::Measuring);
        // Somewhere in the trial, another place each time.
        thread::sleep(Duration::from_millis(turn as u64 * 37 % 100));
        let ended = stop(child, name);
        assert_eq!(ended.code, Some(130), "{}", ended.stderr);
        assert!(ended.stderr.contains("interrupted after step 500;"), "{}", ended.stderr);
        let last: serde_json::Value = serde_json::from_str(&last_line(&interrupted)).unwrap();
        assert_eq!(
            (&last["action"], &last["step"]),
            (&"measure".into(), &500.into()),
            "the log tells of the trial"
        );
        assert_eq!(interrupted.pointed("latest").unwrap(), "step-00000500");
    }
    go_on(&interrupted);
    let named = ["latest", "best"].map(|pointer| whole.pointed(pointer).unwrap());
    assert_same(&whole, &interrupted, &named);
}

#[test]
fn another_seed_is_another_run() {
    let folder = TempDir::new().unwrap();
    let [one, again, other] = ["one", "again", "other"].map(|name| Run::new(folder.path(), name, TINY));
    let other = other.set("seed=1");
    for run in [&one, &again, &other] {
        run.train().well();
    }
    assert_same(&one, &again, &checkpoints(&one));
    let ([a, b], [c, d]) = (weights(&one), weights(&other));
    assert!(a != c && b != d);
    assert_ne!(one.events()[1], other.events()[1]);
}

#[test]
fn a_run_whose_checkpoints_were_deleted_starts_anew_and_says_so() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", TINY);
    let ended = whole.train().well();
    let lost = Run::new(folder.path(), "lost", TINY);
    kill_surely(&lost, Moment::Pointed(2));
    fs::remove_dir_all(lost.dir.checkpoints()).unwrap();
    let anew = lost.train().well();
    for (ended, says_so) in [(ended, false), (anew, true)] {
        assert!(!ended.stderr.contains("resuming"), "{}", ended.stderr);
        assert_eq!(ended.stderr.contains("started anew"), says_so, "{}", ended.stderr);
    }
    assert_same(&whole, &lost, &checkpoints(&whole));
}

#[test]
fn a_run_resumed_without_its_optimizer_state_differs() {
    let folder = TempDir::new().unwrap();
    let whole = Run::new(folder.path(), "whole", TINY);
    whole.train().well();
    for (what, state) in
        [("first moments", "moment_1."), ("second moments", "moment_2."), ("steps", "steps.")]
    {
        let cold = Run::new(folder.path(), state.trim_end_matches('.'), TINY);
        kill_surely(&cold, Moment::Pointed(2));
        let latest = cold.pointed("latest").unwrap();
        let touched = edit_tensors(&cold.checkpoint(&latest).join("optimizer.safetensors"), |tensors| {
            for (_, tensor) in tensors.iter_mut().filter(|(name, _)| name.starts_with(state)) {
                tensor.bytes.fill(0);
            }
        });
        assert!(touched, "{what}: nothing to forget at {latest}");
        rehash(&cold, &latest);
        go_on(&cold);
        assert_ne!(weights(&cold), weights(&whole), "{what}");
    }
}
