//! The example runs to its end. `cargo test` builds examples before it runs tests.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use std::process::Command;

#[test]
fn the_example_runs() {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().join("examples");
    let example = folder.join(format!("moe_layer{}", std::env::consts::EXE_SUFFIX));
    assert!(example.exists(), "{} is not built: cargo build --release --examples", example.display());
    let output = Command::new(example).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success() && !out.is_empty(), "{out}\n{err}");
}
