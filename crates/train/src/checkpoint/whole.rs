//! A checkpoint folder, written whole or not at all.

use std::{fs, path::Path};

use moelt_schema::{Digest, create_folders, sync_folder};

use super::{Checkpoint, CheckpointError};

impl Checkpoint {
    /// Writes the checkpoint as the folder `target`, whole or not at all: to a temporary sibling, synced,
    /// renamed. Folders on the way are created. Returns the hash of the manifest.
    ///
    /// # Errors
    /// When there is something at `target`, which is then untouched, or the disk refuses.
    pub fn save_as(&mut self, target: &Path) -> Result<Digest, CheckpointError> {
        let nameless = || CheckpointError::Exists(target.into());
        let name = target.file_name().ok_or_else(nameless)?.to_string_lossy();
        let folder = target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if target.symlink_metadata().is_ok() {
            return Err(CheckpointError::Exists(target.into()));
        }
        create_folders(folder).map_err(CheckpointError::io(folder))?;
        let temporary = folder.join(format!(".{name}.tmp"));
        let written = self.write_and_rename(&temporary, target);
        if written.is_err() {
            // The error is the one to tell. What cannot be removed now is when it is written again.
            let _ = remove(&temporary);
        }
        let digest = written?;
        sync_folder(folder).map_err(CheckpointError::io(folder))?;
        Ok(digest)
    }

    fn write_and_rename(&mut self, temporary: &Path, target: &Path) -> Result<Digest, CheckpointError> {
        remove(temporary)?;
        fs::create_dir(temporary).map_err(CheckpointError::io(temporary))?;
        let digest = self.write(temporary)?;
        sync_folder(temporary).map_err(CheckpointError::io(temporary))?;
        fs::rename(temporary, target).map_err(CheckpointError::io(target))?;
        Ok(digest)
    }
}

/// Removes a folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), CheckpointError> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(CheckpointError::io(path))?;
    }
    Ok(())
}
