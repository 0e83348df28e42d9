//! Folders that are written whole or not at all.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use moelt_schema::{Digest, create_folders, sync_folder};

use super::{Checkpoint, CheckpointError};

impl Checkpoint {
    /// Writes the checkpoint as the folder `target`, whole or not at all. Returns the hash of the manifest.
    ///
    /// # Errors
    /// When there is something at `target`, which is then untouched, or the disk refuses.
    pub fn save_as(&mut self, target: &Path) -> Result<Digest, CheckpointError> {
        write_folder(target, |folder| self.write(folder))
    }
}

/// Writes the folder `target` whole or not at all: to a temporary sibling, synced, renamed. Folders on the way are created.
///
/// # Errors
/// When there is something at `target`, which is then untouched, or the disk refuses.
pub(crate) fn write_folder<T>(
    target: &Path,
    write: impl FnOnce(&Path) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    let nameless = || CheckpointError::Exists(target.into());
    let name = target.file_name().ok_or_else(nameless)?.to_string_lossy();
    let folder = target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if target.symlink_metadata().is_ok() {
        return Err(CheckpointError::Exists(target.into()));
    }
    create_folders(folder).map_err(CheckpointError::io(folder))?;
    let temporary = folder.join(format!(".{name}.tmp"));
    let written = write_and_rename(&temporary, target, write);
    if written.is_err() {
        // The error is the one to tell. What cannot be removed now is when it is written again.
        let _ = remove(&temporary);
    }
    let written = written?;
    sync_folder(folder).map_err(CheckpointError::io(folder))?;
    Ok(written)
}

fn write_and_rename<T>(
    temporary: &Path,
    target: &Path,
    write: impl FnOnce(&Path) -> Result<T, CheckpointError>,
) -> Result<T, CheckpointError> {
    remove(temporary)?;
    fs::create_dir(temporary).map_err(CheckpointError::io(temporary))?;
    let written = write(temporary)?;
    sync_folder(temporary).map_err(CheckpointError::io(temporary))?;
    fs::rename(temporary, target).map_err(CheckpointError::io(target))?;
    Ok(written)
}

/// Writes a new file and syncs it.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let written =
        File::create(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(CheckpointError::io(path))
}

/// Removes a folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), CheckpointError> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(CheckpointError::io(path))?;
    }
    Ok(())
}
