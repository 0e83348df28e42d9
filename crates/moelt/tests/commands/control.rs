//! What measured edits of finished runs teach.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use moelt_eval::{Decided, decisions_from_jsonl};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ended, Run, TINY, copy, json, moelt};

/// Many decisions, each of which measures two moves and edits nothing.
const ONCE: [&str; 6] = [
    "control.policy.lookahead.candidates=['grow', 'prune']",
    "control.policy.lookahead.confidence=1e6",
    "control.policy.lookahead.horizon=2",
    "control.edits.every=3",
    "control.edits.warmup=0.01",
    "control.edits.until=0.95",
];

/// … and measures each of them twice.
const STUDY: &str = "control.policy.lookahead.study={}";

/// Such runs of four seeds, one that measured once, one for which experts are dear, and one that measured nothing.
struct Finished {
    folder: TempDir,
}

impl Finished {
    fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy that may be changed.
    fn copied(&self, name: &str, folder: &TempDir) -> PathBuf {
        let to = folder.path().join("copy");
        copy(&self.run(name), &to);
        to
    }
}

static FINISHED: LazyLock<Finished> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let train = |name: &str, sets: &[&str]| {
        let run = Run::new(folder.path(), name, TINY);
        sets.iter().fold(run, |run, set| run.set(*set)).train().well();
    };
    for (name, seed) in [("first", "seed=0"), ("second", "seed=1"), ("third", "seed=2"), ("fourth", "seed=3")]
    {
        train(name, &[&ONCE[..], &[STUDY, seed]].concat());
    }
    train("once", &[&ONCE[..], &["seed=4"]].concat());
    train("dear", &[&ONCE[..], &[STUDY, "control.policy.lookahead.expert_cost=0.5", "seed=5"]].concat());
    train("frozen", &[]);
    Finished { folder }
});

fn control<'a>(what: &str, runs: impl IntoIterator<Item = &'a Path>, options: &[&str]) -> Ended {
    let mut command = moelt(["control", what]);
    command.args(runs).args(options);
    Ended::of(command, "")
}

const SEEDS: [&str; 4] = ["first", "second", "third", "fourth"];

fn said(what: &str, options: &[&str]) -> String {
    let runs = SEEDS.map(|name| FINISHED.run(name));
    control(what, runs.iter().map(PathBuf::as_path), options).well().stdout
}

#[track_caller]
fn refused(what: &str, runs: &[&Path], options: &[&str], parts: &[&str]) {
    control(what, runs.iter().copied(), options).with_error(what, parts);
}

/// Another event log, as if the run had written it.
fn write_log(run: &Path, log: &str) {
    let (events, path) = (run.join("events.jsonl"), run.join("result.json"));
    fs::write(&events, log).unwrap();
    let mut result = json(&path);
    let decisions = decisions_from_jsonl(log, "events.jsonl").unwrap();
    result["decisions"] = serde_json::to_value(Decided::digest(&decisions)).unwrap();
    fs::write(&path, result.to_string()).unwrap();
}

#[test]
fn a_report_says_what_knows_the_second_gain() {
    let text = said("report", &[]);
    for part in
        ["Does the signal know anything?", "measured effect", "entropy labels", "rank correlation [95 %]"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let report: Value = serde_json::from_str(&said("report", &["--json"])).unwrap();
    assert_eq!((&report["cells"], &report["left_out"]), (&Value::from(4), &Value::from(0)));
    assert_eq!(report["sources"][2]["correlation"]["records"], report["records"]);
}

#[test]
fn a_head_is_tried_on_the_run_that_it_has_not_seen() {
    let text = said("fit", &[]);
    let runs = SEEDS.map(|name| FINISHED.run(name).display().to_string());
    let usage =
        format!("--set seed=4 --set control.policy.lookahead.head.records_of='[\"{}\"]'", runs.join("\",\""));
    for part in ["grow", "prune", "moves in runs that it has not seen the head would make", &usage] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("halve"), "nobody measured it: {text}");
    assert_eq!(text, said("fit", &[]), "the same every time");

    let fit: Value = serde_json::from_str(&said("fit", &["--json"])).unwrap();
    let records = |told: &Value, what: &str| told[what]["records"].as_u64().unwrap();
    let moves = fit["moves"].as_array().unwrap();
    for told in moves.iter().chain([&fit["total"]]) {
        let parts: u64 = ["made", "asked", "kept"].map(|what| records(told, what)).iter().sum();
        assert_eq!(parts, told["records"].as_u64().unwrap(), "{told}");
        assert_eq!((&told["unknown"], &told["correlation"]["cells"]), (&Value::from(0), &Value::from(4)));
    }
    let names: Vec<_> = moves.iter().map(|one| one["move"].as_str().unwrap()).collect();
    assert_eq!(names, ["grow", "prune"]);
}

#[test]
fn what_is_set_moves_the_bars() {
    let total = |bar: &str| {
        let set = &format!("control.policy.lookahead.head.{bar}");
        let fit: Value = serde_json::from_str(&said("fit", &["--set", set, "--json"])).unwrap();
        fit["total"].clone()
    };
    let made_never = total("act_above=1");
    assert_eq!(made_never["made"]["records"], 0);
    let asked_never = total("ask_above=1000");
    assert_eq!(asked_never["asked"]["records"], 0);
    assert_eq!(made_never["correlation"], asked_never["correlation"]);
    let [made, asked] = ["act_above=0", "ask_above=0"].map(total);
    assert!(made["made"]["records"].as_u64().unwrap() > 0 && asked["asked"]["records"].as_u64().unwrap() > 0);
}

#[test]
fn the_usage_line_is_taken_by_a_run() {
    let text = said("fit", &[]);
    let (command, sets) = text.lines().last().unwrap().trim().split_once(" --set ").unwrap();
    assert_eq!(command, "moelt train datasets/DATASET phases/head");
    let (seed, records) = sets.split_once(" --set ").unwrap();
    let folder = TempDir::new().unwrap();
    let head = Run::new(folder.path(), "head", TINY).set(seed).set(records.replace('\'', ""));
    head.train().well();
}

const ACT_ABOVE: &str = "control.policy.lookahead.head.act_above";

#[test]
fn runs_that_cannot_answer_are_named_with_the_mend() {
    let run = |name: &str| FINISHED.run(name);
    let (first, once, dear, frozen) = (&*run("first"), &*run("once"), &*run("dear"), &*run("frozen"));
    let name = |path: &Path| path.display().to_string();
    let (once_name, frozen_name) = (name(once), name(frozen));
    refused(
        "report",
        &[first, once],
        &[],
        &[&once_name, "[control.policy.lookahead.study]", "the phase `study`"],
    );
    refused("fit", &[first], &[], &["RUN", "1 seed", "4 seeds at least"]);
    refused("fit", &[first, first], &[], &["the same run"]);
    refused("fit", &[first, frozen], &[], &[&frozen_name, "`control.policy`", "lookahead.toml"]);
    refused("fit", &[first, dear], &[], &[&name(dear), "`control.policy.lookahead.expert_cost`", "one cost"]);
    refused(
        "fit",
        &[first, once],
        &["--set", "control.policy.lookahead.expert_cost=1"],
        &["`control.policy.lookahead.expert_cost`", ACT_ABOVE],
    );
    refused("fit", &[first, once], &["--set", ACT_ABOVE], &["expected key=value"]);
    let beyond = format!("{ACT_ABOVE}=2");
    refused("fit", &[first, once], &["--set", &beyond], &["--set", &format!("`{ACT_ABOVE}`")]);
}

#[test]
fn what_is_no_finished_run_is_refused() {
    let (first, folder) = (&*FINISHED.run("first"), TempDir::new().unwrap());
    for what in ["report", "fit"] {
        for path in [folder.path(), &folder.path().join("nowhere")] {
            refused(what, &[first, path], &[], &[&path.display().to_string(), "no finished run"]);
        }
    }
    let broken = FINISHED.copied("second", &folder);
    let log = fs::read_to_string(broken.join("events.jsonl")).unwrap();
    fs::write(broken.join("events.jsonl"), log.clone() + "{\"event\":\"deci\n").unwrap();
    for what in ["report", "fit"] {
        refused(what, &[first, &broken], &[], &["events.jsonl:", "EOF"]);
    }
    let other = log.replace("\"n_experts\":4", "\"n_experts\":5");
    assert_ne!(log, other);
    fs::write(broken.join("events.jsonl"), other).unwrap();
    for what in ["report", "fit"] {
        refused(what, &[first, &broken], &[], &["events.jsonl: its decisions have hash"]);
    }
    assert!(json(&broken.join("result.json")).is_object());
    fs::remove_file(broken.join("result.json")).unwrap();
    refused("report", &[first, &broken], &[], &["no finished run"]);
}

/// As a moelt with other features would have written it, and one without any.
#[test]
fn features_that_a_head_does_not_see_teach_nothing() {
    let (first, folder) = (&*FINISHED.run("first"), TempDir::new().unwrap());
    let other = FINISHED.copied("second", &folder);
    let log = fs::read_to_string(other.join("events.jsonl")).unwrap();
    let renamed = log.replace("\"slope\":", "\"sloped\":");
    fs::write(other.join("events.jsonl"), renamed).unwrap();
    refused("fit", &[first, &other], &[], &["events.jsonl:", "unknown feature `sloped`"]);
    let without: Vec<String> = log.lines().map(without_features).collect();
    write_log(&other, &without.join("\n"));
    refused("fit", &[first, &other], &[], &[&other.display().to_string(), "features"]);
}

/// A line of the log that says nothing of what a head would see.
fn without_features(line: &str) -> String {
    let mut record: Value = serde_json::from_str(line).unwrap();
    let layers = record.pointer_mut("/evidence/layers").and_then(Value::as_array_mut);
    for layer in layers.into_iter().flatten() {
        assert!(layer.as_object_mut().unwrap().remove("features").is_some());
    }
    record.to_string()
}

#[test]
fn what_cannot_be_taught_is_refused() {
    let folder = TempDir::new().unwrap();
    let teach = |options: &[&str]| {
        let mut command = moelt(["control", "teach", "--out", "head.json"]);
        command.args(options).current_dir(folder.path());
        Ended::of(command, "")
    };
    teach(&["--tasks", "2001"]).with_error("teach", &["--tasks 2001", "seeds 5000 to 6999"]);
    teach(&["--tasks", "1", "--first-seed", "9000"]).with_error("teach", &["--first-seed 9000"]);
    teach(&["--tasks", "1", "--minutes", "0"]).with_error("teach", &["--minutes must be above 0"]);
    assert!(!folder.path().join("runs").exists());
    // Its time is over before a task starts.
    teach(&["--tasks", "1", "--minutes", "1e-9"]).with_error("teach", &["--tasks: none came to its end"]);
    assert!(!folder.path().join("head.json").exists());
}

/// The same tasks make the same file, one or two at a time; another command asks the head.
#[test]
fn a_head_is_taught_and_asked() {
    let taught = |jobs: &str| {
        let folder = TempDir::new().unwrap();
        let teach = || {
            let mut command =
                moelt(["control", "teach", "--tasks", "12", "--out", "head.json", "--json", "--jobs", jobs]);
            command.current_dir(folder.path());
            Ended::of(command, "").well()
        };
        let (first, file) = (teach(), fs::read_to_string(folder.path().join("head.json")).unwrap());
        (folder, first, file)
    };
    let (folder, said, file) = taught("2");
    assert_eq!(file, taught("1").2);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["teaching"]["tasks"], 12);
    assert!(report["flops"]["computed"].as_u64() > Some(0) && report["total"]["records"].as_u64() > Some(50));

    // Six of them have too few halvings to try a head on those left out: nothing is written that nothing is known of.
    let mut few = moelt(["control", "teach", "--tasks", "6", "--out", "few.json"]);
    few.current_dir(folder.path());
    Ended::of(few, "").with_error("teach", &["--tasks: errors.halve", "ask for more tasks"]);
    assert!(!folder.path().join("few.json").exists());

    let head = folder.path().join("head.json").display().to_string();
    let text = control("fit", [FINISHED.run("first").as_path()], &["--taught", &head]).well().stdout;
    for part in ["A head that was taught before is asked", "Taught on 12 tasks", "rank correlation [95 %]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    refused("fit", &[&FINISHED.run("first")], &["--taught", "nowhere.json"], &["--taught", "nowhere.json"]);
}
