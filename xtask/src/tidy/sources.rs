//! Rules about the text of files.

use std::fs;

use anyhow::Result;

use super::{circles, sizes};
use crate::workspace::{Workspace, output};

/// First folders of paths that exist on one machine only.
const MACHINE_FOLDERS: [&str; 3] = ["work", "root", "home"];

/// One line for every broken rule in files that git tracks or would track.
pub(super) fn violations(workspace: &Workspace) -> Result<Vec<String>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let files = output(workspace.command("git").args(list))?;
    // Neither a deleted file nor a binary one has text to judge.
    let read = |file| Some((file, fs::read_to_string(workspace.root().join(file)).ok()?));
    let files: Vec<(&str, String)> = files.split_terminator('\0').filter_map(read).collect();
    let mut found = circles::violations(&files);
    for (file, text) in &files {
        found.extend(violations_in(file, text));
        if file.ends_with(".rs") {
            found.extend(sizes::violations_in(file, text));
        }
    }
    Ok(found)
}

fn violations_in(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if file.ends_with(".rs") && !text.starts_with("//!") {
        found.push(format!("{file}:1: must open with a `//!` line that says what the file is"));
    }
    for (index, line) in text.lines().enumerate() {
        if let Some(path) = machine_path(line) {
            found.push(format!("{file}:{}: `{path}…` exists on one machine only", index + 1));
        }
    }
    found
}

/// The start of an absolute path below one of [`MACHINE_FOLDERS`].
fn machine_path(line: &str) -> Option<String> {
    let prefixes = MACHINE_FOLDERS.iter().map(|folder| format!("/{folder}/"));
    prefixes.into_iter().find(|prefix| line.match_indices(prefix).any(|(at, _)| starts_path(line, at)))
}

/// Whether a path can start at byte `at`: not within a longer path, address or word.
fn starts_path(line: &str, at: usize) -> bool {
    let before = line[..at].chars().next_back();
    !before.is_some_and(|c| c.is_alphanumeric() || "._-/~}>*$".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_opening_line_is_named() {
        assert_eq!(violations_in("a.rs", "//! Fine.\nfn a() {}\n"), [""; 0]);
        assert_eq!(violations_in("a.toml", "a = 1\n"), [""; 0]);
        let found = violations_in("a.rs", "fn a() {}\n");
        assert_eq!(found, ["a.rs:1: must open with a `//!` line that says what the file is"]);
    }

    #[test]
    fn a_path_of_one_machine_is_named() {
        let path = format!("/{}/me/data.csv", MACHINE_FOLDERS[2]);
        let found = violations_in("a.md", &format!("fine\nsee `{path}`\n"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.md:2: "), "{found:?}");
        assert_eq!(violations_in("a.md", &format!("https://example.org{path} and ../x{path}\n")), [""; 0]);
    }
}
