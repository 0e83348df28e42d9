//! Which code an ablation was planned with: a hash over the sources that its cells run.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use moelt_schema::Digest;

use crate::workspace::Workspace;

/// What cargo builds by, in the root and in each crate; the lock file of a crate need not exist.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "Cargo.lock", "build.rs"];

/// What tells cargo how to build, from the root.
const SETTINGS: [&str; 3] = [".cargo/config.toml", "rust-toolchain.toml", "rust-toolchain"];

/// Hash over path and content of the manifests, the lock file and everything below `crates/*/src`. xtask
/// is not among them: it starts cells and reads what they leave, but runs none.
///
/// # Errors
/// When one of these files cannot be read.
pub(crate) fn digest(workspace: &Workspace) -> Result<Digest> {
    let mut files = BTreeMap::new();
    add_manifests(workspace, workspace.root(), &mut files)?;
    for path in SETTINGS.map(|path| workspace.root().join(path)).iter().filter(|path| path.is_file()) {
        files.insert(workspace.shown(path), file(workspace, path)?);
    }
    let crates = workspace.root().join("crates");
    if crates.is_dir() {
        for entry in entries(workspace, &crates)? {
            add_manifests(workspace, &entry, &mut files)?;
            let sources = entry.join("src");
            if sources.is_dir() {
                add_all(workspace, &sources, &mut files)?;
            }
        }
    }
    Ok(Digest::of_json(&files))
}

/// Hash of a file.
///
/// # Errors
/// When it cannot be read; the message names it.
fn file(workspace: &Workspace, path: &Path) -> Result<Digest> {
    Digest::of_file(path).with_context(|| workspace.shown(path))
}

fn add_manifests(workspace: &Workspace, folder: &Path, files: &mut BTreeMap<String, Digest>) -> Result<()> {
    for path in MANIFESTS.map(|name| folder.join(name)).iter().filter(|path| path.is_file()) {
        files.insert(workspace.shown(path), file(workspace, path)?);
    }
    Ok(())
}

/// Every file below `folder`.
fn add_all(workspace: &Workspace, folder: &Path, files: &mut BTreeMap<String, Digest>) -> Result<()> {
    for path in entries(workspace, folder)? {
        if path.is_dir() {
            add_all(workspace, &path, files)?;
        } else {
            files.insert(workspace.shown(&path), file(workspace, &path)?);
        }
    }
    Ok(())
}

fn entries(workspace: &Workspace, folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let shown = || workspace.shown(folder);
    let paths = fs::read_dir(folder).with_context(shown)?.map(|entry| Ok(entry?.path()));
    paths.collect::<std::io::Result<_>>().with_context(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cells_run_decides_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("configs/base.toml", "");
        let workspace = Workspace::find(Some(folder.path().to_owned())).unwrap();
        let now = || digest(&workspace).unwrap();
        assert_eq!(now(), Digest::of_json(&BTreeMap::<String, Digest>::new()));
        let mut seen = vec![now()];
        for (path, text) in [
            ("Cargo.toml", "[workspace]"),
            ("Cargo.lock", "version = 4"),
            (".cargo/config.toml", "[build]"),
            ("crates/a/Cargo.toml", "[package]"),
            ("crates/a/src/lib.rs", "mod b;"),
            ("crates/a/src/b/mod.rs", "mod c;"),
            ("crates/a/src/b/mod.rs", "mod d;"),
        ] {
            write(path, text);
            assert!(!seen.contains(&now()), "{path} makes no difference");
            seen.push(now());
        }
        let before = now();
        for path in ["xtask/src/main.rs", "crates/a/tests/all.rs", "configs/base.toml", "README.md"] {
            write(path, "other");
            assert_eq!(now(), before, "{path} makes a difference");
        }
    }
}
