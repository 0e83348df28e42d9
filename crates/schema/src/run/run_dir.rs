//! Where things lie in a run folder, and how files get there whole.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

/// The folder of one run (one cell of an ablation, or one `moelt train`).
///
/// ```text
/// config.toml          the resolved config
/// events.jsonl         what happened, one JSON object a line
/// checkpoints/         step-00001000/…, and the pointers `latest` and `best`
/// predictions/         validation.csv, test.csv: one line per example
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

    /// The run folder of the same recipe on all texts, those that this run holds out among them.
    pub fn refit(&self) -> Self {
        Self(self.0.join("refit"))
    }

    /// Per-example predictions on a split (`validation` or `test`), relative to the run folder.
    pub fn predictions_name(split: &str) -> String {
        format!("predictions/{split}.csv")
    }

    /// The result: its presence means the run is finished.
    pub fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }
}

/// Writes a file whole or not at all: an [`AtomicFile`] with this content. Folders on the way are created.
///
/// # Errors
/// When a folder or the file cannot be written; the old file is then untouched.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(content)?;
    file.commit()
}

/// A file that is there whole or not at all: written to a temporary sibling and, when it is committed, synced and renamed
/// over the target. What is there afterwards is there after a power failure, too. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    is_committed: bool,
}

impl AtomicFile {
    /// An empty file that is going to be `target`. Folders on the way are created.
    ///
    /// # Errors
    /// When a folder or the temporary sibling cannot be written.
    pub fn create(target: &Path) -> io::Result<Self> {
        let folder = folder_of(target);
        create_folders(folder)?;
        let name = target.file_name().ok_or_else(|| io::Error::other("not a file name"))?;
        let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let file = File::create(&temporary)?;
        Ok(Self { file, temporary, target: target.to_owned(), is_committed: false })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// When it cannot be synced or renamed; an old file is then untouched.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        self.is_committed = true;
        sync_folder(folder_of(&self.target))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_committed {
            // The target is untouched; a leftover that cannot be removed does no harm.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Creates a folder with the folders on the way, and syncs the folder that each new one lies in: a synced file is
/// lost all the same when the name of a folder above it never reached the disk.
///
/// # Errors
/// When one cannot be created or synced.
pub fn create_folders(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = folder_of(path);
    create_folders(parent)?;
    match fs::create_dir(path) {
        // Another process was faster; whether it has synced the name is not known.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    sync_folder(parent)
}

/// Makes sure that the names in a folder are on disk: of files made, renamed or removed there.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// The folder that a path lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
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

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        for commit in [false, true] {
            let mut file = AtomicFile::create(&path).unwrap();
            file.write_all(b"new").unwrap();
            assert!(!path.exists());
            if commit {
                file.commit().unwrap();
            }
        }
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_are_created_as_far_as_they_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        for _ in 0..2 {
            create_folders(&deep).unwrap();
            assert!(deep.is_dir());
        }
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(create_folders(&file).is_err());
        assert!(create_folders(&file.join("below")).is_err());
        create_folders(Path::new("")).unwrap();
    }
}
