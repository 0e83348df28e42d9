//! Whatever happens to a command from outside, no finished work is lost, no half of a file is taken for whole, and what is done
//! again comes to the same.
//!
//! The number of kills is `MOELT_KILLS` (default 24): CI takes a few, `.ci/nightly` hundreds. Each test prints what it saw.

#![cfg(unix)]

mod files;
mod kills;
mod limits;

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    resume::assert_same,
    support::{Ended, Run},
};

/// Laid over a run that is to be hit: long enough to be hit anywhere, with checkpoints often.
const LONG: &str = "
arm = 'hit'
[data.planted]
train = 1280
validation = 64
test = 640
filler_words = 4000
[model]
d_model = 16
d_ff = 8
[optim]
ema_decay = 0.9
[train]
batch_size = 32
checkpoint_every = 5
eval_every = 10
log_every = 5
";

/// Kills of all tests together that strike at random moments.
fn n_kills() -> usize {
    env::var("MOELT_KILLS").map_or(24, |kills| kills.parse().expect("MOELT_KILLS must be a number"))
}

/// The `i`-th of any number of fractions that lie evenly, in no order (the golden ratio's multiples).
fn fraction(i: usize) -> f64 {
    (i as f64 * 0.618_033_988_749_895).fract()
}

/// A command's process, with its output kept.
fn start(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends a signal; says whether anybody took it. A process that has ended and was not waited for does, too.
fn signal(child: &Child, signal: &str) -> bool {
    let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).output().unwrap();
    sent.status.success()
}

/// Does something while a process stands still, or after it has ended.
fn held(child: &Child, act: impl FnOnce()) {
    signal(child, "STOP");
    // Where there is no such file the process has ended, or the system is one on which it stands still at once.
    let status = || fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let runs = || ["R", "S", "D"].iter().any(|state| status().contains(&format!("State:\t{state}")));
    while runs() {
        thread::sleep(Duration::from_millis(1));
    }
    act();
    signal(child, "CONT");
}

/// Sends a signal after a while; says how the command ended, and whether the signal found it still there.
fn hit(command: Command, after: Duration, by: &str) -> (Ended, bool) {
    let child = start(command);
    thread::sleep(after);
    let taken = signal(&child, by);
    let ended = Ended::from(child.wait_with_output().unwrap());
    let was_there = taken && ended.code != Some(0);
    (ended, was_there)
}

/// How long a command takes that ends well.
fn timed(command: Command) -> Duration {
    let begun = Instant::now();
    Ended::of(command, "").well();
    begun.elapsed()
}

/// Asserts that a command that was refused something says so in an error, and does not panic or end well.
#[track_caller]
fn failed_cleanly(ended: &Ended, what: &str) {
    assert!(ended.code == Some(1) || ended.code == Some(130), "{what}: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{what}: {}", ended.stderr);
    assert!(ended.code == Some(130) || ended.stderr.contains("error: "), "{what}: {}", ended.stderr);
}

/// Goes on to the end, wherever the run stands; it must be as `whole` is.
#[track_caller]
fn ends_like(run: &Run, whole: &Run) {
    run.train().well();
    let named = ["latest", "best"].map(|pointer| whole.pointed(pointer).unwrap());
    assert_same(whole, run, &named);
}

/// Nothing half-written lies in a folder: no temporary file or folder.
#[track_caller]
fn nothing_half(folder: &Path) {
    let left: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
