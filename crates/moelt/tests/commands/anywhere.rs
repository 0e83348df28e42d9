//! What works in an empty folder, with nothing but the binary: configs, own texts, ablations.

use std::{fs, path::Path};

use moelt_schema::{AblationPlan, Digest, RunConfig};
use tempfile::TempDir;

use crate::support::{Ended, TINY_ABLATION, moelt};

/// `moelt` started in this folder.
fn here(folder: &TempDir, args: &[&str]) -> Ended {
    let mut command = moelt(args);
    command.current_dir(folder.path());
    Ended::of(command, "")
}

fn write(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Thirty reviews in columns that nobody would have to name.
fn reviews() -> String {
    let row =
        |i: usize| format!("{i},a {} film number {i},{}\n", ["bad", "good"][i % 2], ["neg", "pos"][i % 2]);
    "id,Review,sentiment\n".to_owned() + &(0..60).map(row).collect::<String>()
}

#[test]
fn configs_are_listed_shown_and_resolved() {
    let folder = TempDir::new().unwrap();
    let list = here(&folder, &["config", "list"]).well().stdout;
    assert!(list.contains("phases/lookahead\n") && list.contains("ablations/planted\n"), "{list}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/phases/lookahead.toml");
    let shown = here(&folder, &["config", "show", "phases/lookahead"]).well().stdout;
    assert_eq!(shown, fs::read_to_string(file).unwrap());
    let resolved = here(&folder, &["config", "show", "phases/lookahead", "--resolved", "--set", "seed=7"]);
    let resolved = resolved.well().stdout;
    assert!(resolved.contains("seed = 7\n") && resolved.contains("log_every = 25\n"), "{resolved}");
    here(&folder, &["config", "show", "phases/none"])
        .with_error("unknown", &["phases/none: ", "`moelt config list`"]);
    here(&folder, &["config", "show", "ablations/csv", "--resolved"])
        .with_error("ablation", &["ablations/csv: describes an ablation"]);
}

#[test]
fn files_on_disk_take_the_place_of_built_in_ones() {
    let folder = TempDir::new().unwrap();
    write(&folder, "configs/base.toml", "[train]\nlog_every = 7\n");
    write(&folder, "other/base.toml", "\n[train]\nlog_evry = 7\n");
    let resolved = ["config", "show", "phases/lookahead", "--resolved"];
    assert!(here(&folder, &resolved).well().stdout.contains("log_every = 7\n"));
    let list = here(&folder, &["config", "list"]).well().stdout;
    assert!(list.contains("base  (configs/base.toml)\n"), "{list}");
    let wrong = here(&folder, &[&resolved[..], &["--configs", "other"]].concat());
    wrong.with_error("wrong", &["other/base.toml:3: `train.log_evry`: unknown field"]);
    write(&folder, "mine.toml", "parent = \"phases/moe\"\n[model]\ntop_k = 0\n");
    here(&folder, &["train", "mine.toml"]).with_error("key", &["mine.toml:3: `model.top_k`"]);
}

#[test]
fn own_texts_train_and_are_predicted_without_a_config_or_a_column_named() {
    let folder = TempDir::new().unwrap();
    write(&folder, "reviews.csv", reviews());
    let train = ["train", "--data", "reviews.csv", "--set", "train.budget.epochs=1", "--threads", "1"];
    let said = here(&folder, &train).well();
    for note in ["column `Review` taken for `text`", "column `sentiment` taken for `label`"] {
        assert!(said.stderr.contains(&format!("note: reviews.csv: {note}\n")), "{}", said.stderr);
    }
    let runs: Vec<_> =
        fs::read_dir(folder.path().join("runs")).unwrap().map(|run| run.unwrap().path()).collect();
    assert_eq!(runs.len(), 1);
    let config = fs::read_to_string(runs[0].join("config.toml")).unwrap();
    assert!(config.contains("[data.csv]\n") && config.contains("prefixes = ["), "{config}");
    let predicted = here(&folder, &["predict", runs[0].to_str().unwrap(), "reviews.csv"]).well().stdout;
    assert_eq!(predicted.lines().count(), 61);
    let named = [&train[..], &["--text-column", "id", "--label-column", "sentiment", "--out", "runs/named"]];
    here(&folder, &named.concat()).well();
    here(&folder, &[&train[..], &["--configs", "nope"]].concat())
        .with_error("configs", &["--configs nope: is no folder"]);
    here(&folder, &["train"]).with_error("nothing", &["give --data FILE, or a CONFIG"]);
    let missing = [&train[..], &["--label-column", "stars"]].concat();
    here(&folder, &missing).with_error("column", &["reviews.csv:1: no column `stars`", "`id`, `Review`"]);
}

#[test]
fn own_texts_are_sized_and_the_model_is_left_to_predict_with() {
    let folder = TempDir::new().unwrap();
    write(&folder, "reviews.csv", reviews());
    let size = ["size", "reviews.csv", "--out", "runs/sized", "--threads", "1"];
    let said = here(&folder, &[&size[..], &["--minutes", "0.000001"]].concat()).well();
    assert!(said.stderr.contains("epochs fit; --set train.budget.epochs="), "{}", said.stderr);
    assert!(said.stdout.contains("Layer 0: it still has 16, as no smaller set raced"), "{}", said.stdout);
    // The same command measures anew and finds the run that it has begun.
    let again = here(&folder, &[&size[..], &["--minutes", "0.0000005"]].concat()).well();
    assert_eq!(again.stdout, said.stdout);
    let predicted = here(&folder, &["predict", "runs/sized", "reviews.csv"]).well().stdout;
    assert_eq!(predicted.lines().count(), 61);
    let train = ["train", "--data", "reviews.csv", "--threads", "1", "--minutes"];
    let runs = || fs::read_dir(folder.path().join("runs")).unwrap().count();
    for minutes in ["0.000001", "0.0000005"] {
        here(&folder, &[&train[..], &[minutes]].concat()).well();
        assert_eq!(runs(), 2, "the run without a name is found again, too");
    }
    here(&folder, &[&size[..], &["--minutes", "0"]].concat()).with_error("minutes", &["above 0, not 0"]);
}

#[test]
fn an_ablation_runs_in_an_empty_folder_and_its_cells_run_this_very_binary() {
    let folder = TempDir::new().unwrap();
    let first = here(&folder, &TINY_ABLATION).well();
    assert!(
        first.stdout.contains("runs/tiny/report.md; for programs: runs/tiny/report.json"),
        "{}",
        first.stdout
    );
    assert!(
        first.stderr.contains("rule-continued-s600-") && first.stderr.contains("[3/3] "),
        "{}",
        first.stderr
    );
    let run = folder.path().join("runs/tiny");
    let plan: AblationPlan = serde_json::from_slice(&fs::read(run.join("plan.json")).unwrap()).unwrap();
    let binary = Digest::of_file(Path::new(env!("CARGO_BIN_EXE_moelt"))).unwrap();
    assert_eq!(plan.code, binary);
    assert_eq!(Digest::of_file(&run.join("moelt")).unwrap(), binary);
    let again = here(&folder, &TINY_ABLATION).well();
    assert!(again.stderr.contains("3 of 3 cells are finished already"), "{}", again.stderr);
    assert_eq!(again.stdout, first.stdout);
    let watched = here(&folder, &["ablate", "collect", "--name", "tiny", "--watch"]).well();
    assert_eq!(watched.stdout, first.stdout);
    assert_eq!(
        fs::read_dir(run.join("texts")).unwrap().count(),
        1,
        "cells on the same data share their texts"
    );
    here(&folder, &["ablate", "collect", "--name", "none"])
        .with_error("no plan", &["(make a plan first: moelt ablate plan; or name one that is there: tiny)"]);
    let help = here(&folder, &["ablate", "plan", "--help"]).well().stdout;
    assert!(help.contains("  moelt ablate plan --preset full"), "{help}");
}

#[test]
fn an_ablation_on_a_file_of_ones_own_has_the_config_of_training_on_it() {
    let folder = TempDir::new().unwrap();
    write(&folder, "reviews.csv", reviews() + "60,,pos\n");
    let short = ["--set", "train.budget.epochs=1"];
    let plan = ["ablate", "plan", "--dataset", "csv", "--phases", "dense", "--seeds", "1", "--name", "own"];
    let file = ["--set", "data.csv.train=reviews.csv"];
    let planned = here(&folder, &[&plan[..], &file, &short].concat()).well();
    let train =
        ["train", "--data", "reviews.csv", "phases/dense", "--keep-test", "--threads", "1", "--out", "run"];
    let trained = here(&folder, &[&train[..], &short].concat()).well();
    let notes = |said: &str| {
        let notes = said.lines().filter(|line| line.starts_with("note: "));
        notes.map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let planned = notes(&planned.stderr);
    for note in [
        "note: 48 training texts: the recipe is datasets/csv with rows/to-2000 over it",
        "note: reviews.csv: column `Review` taken for `text`",
        "note: reviews.csv: 1 of 61 rows cannot be used and are skipped: reviews.csv:62: the text is empty",
    ] {
        assert!(planned.contains(note), "{planned:?}");
    }
    assert!(planned.is_superset(&notes(&trained.stderr)), "{planned:?} but {}", trained.stderr);
    let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
    let plan: AblationPlan = serde_json::from_str(&read("runs/own/plan.json")).unwrap();
    assert_eq!(plan.cells[0].config, RunConfig::from_toml(&read("run/config.toml")).unwrap());
}
