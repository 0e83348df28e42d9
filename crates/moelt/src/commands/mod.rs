//! One file per command.

pub(crate) mod ablate;
pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod devices;
pub(crate) mod edit;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod predict;
mod read_ahead;
pub(crate) mod size;
pub(crate) mod train;
mod window;
mod words;

use std::path::Path;

use burn::tensor::Device;
use moelt_train::{LoadedModel, resolve_checkpoint};

/// Notes about data, on standard error.
fn say(notes: &[String]) {
    notes.iter().for_each(|note| eprintln!("note: {note}"));
}

/// The checkpoint that a path means, loaded.
fn load(path: &Path, device: &Device) -> anyhow::Result<LoadedModel> {
    Ok(LoadedModel::load(&resolve_checkpoint(path)?, device)?)
}
