//! One file per command.

pub(crate) mod ablate;
pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod devices;
pub(crate) mod edit;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod inspect;
mod minutes;
pub(crate) mod predict;
mod read_ahead;
mod recipe;
mod refit;
pub(crate) mod size;
pub(crate) mod train;
mod window;
mod words;

use std::path::Path;

use anyhow::bail;
use burn::tensor::Device;
use moelt_train::{LoadedModel, resolve_checkpoint};

/// Refuses a place for a new folder where there is something already, before anything is loaded.
fn must_be_new(out: &Path) -> anyhow::Result<()> {
    if out.symlink_metadata().is_ok() {
        bail!("--out {}: is there already; name a folder that is not", out.display());
    }
    Ok(())
}

/// Notes about data, on standard error.
fn say(notes: &[String]) {
    notes.iter().for_each(|note| moelt_ablate::tell!("note: {note}"));
}

/// The checkpoint that a path means, loaded: of a run the one that it was judged by. What answers is [`LoadedModel::open`].
fn load(path: &Path, device: &Device) -> anyhow::Result<LoadedModel> {
    Ok(LoadedModel::load(&resolve_checkpoint(path)?, device)?)
}
