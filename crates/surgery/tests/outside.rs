//! A crate outside the workspace edits its own model with moelt-surgery alone.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Lines `name vX.Y.Z features` of `cargo tree`, without the crates at the end of a path.
fn tree(args: &[&str]) -> BTreeSet<String> {
    let args =
        ["tree", "--offline", "--prefix", "none", "--no-dedupe", "--format", "{p} {f}"].iter().chain(args);
    let output = Command::new(env!("CARGO")).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter(|line| !line.contains('/')).map(str::to_owned).collect()
}

/// `name vX.Y.Z`
fn package(line: &str) -> &str {
    line.match_indices(' ').nth(1).map_or(line, |(end, _)| &line[..end])
}

/// Dependencies that ask for the features that the workspace's tests ask of the crates that `manifest`
/// uses: so the Burn that was built for them serves again, and seconds pass rather than minutes.
fn features_of_the_workspace(manifest: &Path) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let used = tree(&["--edges", "normal,no-proc-macro", "--manifest-path", manifest.to_str().unwrap()]);
    // As `cargo xtask validate` selects them.
    let selected = [
        "--workspace",
        "--exclude",
        "xtask",
        "--exclude",
        "moelt-bench",
        "--manifest-path",
        workspace.to_str().unwrap(),
    ];
    let asked = tree(&[&["--edges", "normal,dev,no-proc-macro"][..], &selected[..]].concat());
    let differs = |line: &&String| !used.contains(line.as_str()) && !line.starts_with("burn ");
    let names: BTreeSet<&str> = used.iter().map(|line| package(line)).collect();
    let dependency = |line: &String| {
        let (name, version) = package(line).split_once(" v").unwrap();
        let version = version.split('+').next().unwrap();
        let features = line[package(line).len()..].trim().split(',').filter(|feature| !feature.is_empty());
        let features: Vec<String> = features.map(|feature| format!("{feature:?}")).collect();
        let (features, key) = (features.join(", "), format!("{name}-{}", version.replace('.', "-")));
        format!(
            "{key} = {{ package = \"{name}\", version = \"={version}\", default-features = false, features = [{features}] }}\n"
        )
    };
    asked.iter().filter(differs).filter(|line| names.contains(package(line))).map(dependency).collect()
}

/// A copy of the fixture with moelt-surgery by its absolute path and the workspace's locked versions.
fn copied_crate(target_tmp: &Path) -> PathBuf {
    let surgery = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (fixture, copy) = (surgery.join("tests/fixtures/own-model"), target_tmp.join("own-model"));
    let path = copy.join("Cargo.toml");
    fs::create_dir_all(copy.join("src")).unwrap();
    let manifest = fs::read_to_string(fixture.join("Cargo.toml")).unwrap();
    // A literal string of TOML: a backslash in the path stays one.
    let manifest = manifest.replace("\"../../..\"", &format!("'{}'", surgery.display()));
    fs::write(&path, &manifest).unwrap();
    fs::copy(fixture.join("src/main.rs"), copy.join("src/main.rs")).unwrap();
    fs::copy(surgery.join("../../Cargo.lock"), copy.join("Cargo.lock")).unwrap();
    let mut dependencies = "[dependencies]\n".to_owned();
    // Features bring crates along, which have features of their own.
    for _ in 0..3 {
        dependencies += &features_of_the_workspace(&path);
        fs::write(&path, manifest.replace("[dependencies]\n", &dependencies)).unwrap();
    }
    path
}

fn run(manifest: &Path, target: &Path) -> Output {
    Command::new(env!("CARGO"))
        .args(["run", "--release", "--offline", "--manifest-path"])
        .arg(manifest)
        // Where Burn lies built already.
        .env("CARGO_TARGET_DIR", target)
        .current_dir(manifest.parent().unwrap())
        .output()
        .unwrap()
}

#[test]
fn a_crate_of_its_own_edits_its_own_model() {
    let target_tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let output = run(&copied_crate(target_tmp), target_tmp.parent().unwrap());
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{stderr}");
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("own model edited: [ExpertId(1), ExpertId(2), ExpertId(3)]"), "{stdout}");
}
