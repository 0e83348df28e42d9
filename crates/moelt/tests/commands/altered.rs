//! Checkpoints that somebody altered and sealed again: every hash is right, and what they say cannot be.
//!
//! Each is refused by every command with a clear error, within 200 MB of address space, so that a size that
//! somebody wrote down is compared with what is there before it is allocated.

mod files;
mod manifest;
mod sizes;

use std::{ffi::OsStr, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    damage::{edit_manifest, rehash, trained},
    support::{Ended, Run, files, moelt, under},
};

/// 200 MB of address space.
const LIMIT: &str = "ulimit -v 195312";

/// What is done to a checkpoint folder, and what the error must say of it.
struct Case {
    what: &'static str,
    alter: Box<dyn Fn(&Path)>,
    parts: Vec<&'static str>,
}

fn case(what: &'static str, alter: impl Fn(&Path) + 'static, parts: &[&'static str]) -> Case {
    Case { what, alter: Box::new(alter), parts: parts.to_vec() }
}

/// A case that sets the value at a JSON pointer of the manifest.
fn set(pointer: &'static str, value: Value, parts: &[&'static str]) -> Case {
    let alter = move |folder: &Path| edit_manifest(folder, |manifest| put(manifest, pointer, value.clone()));
    case(pointer, alter, parts)
}

/// Sets the value at a JSON pointer, which is there.
fn put(json: &mut Value, pointer: &str, value: Value) {
    *json.pointer_mut(pointer).unwrap_or_else(|| panic!("there is no {pointer}")) = value;
}

/// Every command that opens a checkpoint, under the limit, on the latest one of `run`.
fn readers(run: &Run) -> Vec<(&'static str, Ended)> {
    let path = run.checkpoint("latest");
    let out = run.dir.path().with_file_name("edited");
    let read = |name: &'static str, more: &[&OsStr]| {
        let mut command = moelt([name.as_ref(), path.as_os_str()]);
        command.args(["--threads", "1"]).args(more);
        (name, Ended::of(under(LIMIT, &command), ""))
    };
    vec![
        ("train", Ended::of(under(LIMIT, &run.command()), "")),
        read("eval", &[]),
        read("predict", &[]),
        read("inspect", &[]),
        read("edit", &["--grow".as_ref(), "0".as_ref(), "--out".as_ref(), out.as_os_str()]),
    ]
}

/// A run whose latest checkpoint was altered and sealed again.
fn altered(folder: &TempDir, alter: &dyn Fn(&Path)) -> Run {
    let run = trained(folder);
    let name = run.pointed("latest").unwrap();
    alter(&run.checkpoint(&name));
    rehash(&run, &name);
    run
}

/// Asserts that every command refuses every case, and changes nothing.
fn refused(cases: &[Case]) {
    for Case { what, alter, parts } in cases {
        let folder = TempDir::new().unwrap();
        let run = altered(&folder, alter);
        let before = files(run.dir.path());
        for (command, ended) in readers(&run) {
            ended.with_error(&format!("{what}, {command}"), parts);
        }
        assert_eq!(files(run.dir.path()), before, "{what}");
    }
}

#[test]
fn within_the_limit_what_was_not_altered_is_read() {
    let folder = TempDir::new().unwrap();
    let run = altered(&folder, &|_| ());
    for (command, ended) in readers(&run) {
        assert_eq!(ended.code, Some(0), "{command}: {}", ended.stderr);
    }
}

/// What a checkpoint is free to say, because nothing that is computed depends on it: what was spent, and how good
/// it was that best one of which there is no more than a note.
#[test]
fn numbers_that_only_tell_a_story_may_be_any() {
    let told = [
        ("/state/seconds", Value::from(1e9)),
        ("/state/flops/computed", Value::from(u64::MAX)),
        ("/state/window/loss", Value::from(1e300)),
        ("/state/best/loss", Value::from(1e300)),
        ("/moelt", Value::from("99.0.0")),
    ];
    for (pointer, value) in told {
        let folder = TempDir::new().unwrap();
        let alter = |folder: &Path| edit_manifest(folder, |manifest| put(manifest, pointer, value.clone()));
        for (command, ended) in readers(&altered(&folder, &alter)) {
            assert_eq!(ended.code, Some(0), "{pointer}, {command}: {}", ended.stderr);
        }
    }
}
