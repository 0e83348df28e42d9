//! A file of one's own is trained on once more, whole, when the model has been judged.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ended, files, json, moelt};

/// 60 reviews, of which two tenths are held out.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let row = |i: usize| format!("a {} film number {i},{}\n", ["bad", "good"][i % 2], ["neg", "pos"][i % 2]);
    let rows: String = (0..60).map(row).collect();
    fs::write(folder.path().join("reviews.csv"), format!("text,label\n{rows}")).unwrap();
    folder
}

/// `moelt` in the folder.
fn here(folder: &TempDir, args: &[&str]) -> Ended {
    let mut command = moelt(args);
    command.current_dir(folder.path());
    Ended::of(command, "")
}

fn train(folder: &TempDir, more: &[&str]) -> Ended {
    let train = ["train", "--data", "reviews.csv", "--out", "run", "--threads", "1"];
    let short = ["--set", "train.budget.epochs=1"];
    here(folder, &[&train[..], &short, more].concat())
}

fn predict(folder: &TempDir, run: &str) -> String {
    here(folder, &["predict", run, "reviews.csv"]).well().stdout
}

fn result(folder: &TempDir, run: &str) -> Value {
    json(&folder.path().join(run).join("result.json"))
}

fn is_there(folder: &TempDir, path: &str) -> bool {
    folder.path().join(path).exists()
}

#[test]
fn what_answers_has_trained_on_all_texts() {
    let folder = folder();
    let said = train(&folder, &[]).well().stdout;
    let refit = Path::new("run").join("refit");
    assert!(said.contains("(n = 6)") && said.contains("\nTrained once more, on all 60 texts: "), "{said}");
    let answers =
        format!(" s → {}\n`predict`, `export` and `eval --file` use this model.\n", refit.display());
    assert!(said.contains(&answers), "{said}");
    assert_eq!(result(&folder, "run")["splits"]["train"], 48);
    assert_eq!(result(&folder, "run/refit")["splits"]["train"], 60);
    let answers = predict(&folder, "run");
    assert_eq!(answers, predict(&folder, "run/refit"));
    assert_ne!(answers, predict(&folder, "run/checkpoints/best"));
    here(&folder, &["export", "run", "--out", "exported"]).well();
    here(&folder, &["import", "run", "exported", "--out", "imported"]).well();
    assert_eq!(answers, predict(&folder, "imported"));
    let before = files(&folder.path().join("run"));
    train(&folder, &[]).well();
    assert_eq!(files(&folder.path().join("run")), before);
}

#[test]
fn what_is_judged_inspected_and_edited_has_not() {
    let folder = folder();
    train(&folder, &[]).well();
    let judged = here(&folder, &["eval", "run", "--split", "test", "--json"]).well().stdout;
    assert_eq!(serde_json::from_str::<Value>(&judged).unwrap(), result(&folder, "run")["test"]);
    let inspected = here(&folder, &["inspect", "run"]).well().stdout;
    assert!(inspected.contains("validation "), "{inspected}");
    here(&folder, &["edit", "run", "--grow", "0", "--out", "edited"]).well();
    here(&folder, &["eval", "edited"]).well();
    here(&folder, &["eval", "run/refit"]).with_error("refit", &["refit", "no such texts", "--file"]);
}

#[test]
fn a_refit_that_was_cut_off_is_made_by_the_same_command() {
    let folder = folder();
    train(&folder, &[]).well();
    let whole = predict(&folder, "run");
    fs::remove_file(folder.path().join("run/refit/result.json")).unwrap();
    let judged = predict(&folder, "run");
    assert_ne!(judged, whole, "as long as the refit is not finished, the model that was judged answers");
    train(&folder, &[]).well();
    assert_eq!(predict(&folder, "run"), whole);
    fs::remove_dir_all(folder.path().join("run/refit")).unwrap();
    assert_eq!(predict(&folder, "run"), judged);
    train(&folder, &[]).well();
    assert_eq!(predict(&folder, "run"), whole);
}

#[test]
fn a_refit_takes_as_long_as_early_stopping_left() {
    let folder = folder();
    // Labels of which the words say nothing: what is learnt soon does harm.
    let rows: String = (0..60).map(|i| format!("film number {i},{}\n", i * i / 3 % 2)).collect();
    fs::write(folder.path().join("reviews.csv"), format!("text,label\n{rows}")).unwrap();
    train(&folder, &["--set", "train.budget.epochs=30", "--set", "train.patience=1"]).well();
    let (judged, refit) = (result(&folder, "run"), result(&folder, "run/refit"));
    let epochs = |result: &Value, per_epoch: f64| result["steps"].as_f64().unwrap() / per_epoch;
    assert!(epochs(&judged, 2.0) < 30.0, "{judged}");
    assert_eq!(epochs(&judged, 2.0), epochs(&refit, 2.0));
}

#[test]
fn there_is_no_refit_where_it_is_not_wanted_or_cannot_be() {
    let without = |more: &[&str], note: &str| {
        let folder = folder();
        let said = train(&folder, more).well();
        assert_eq!(
            said.stderr.contains("not trained again on all texts"),
            !note.is_empty(),
            "{}",
            said.stderr
        );
        assert!(said.stderr.contains(note) && !is_there(&folder, "run/refit"), "{}", said.stderr);
        said
    };
    without(&["--keep-test"], "");
    without(&["phases/rule", "--set", "model.pooling=mean"], "control.policy `rule`");
    without(&["phases/rule", "--set", "model.pooling=mean", "--quiet"], "");
    let none = ["--set", "data.csv.validation_fraction=0", "--set", "data.csv.test_fraction=0"];
    let said = without(&none, "nothing is held out").stdout;
    assert!(said.contains("validation – (no text to judge by)") && !said.contains("judged once"), "{said}");
}

#[test]
fn a_run_from_the_weights_of_another_has_no_refit() {
    let folder = folder();
    train(&folder, &[]).well();
    let from = ["train", "--data", "reviews.csv", "--out", "second", "--set", "start.weights.run=run"];
    let said = here(&folder, &[&from[..], &["--set", "train.budget.epochs=1"]].concat()).well().stderr;
    assert!(said.contains("not trained again on all texts: start.weights"), "{said}");
    assert!(!is_there(&folder, "second/refit"));
}

#[test]
fn keeping_the_test_says_that_an_old_refit_still_answers() {
    let folder = folder();
    train(&folder, &[]).well();
    let said = train(&folder, &["--keep-test"]).well().stderr;
    assert!(said.contains("refit is of before, and still answers"), "{said}");
}

#[test]
fn who_needs_validation_texts_says_so() {
    let folder = folder();
    let none = ["--set", "data.csv.validation_fraction=0"];
    let refused =
        |more: &[&str], parts: &[&str]| train(&folder, &[&none, more].concat()).with_error("none", parts);
    refused(&["--set", "train.patience=2"], &["train.patience", "data.csv.validation_fraction"]);
    refused(&["phases/rule"], &["control.policy", "`rule`", "data.csv.validation_fraction"]);
    assert!(!is_there(&folder, "run"));
    let plan = |key: &str| {
        let ablate = ["ablate", "plan", "--dataset", "csv", "--phases", "moe", "--set"];
        let sets = ["data.csv.train=reviews.csv", "--set", &format!("{key}=0")];
        here(&folder, &[&ablate[..], &sets].concat()).with_error(key, &[key]);
    };
    plan("data.csv.validation_fraction");
    plan("data.csv.test_fraction");
    assert!(!is_there(&folder, "runs"));
}
