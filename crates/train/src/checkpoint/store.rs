//! The folder of a run's checkpoints: what is kept, and which one is `latest` and `best`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use moelt_schema::{Digest, write_atomically};

use super::{Checkpoint, CheckpointError, files::manifest_digest};

/// A folder of checkpoints named by step.
#[derive(Clone, Debug)]
pub struct CheckpointStore {
    folder: PathBuf,
    keep_last: usize,
}

impl CheckpointStore {
    /// Opens the store, creating the folder and removing what an interrupted write left behind.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(folder: impl Into<PathBuf>, keep_last: usize) -> Result<Self, CheckpointError> {
        let store = Self { folder: folder.into(), keep_last: keep_last.max(1) };
        fs::create_dir_all(&store.folder).map_err(CheckpointError::io(&store.folder))?;
        for name in store.names()?.into_iter().filter(|name| name.ends_with(".tmp")) {
            let path = store.folder.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(CheckpointError::io(&path))?;
        }
        Ok(store)
    }

    /// The store in `folder`, for reading: nothing is created or removed.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), keep_last: usize::MAX }
    }

    /// Name of the checkpoint at a step.
    pub fn name(step: u64) -> String {
        format!("step-{step:08}")
    }

    /// Folder of the checkpoint at a step.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(Self::name(step))
    }

    /// Writes a checkpoint whole or not at all and points `latest`, and `best` if asked, at it. Then
    /// forgets the oldest beyond `keep_last`, never the best. A checkpoint of this step that is there
    /// already (the run was interrupted right after it) is replaced.
    ///
    /// # Errors
    /// When the disk refuses; the earlier checkpoints and pointers are then untouched.
    pub fn save(&self, checkpoint: &mut Checkpoint, best: bool) -> Result<PathBuf, CheckpointError> {
        let name = Self::name(checkpoint.manifest.step);
        let target = self.folder.join(&name);
        let temporary = self.folder.join(format!(".{name}.tmp"));
        self.remove(&temporary)?;
        fs::create_dir(&temporary).map_err(CheckpointError::io(&temporary))?;
        let digest = checkpoint.write(&temporary)?;
        sync_folder(&temporary)?;
        if target.exists() {
            let old = self.folder.join(format!(".{name}.old.tmp"));
            self.remove(&old)?;
            fs::rename(&target, &old).map_err(CheckpointError::io(&target))?;
        }
        fs::rename(&temporary, &target).map_err(CheckpointError::io(&target))?;
        sync_folder(&self.folder)?;
        self.point("latest", &name, &digest)?;
        if best {
            self.point("best", &name, &digest)?;
        }
        self.forget_old()?;
        Ok(target)
    }

    /// The checkpoint that `latest` or `best` points at; none when there is no such pointer.
    ///
    /// # Errors
    /// When the pointer does not name a checkpoint whose manifest has the hash it gives.
    pub fn pointed(&self, pointer: &str) -> Result<Option<PathBuf>, CheckpointError> {
        let path = self.folder.join(pointer);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(CheckpointError::io(&path))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let wrong = |message: String| CheckpointError::Pointer { path: path.clone(), message };
        let (name, hash) = text
            .strip_suffix('\n')
            .and_then(|line| line.split_once(' '))
            .ok_or_else(|| wrong(format!("reads `{}`", text.trim())))?;
        let expected: Digest = hash.parse().map_err(|e| wrong(format!("{e}")))?;
        let target = self.folder.join(name);
        if !name.starts_with("step-") || !target.is_dir() {
            return Err(wrong(format!("names `{name}`, which is not here")));
        }
        let found = manifest_digest(&target)?;
        if found != expected {
            return Err(wrong(format!("names {name} with manifest {expected}, but that is {found}")));
        }
        Ok(Some(target))
    }

    fn point(&self, pointer: &str, name: &str, digest: &Digest) -> Result<(), CheckpointError> {
        let path = self.folder.join(pointer);
        write_atomically(&path, format!("{name} {digest}\n").as_bytes()).map_err(CheckpointError::io(path))
    }

    fn forget_old(&self) -> Result<(), CheckpointError> {
        let mut kept: Vec<String> =
            self.names()?.into_iter().filter(|name| name.starts_with("step-")).collect();
        kept.sort();
        let best = self.pointed("best")?;
        let surplus = kept.len().saturating_sub(self.keep_last);
        for name in kept.into_iter().take(surplus) {
            let path = self.folder.join(&name);
            if Some(&path) != best.as_ref() {
                // Renamed first, so that a half-removed folder is never taken for a checkpoint.
                let trash = self.folder.join(format!(".{name}.old.tmp"));
                self.remove(&trash)?;
                fs::rename(&path, &trash).map_err(CheckpointError::io(&path))?;
            }
        }
        for name in self.names()?.into_iter().filter(|name| name.ends_with(".old.tmp")) {
            self.remove(&self.folder.join(name))?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), CheckpointError> {
        if path.exists() {
            fs::remove_dir_all(path).map_err(CheckpointError::io(path))?;
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let entries = fs::read_dir(&self.folder).map_err(CheckpointError::io(&self.folder))?;
        let names: Result<Vec<String>, _> =
            entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned())).collect();
        names.map_err(CheckpointError::io(&self.folder))
    }
}

fn sync_folder(path: &Path) -> Result<(), CheckpointError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(CheckpointError::io(path))
}
