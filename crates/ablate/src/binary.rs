//! The moelt binary of an ablation: a copy of the planned one, which its cells run.

use std::{env, fs, path::Path, process};

use anyhow::{Context, Result, ensure};
use moelt_schema::{AblationPlan, Digest, sync_folder, write_atomically};

use super::AblationFolder;
use crate::Site;

/// Has the moelt binary built, once for all cells, and copied into the ablation's folder, so that a build that comes
/// later does not change what they run. Nothing is done when this process is that copy.
///
/// # Errors
/// When it does not build, is not of the planned code or cannot be copied.
pub(super) fn install(site: &Site, folder: &AblationFolder, plan: &AblationPlan) -> Result<()> {
    if is_this_process(folder) {
        return Ok(());
    }
    let binary = site.binary()?;
    ensure!(
        site.code()? == plan.code,
        "the code of moelt has changed meanwhile: that is not what was planned; plan again with another --name"
    );
    let own = folder.binary();
    copy(&binary, folder).with_context(|| format!("copying {} to {}", binary.display(), own.display()))
}

/// Hash of the code that cells of `plan` run when this process runs them.
///
/// # Errors
/// When it cannot be read.
pub(super) fn code(site: &Site, folder: &AblationFolder, plan: &AblationPlan) -> Result<Digest> {
    // It was of the planned code when it was copied.
    if is_this_process(folder) { Ok(plan.code) } else { site.code() }
}

/// Whether this process is the ablation's copy of the binary, as it was when it was copied.
fn is_this_process(folder: &AblationFolder) -> bool {
    let own = folder.binary().canonicalize().ok();
    own.is_some_and(|own| env::current_exe().is_ok_and(|this| this == own) && is_whole(folder, &own))
}

/// Whether the copy has the hash that was noted when it was made.
fn is_whole(folder: &AblationFolder, own: &Path) -> bool {
    let noted = fs::read_to_string(folder.binary_hash()).ok().and_then(|text| text.trim().parse().ok());
    noted.is_some_and(|noted: Digest| Digest::of_file(own).is_ok_and(|found| found == noted))
}

/// A file that runs cannot be written to, but its name can be given to another one. What is the same already stays:
/// cells may be about to start it.
fn copy(from: &Path, folder: &AblationFolder) -> std::io::Result<()> {
    let (own, digest) = (folder.binary(), Digest::of_file(from)?);
    if Digest::of_file(&own).ok() != Some(digest) {
        let new = own.with_extension(format!("{}.tmp", process::id()));
        fs::copy(from, &new)?;
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, &own)?;
        own.parent().map_or(Ok(()), sync_folder)?;
    }
    write_atomically(&folder.binary_hash(), digest.to_string().as_bytes())
}
