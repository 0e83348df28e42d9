//! A corpus of input that was made to break things, each with the error it must give: within 2 seconds of processor time and 500 MB
//! of addresses, in one message, with nothing left that could be taken for a model. Altered checkpoints have their own place (`altered`), and so have
//! damaged ones (`damage`) and weights on their way back (`export`).

#![cfg(unix)]

mod encoders;
mod tables;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::support::{Ended, files, moelt, under};

/// A file of the corpus: its name and what is in it.
type File = (&'static str, Vec<u8>);

/// Something hostile, and what must be said of it.
struct Case {
    what: &'static str,
    files: Vec<File>,
    command: &'static [&'static str],
    says: &'static [&'static str],
}

/// A case of one file, which the command names.
fn one(
    name: &'static str,
    content: impl Into<Vec<u8>>,
    command: &'static [&'static str],
    says: &'static [&'static str],
) -> Case {
    Case { what: name, files: vec![(name, content.into())], command, says }
}

/// Runs a case in a folder of its own, and asserts that it fails as it should and leaves nothing.
#[track_caller]
fn refused(cases: Vec<Case>) {
    for Case { what, files: content, command, says } in cases {
        let folder = TempDir::new().unwrap();
        let paths: Vec<PathBuf> = content.iter().map(|(name, _)| folder.path().join(name)).collect();
        for (path, (_, content)) in paths.iter().zip(&content) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let ended = Ended::of(limited(command, folder.path()), "");
        ended.with_error(what, says);
        assert!(ended.stderr.len() < 20_000, "{what}: {} bytes of error", ended.stderr.len());
        assert_eq!(ended.stdout, "", "{what}");
        // A run folder says which config it was, so that the same command may go on. Nothing else may have come of it.
        let left: Vec<String> = files_below(&folder.path().join("out"));
        let told = ["config.toml", "lock", "events.jsonl"];
        assert!(left.iter().all(|name| told.contains(&name.as_str())), "{what}: {left:?}");
    }
}

/// Every file below a folder, which need not be there.
fn files_below(folder: &Path) -> Vec<String> {
    if folder.is_dir() { files(folder).into_keys().collect() } else { Vec::new() }
}

/// `moelt` in a folder, with little memory and little time.
fn limited(words: &[&str], folder: &Path) -> Command {
    let mut limited = under("ulimit -v 512000; ulimit -t 2; ulimit -c 0", &moelt(words));
    limited.current_dir(folder);
    limited
}

#[test]
fn configs() {
    const TRAIN: &[&str] = &["train", "a.toml", "--out", "out"];
    let deep = |open: &str, close: &str| format!("a = {}1{}", open.repeat(100_000), close.repeat(100_000));
    refused(vec![
        one("a.toml", deep("[", "]"), TRAIN, &["a.toml", "recursion"]),
        one("a.toml", deep("{b=", "}"), TRAIN, &["a.toml", "recursion"]),
        one("a.toml", format!("{} = 1", vec!["a"; 100_000].join(".")), TRAIN, &["a.toml", "recursion"]),
        one("a.toml", format!("{} = 1", "a".repeat(10_000_000)), TRAIN, &["a.toml:1", "unknown"]),
        one(
            "a.toml",
            (0..200_000).map(|i| format!("a{i} = 1\n")).collect::<String>(),
            TRAIN,
            &["a.toml:1", "unknown"],
        ),
        one("a.toml", "seed = 99999999999999999999999", TRAIN, &["a.toml:1", "99999999999999999999999"]),
        one("a.toml", "seed = -1", TRAIN, &["a.toml:1", "seed", "-1"]),
        one("a.toml", "[optim]\nlr = nan", TRAIN, &["a.toml:2", "optim.lr", "NaN"]),
        one("a.toml", "[optim]\nlr = inf", TRAIN, &["a.toml:2", "optim.lr", "inf"]),
        one("a.toml", "[optim]\nlr = 1e-400", TRAIN, &["a.toml:2", "optim.lr", "0"]),
        one("a.toml", "seed = 1\nseed = 2", TRAIN, &["a.toml:2", "duplicate key"]),
        one("a.toml", "model = 3", TRAIN, &["a.toml:1", "model"]),
        one("a.toml", "seed = 1\0", TRAIN, &["a.toml:1"]),
        one("a.toml", (0..=255).collect::<Vec<u8>>(), TRAIN, &["a.toml: line 2 is not UTF-8", "iconv"]),
        one("a.toml", "parent = 'a.toml'", TRAIN, &["a.toml", "its own parent"]),
        one("a.toml", "parent = 'nowhere.toml'", TRAIN, &["nowhere.toml"]),
        one("a.toml", "parent = '../../../../etc/passwd'", TRAIN, &["etc/passwd"]),
        one("a.toml", "[model]\nn_layers = 18446744073709551615", TRAIN, &["a.toml:2"]),
        one(
            "a.toml",
            "[model]\nd_model = 9223372036854775807",
            TRAIN,
            &["a.toml:2", "model.d_model", "at most"],
        ),
        one(
            "a.toml",
            "[data.planted]\ndomains = 0",
            TRAIN,
            &["a.toml:2: `data.planted.domains`", "at least 1"],
        ),
        one(
            "a.toml",
            "[train.budget]\nsteps = 9223372036854775807",
            TRAIN,
            &["a.toml:2", "train.budget.steps"],
        ),
        Case { what: "a folder", files: vec![("a.toml/x", vec![])], command: TRAIN, says: &["a.toml"] },
    ]);
}

#[test]
fn plans_and_paths() {
    const COLLECT: &[&str] = &["ablate", "collect", "--name", "a"];
    const RUN: &[&str] = &["ablate", "run", "--name", "a"];
    let plan = "runs/a/plan.json";
    let twice = format!(r#"{{"format":7{}}}"#, r#","a":1"#.repeat(100_000));
    refused(vec![
        one(plan, "[".repeat(1_000_000), COLLECT, &["plan.json", "recursion"]),
        one(plan, r#"{"a":"#.repeat(1_000_000), RUN, &["plan.json"]),
        one(plan, "", COLLECT, &["plan.json", "EOF"]),
        one(plan, "{}", RUN, &["plan.json", "format"]),
        one(plan, twice, RUN, &["plan.json", "unknown field `a`"]),
        one(plan, r#"{"format":99999999999}"#, COLLECT, &["plan.json"]),
        one(plan, b"\xff\xfe{}".to_vec(), COLLECT, &["plan.json"]),
        one("x", "", &["ablate", "run", "--name", "../x"], &["cannot name an ablation"]),
        one("x", "", &["ablate", "collect", "--name", ".x"], &["cannot name an ablation"]),
        one("x", "", &["ablate", "run", "--name", "nowhere"], &["nowhere", "plan.json"]),
        one("x", "not a checkpoint", &["inspect", "x"], &["x"]),
        one("x", "step-00000000 zz", &["eval", "x"], &["x"]),
        one("x", vec![0xff; 3_000_000], &["export", "x", "--out", "out"], &["x"]),
        one("manifest.json", "[".repeat(1_000_000), &["inspect", "."], &["manifest"]),
        one("events.jsonl", "[".repeat(1_000_000), &["control", "report", "."], &["."]),
    ]);
}
