//! Signals at random moments, SIGKILL above all.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use super::{LONG, ends_like, fraction, hit, n_kills, nothing_half, timed};
use crate::support::{Ended, Run, TINY, files, json, moelt};

/// A tenth of the kills for each kind of run, by what is set over [`LONG`]: what they do when they are hit.
const RUNS: [(&str, &[&str]); 5] = [
    ("train", &[]),
    (
        "trial",
        &[
            "control.policy=lookahead",
            "control.policy.lookahead.horizon=10",
            "control.policy.lookahead.race_every=5",
            "control.policy.lookahead.cooldown=0",
            "control.edits.every=20",
        ],
    ),
    ("split and drop", &["control.policy=split_and_drop"]),
    (
        "edits",
        &[
            "control.policy=rule",
            "control.policy.rule.prune_below=0.95",
            "control.policy.rule.cooldown=1",
            "control.policy.rule.confirm=1",
            "control.edits.every=5",
        ],
    ),
    ("lazy rows", &["optim.embedding_update=lazy", "model.unit=token"]),
];

/// Signals in turn. After SIGKILL nothing can be done any more; after the others a checkpoint is written.
const SIGNALS: [&str; 6] = ["KILL", "KILL", "TERM", "KILL", "HUP", "INT"];

/// Hits a run at fractions of the time that it takes, and lets it go on each time. Says how often it was hit by SIGKILL and by
/// others.
fn hit_often(run: &Run, whole: Duration, times: usize) -> [usize; 2] {
    let mut struck = [0; 2];
    for i in 0..times {
        let signal = SIGNALS[i % SIGNALS.len()];
        let (ended, was_there) = hit(run.command(), whole.mul_f64(fraction(i)), signal);
        if !was_there {
            // It was done before: from the start again.
            ended.well();
            fs::remove_dir_all(run.dir.path()).unwrap();
            continue;
        }
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        // Before its handler is there, a signal ends a program as any other.
        assert!(ended.code.is_none_or(|code| code == 130), "{signal}: {ended:?}");
        struck[usize::from(signal != "KILL")] += 1;
    }
    struck
}

#[test]
fn runs_that_are_hit_at_random_moments_end_as_if_they_had_not_been() {
    let folder = TempDir::new().unwrap();
    for (name, sets) in RUNS {
        let configured = |place: &str| {
            let run = Run::new(folder.path(), &format!("{place}-{}", name.replace(' ', "-")), LONG);
            sets.iter().fold(run, |run, set| run.set(*set))
        };
        let whole = configured("whole");
        let takes = timed(whole.command());
        let run = configured("hit");
        let [killed, stopped] = hit_often(&run, takes, n_kills() / 8 + 1);
        ends_like(&run, &whole);
        println!("{name}: {killed} kills and {stopped} other signals in {takes:.1?}, nothing lost");
    }
}

/// A command that makes one new folder or file: when it is killed there is all of it or nothing.
fn all_or_nothing(name: &str, times: usize, command: impl Fn(&Path) -> Command, folder: &Path) {
    let whole = folder.join(format!("{name}-whole"));
    let takes = timed(command(&whole));
    let expected = files(&whole);
    let mut killed = 0;
    for i in 0..times {
        let out = folder.join(format!("{name}-{i}"));
        let (_, was_there) = hit(command(&out), takes.mul_f64(fraction(i)), "KILL");
        killed += usize::from(was_there);
        if !out.exists() {
            Ended::of(command(&out), "").well();
        }
        assert_eq!(files(&out), expected, "{name}, kill {i}");
    }
    nothing_half(folder);
    println!("{name}: {killed} kills, all or nothing");
}

#[test]
fn what_is_written_once_is_there_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", LONG);
    run.train().well();
    let on_run = |words: &[&str], out: &Path| {
        let mut command = moelt([words[0]]);
        command.arg(run.dir.path()).args(&words[1..]).arg("--out").arg(out);
        command
    };
    let times = n_kills() / 12 + 1;
    all_or_nothing("edit", times, |out| on_run(&["edit", "--grow", "0:1"], out), folder.path());
    all_or_nothing("export", times, |out| on_run(&["export"], out), folder.path());
    let exported = folder.path().join("export-whole");
    let exported = exported.to_str().unwrap();
    all_or_nothing("import", times, |out| on_run(&["import", exported], out), folder.path());
}

/// A report without the seconds that cells took and without the machine's facts.
fn timeless(report: &Path) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("seconds");
                fields.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut report = json(report);
    strip(&mut report);
    report
}

#[test]
fn an_ablation_that_is_killed_comes_to_the_same_report() {
    let ablate = |folder: &Path, words: &[&str]| {
        let mut command = moelt(["ablate"]);
        command.current_dir(folder).args(words);
        command
    };
    let sets = [
        "data.planted.train=640",
        "data.planted.validation=64",
        "data.planted.test=64",
        "train.budget.epochs=1",
    ];
    let whole_ablation = |folder: &Path| {
        let mut command =
            ablate(folder, &["--phases", "frozen-2,frozen-4,rule", "--seeds", "2", "--name", "a"]);
        sets.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        command
    };
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [whole, killed] = [&folders[0], &folders[1]].map(|folder| folder.path());
    let takes = timed(whole_ablation(whole));
    let collect = |folder| ablate(folder, &["collect", "--name", "a"]);
    let collecting = timed(collect(whole));
    let report = |folder: &Path| timeless(&folder.join("runs/a/report.json"));

    let mut struck = 0;
    for i in 0..n_kills() / 12 + 1 {
        let (ended, was_there) = hit(whole_ablation(killed), takes.mul_f64(fraction(i)), "KILL");
        struck += usize::from(was_there);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
    // Cells of a killed ablation train on: one that is begun twice says so, and is taken up when it is over.
    while Ended::of(whole_ablation(killed), "").code != Some(0) {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(report(killed), report(whole));
    for i in 0..n_kills() / 12 + 1 {
        let (_, was_there) = hit(collect(killed), collecting.mul_f64(fraction(i)), "KILL");
        struck += usize::from(was_there);
        // What is there is a whole report, the old one or the new one.
        assert_eq!(report(killed), report(whole));
    }
    Ended::of(collect(killed), "").well();
    println!("ablate and collect: {struck} kills, the same report");
}

#[test]
fn a_prediction_file_is_there_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY);
    run.train().well();
    let texts = folder.path().join("texts.txt");
    fs::write(&texts, "w1 w2 w3 w4 w5 w6\n".repeat(20_000)).unwrap();
    let predict = |out: &Path| {
        let mut command = moelt(["predict"]);
        command.arg(run.dir.path()).arg(&texts).arg("--out").arg(out);
        command
    };
    let whole = folder.path().join("whole.csv");
    let takes = timed(predict(&whole));
    let expected = fs::read(&whole).unwrap();
    let mut killed = 0;
    for i in 0..n_kills() / 12 + 1 {
        let out = folder.path().join(format!("{i}.csv"));
        killed += usize::from(hit(predict(&out), takes.mul_f64(fraction(i)), "KILL").1);
        assert!(!out.exists() || fs::read(&out).unwrap() == expected, "kill {i}");
        Ended::of(predict(&out), "").well();
        assert_eq!(fs::read(&out).unwrap(), expected, "kill {i}");
    }
    println!("predict --out: {killed} kills, all or nothing");
}
