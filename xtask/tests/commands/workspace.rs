//! Which workspace xtask works on.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

/// A workspace with an ablation of the data set `name` alone.
fn workspace(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in ["xtask", "configs/ablations", "deep/below"] {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    fs::write(folder.path().join(format!("configs/ablations/{name}.toml")), "").unwrap();
    folder
}

/// The binary as it is started directly, without cargo.
fn started_in(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(folder).env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME");
    command.args(["ablate", "plan", "--dataset", "nothing"]);
    command
}

/// What it says there is to choose from names the workspace; none where it finds none.
fn errors(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[track_caller]
fn assert_works_on(command: &mut Command, name: &str) {
    let text = errors(command);
    assert!(text.contains(&format!("there are: {name}\n")), "{text}");
}

/// The folder that it was built in is another workspace, and a real one.
#[test]
fn started_directly_it_works_on_the_workspace_it_is_started_in() {
    let here = workspace("here");
    assert_works_on(&mut started_in(here.path()), "here");
    assert_works_on(&mut started_in(&here.path().join("deep/below")), "here");
    let nowhere = tempfile::tempdir().unwrap();
    let text = errors(&mut started_in(nowhere.path()));
    assert!(text.contains("lies in no workspace of moelt"), "{text}");
}

#[test]
fn cargo_decides_only_when_it_is_xtask_that_it_runs() {
    let (here, other) = (workspace("here"), workspace("other"));
    let with = |package: &str| {
        let mut command = started_in(here.path());
        command.env("CARGO_MANIFEST_DIR", other.path().join("xtask")).env("CARGO_PKG_NAME", package);
        command
    };
    assert_works_on(&mut with("xtask"), "other");
    assert_works_on(&mut with("another-package"), "here");
    let mut asked = with("xtask");
    assert_works_on(asked.arg("--root").arg(here.path()), "here");
}
