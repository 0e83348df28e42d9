//! Every example of the workspace runs to its end. `cargo test` builds examples before it runs tests.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use moelt_schema::CellResult;

/// The executable of an example of any crate.
fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().join("examples");
    let example = folder.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(example.exists(), "{} is not built: cargo build --release --examples", example.display());
    example
}

/// What a command printed on standard output.
fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success() && !out.is_empty(), "{command:?}: {out}\n{err}");
    out
}

#[test]
fn examples_run_to_their_end() {
    for name in [
        "moe_layer",
        "train_linear",
        "edit_own_module",
        "decide",
        "judge_predictions",
        "own_texts",
        "planted_texts",
    ] {
        output_of(&mut Command::new(example(name)));
    }
}

#[test]
fn a_policy_of_ones_own_is_an_arm_of_an_ablation() {
    let folder = tempfile::tempdir().unwrap();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/own_policy/configs");
    let mut command = Command::new(example("own_policy"));
    command.current_dir(folder.path()).arg("--configs").arg(configs);
    command.args(["ablate", "--name", "own", "--phases", "moe,shrink", "--seeds", "1"]);
    for set in [
        "data.planted.train=640",
        "data.planted.validation=64",
        "data.planted.test=64",
        "train.batch_size=64",
        "train.budget.epochs=10",
        "control.edits.every=5",
    ] {
        command.args(["--set", set]);
    }
    let report = output_of(&mut command);
    assert!(report.lines().any(|line| line.contains("shrink")), "{report}");
    let cells =
        fs::read_dir(folder.path().join("runs/own/cells")).unwrap().map(|entry| entry.unwrap().path());
    let result = cells
        .map(|cell| cell.join("result.json"))
        .find(|path| path.is_file() && path.to_string_lossy().contains("/shrink-"));
    let result: CellResult = serde_json::from_slice(&fs::read(result.unwrap()).unwrap()).unwrap();
    assert_eq!(result.edits.plans.len(), 12, "from sixteen experts to four, one at a decision: {report}");
}
