//! Where things lie in a run folder, and how files get there whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The folder of one run (one cell of an ablation, or one `moelt train`).
///
/// ```text
/// config.toml          the resolved config
/// events.jsonl         what happened, one JSON object a line
/// checkpoints/         step-00001000/…, and the pointers `latest` and `best`
/// predictions/         selection.csv, verdict.csv: one line an example
/// result.json          written last: the run is finished
/// lock                 held by the process that trains here
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Name of the event log.
    pub const EVENTS: &str = "events.jsonl";

    /// The run folder at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The resolved config.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The event log.
    pub fn events(&self) -> PathBuf {
        self.0.join(Self::EVENTS)
    }

    /// Held open, locked, by the process that trains here.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Per-example predictions on a split (`selection` or `verdict`), relative to the run folder.
    pub fn predictions_name(split: &str) -> String {
        format!("predictions/{split}.csv")
    }

    /// The result: its presence means the run is finished.
    pub fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }
}

/// Writes a file whole or not at all: to a temporary sibling, synced, renamed over the target.
/// Folders on the way are created.
///
/// # Errors
/// When a folder or the file cannot be written; the old file is then untouched.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = path.file_name().ok_or_else(|| io::Error::other("not a file name"))?;
    let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The target is untouched; a leftover that cannot be removed does no harm.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file.txt");
        write_atomically(&path, b"old").unwrap();
        assert!(write_atomically(&path.join("below-a-file"), b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
