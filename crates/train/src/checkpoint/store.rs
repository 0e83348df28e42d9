//! The folder of a run's checkpoints: what is kept, and which one is `latest` and `best`.

use std::{collections::BTreeSet, fs, path::PathBuf};

use moelt_schema::{Digest, create_folders, write_atomically};

use super::{Checkpoint, CheckpointError, files::manifest_digest, whole::remove};

/// A folder of checkpoints named by step.
#[derive(Clone, Debug)]
pub struct CheckpointStore {
    folder: PathBuf,
    keep_last: usize,
    /// Names of those that are never removed.
    pinned: BTreeSet<String>,
}

impl CheckpointStore {
    /// Opens the store, creating the folder and removing what an interrupted write left behind.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(folder: impl Into<PathBuf>, keep_last: usize) -> Result<Self, CheckpointError> {
        let store = Self { folder: folder.into(), keep_last: keep_last.max(1), pinned: BTreeSet::new() };
        create_folders(&store.folder).map_err(CheckpointError::io(&store.folder))?;
        for name in store.names()?.into_iter().filter(|name| name.ends_with(".tmp")) {
            let path = store.folder.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(CheckpointError::io(&path))?;
        }
        Ok(store)
    }

    /// The store in `folder`, for reading: nothing is created or removed.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), keep_last: usize::MAX, pinned: BTreeSet::new() }
    }

    /// The same store, which never forgets the checkpoints of these steps. They do not count among the last.
    pub fn pin(self, steps: impl IntoIterator<Item = u64>) -> Self {
        Self { pinned: steps.into_iter().map(Self::name).collect(), ..self }
    }

    /// Folder of a checkpoint that the run must have.
    ///
    /// # Errors
    /// When it is gone.
    pub fn pinned(&self, step: u64) -> Result<PathBuf, CheckpointError> {
        let path = self.path(step);
        if path.is_dir() { Ok(path) } else { Err(CheckpointError::Gone(path)) }
    }

    /// Name of the checkpoint at a step.
    pub fn name(step: u64) -> String {
        format!("step-{step:08}")
    }

    /// The step that a folder's name is of; none of a name that [`Self::name`] does not give.
    pub fn step_of(name: &str) -> Option<u64> {
        let step = name.strip_prefix("step-")?.parse().ok()?;
        (Self::name(step) == name).then_some(step)
    }

    /// Folder of the checkpoint at a step.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(Self::name(step))
    }

    /// Writes a checkpoint whole or not at all and points `latest`, and `best` if asked, at it. Then
    /// forgets the oldest beyond `keep_last`, never the best and none that is pinned.
    ///
    /// # Errors
    /// When the disk refuses or the step has a checkpoint; what was there is then untouched.
    pub fn save(&self, checkpoint: &mut Checkpoint, best: bool) -> Result<PathBuf, CheckpointError> {
        let name = Self::name(checkpoint.manifest.step);
        let target = self.folder.join(&name);
        let digest = checkpoint.save_as(&target)?;
        self.point("latest", &name, &digest)?;
        if best {
            self.mark_best(checkpoint.manifest.step)?;
        }
        self.forget_old()?;
        Ok(target)
    }

    /// Points `best` at the checkpoint of a step.
    ///
    /// # Errors
    /// When there is none, or the disk refuses.
    pub fn mark_best(&self, step: u64) -> Result<(), CheckpointError> {
        self.point("best", &Self::name(step), &manifest_digest(&self.path(step))?)
    }

    /// Points `latest`, and `best` where one counts, at the checkpoints of these steps if nothing points there any more.
    ///
    /// # Errors
    /// When a checkpoint is gone, a pointer names none, or the disk refuses.
    pub(crate) fn restore_pointers(&self, latest: u64, best: Option<u64>) -> Result<(), CheckpointError> {
        for (pointer, step) in [("latest", Some(latest)), ("best", best)] {
            let Some(step) = step else { continue };
            let path = self.pinned(step)?;
            if self.pointed(pointer)?.is_none() {
                self.point(pointer, &Self::name(step), &manifest_digest(&path)?)?;
            }
        }
        Ok(())
    }

    /// The checkpoint to go on from: the one `latest` points at or, when a run was killed before it had
    /// pointed at its first, the last one there is.
    ///
    /// # Errors
    /// When `latest` does not name a checkpoint whose manifest has the hash it gives.
    pub fn newest(&self) -> Result<Option<PathBuf>, CheckpointError> {
        match self.pointed("latest")? {
            Some(path) => Ok(Some(path)),
            None => Ok(self.step_names()?.last().map(|name| self.folder.join(name))),
        }
    }

    /// The file of a pointer, `latest` or `best`.
    pub(crate) fn pointer(&self, pointer: &str) -> PathBuf {
        self.folder.join(pointer)
    }

    /// Removes checkpoints beyond a step: a run that was killed after it had written one and before it
    /// pointed at it goes on from the one before.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn forget_after(&self, step: u64) -> Result<(), CheckpointError> {
        let beyond = |name: &&String| Self::step_of(name) > Some(step);
        self.step_names()?.iter().filter(beyond).try_for_each(|name| self.discard(name))
    }

    /// The checkpoint that `latest` or `best` points at; none when there is no such pointer.
    ///
    /// # Errors
    /// When the pointer does not name a checkpoint whose manifest has the hash it gives.
    pub fn pointed(&self, pointer: &str) -> Result<Option<PathBuf>, CheckpointError> {
        let path = self.pointer(pointer);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(CheckpointError::io(&path))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let wrong = |message: String| CheckpointError::Pointer { path: path.clone(), message };
        let (name, hash) = text
            .strip_suffix('\n')
            .and_then(|line| line.split_once(' '))
            .ok_or_else(|| wrong(format!("reads `{}`", beginning(&text))))?;
        let expected: Digest = hash.parse().map_err(|_| wrong(format!("reads `{}`", beginning(&text))))?;
        if text != pointer_line(name, &expected) {
            return Err(wrong(format!("reads `{}`", beginning(&text))));
        }
        let target = self.folder.join(name);
        if Self::step_of(name).is_none() || !target.is_dir() {
            return Err(wrong(format!("names `{name}`, which is not here")));
        }
        let found = manifest_digest(&target)?;
        if found != expected {
            return Err(wrong(format!("names {name} with manifest {expected}, but that is {found}")));
        }
        Ok(Some(target))
    }

    fn point(&self, pointer: &str, name: &str, digest: &Digest) -> Result<(), CheckpointError> {
        let path = self.pointer(pointer);
        write_atomically(&path, pointer_line(name, digest).as_bytes()).map_err(CheckpointError::io(path))
    }

    fn forget_old(&self) -> Result<(), CheckpointError> {
        let mut names = self.step_names()?;
        names.retain(|name| !self.pinned.contains(name));
        let best = self.pointed("best")?;
        let surplus = names.len().saturating_sub(self.keep_last);
        let is_best = |name: &String| Some(self.folder.join(name)) == best;
        names[..surplus].iter().filter(|name| !is_best(name)).try_for_each(|name| self.discard(name))
    }

    /// Removes a checkpoint. It is renamed first, so that a half-removed folder is never taken for one.
    fn discard(&self, name: &str) -> Result<(), CheckpointError> {
        let (path, trash) = (self.folder.join(name), self.folder.join(format!(".{name}.old.tmp")));
        remove(&trash)?;
        fs::rename(&path, &trash).map_err(CheckpointError::io(&path))?;
        remove(&trash)
    }

    /// Names of the checkpoints, oldest first. Anything else in the folder is somebody else's.
    fn step_names(&self) -> Result<Vec<String>, CheckpointError> {
        let mut names = self.names()?;
        names.retain(|name| Self::step_of(name).is_some());
        // Beyond eight digits names no longer sort as their steps do.
        names.sort_by_key(|name| Self::step_of(name));
        Ok(names)
    }

    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let entries = fs::read_dir(&self.folder).map_err(CheckpointError::io(&self.folder))?;
        let names: Result<Vec<String>, _> =
            entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned())).collect();
        names.map_err(CheckpointError::io(&self.folder))
    }
}

/// What a pointer file holds.
fn pointer_line(name: &str, digest: &Digest) -> String {
    format!("{name} {digest}\n")
}

/// What a pointer file says, as far as a line of an error holds it: it may be any file.
fn beginning(text: &str) -> String {
    const SHOWN: usize = 80;
    let line = text.lines().next().unwrap_or_default().trim();
    let cut = line.chars().count() > SHOWN || text.trim().lines().count() > 1;
    line.chars().take(SHOWN).chain(cut.then_some('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(steps: &[u64]) -> (tempfile::TempDir, CheckpointStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::open(folder.path(), 2).unwrap();
        steps.iter().for_each(|step| fs::create_dir(store.path(*step)).unwrap());
        (folder, store)
    }

    #[test]
    fn steps_of_nine_digits_come_after_those_of_eight() {
        let (_folder, store) = store(&[100_000_000, 99_999_999, 2_000_000_000, 7]);
        assert_eq!(store.newest().unwrap(), Some(store.path(2_000_000_000)));
        store.forget_after(99_999_999).unwrap();
        assert_eq!(store.step_names().unwrap(), ["step-00000007", "step-99999999"]);
    }

    #[test]
    fn the_last_ones_are_kept_and_what_is_no_checkpoint_is_left_alone() {
        let (folder, store) = store(&[99_999_998, 99_999_999, 100_000_000]);
        let others = ["step-00000001.bak", "step-1", "step-000000001", "step-x", "notes"];
        others.iter().for_each(|name| fs::create_dir(folder.path().join(name)).unwrap());
        store.forget_old().unwrap();
        assert_eq!(store.step_names().unwrap(), ["step-99999999", "step-100000000"]);
        assert!(others.iter().all(|name| folder.path().join(name).is_dir()));
    }
}
