//! A model in a form that programs without moelt read, and its weights on their way back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use moelt_optim::{HostTensor, export};
use moelt_schema::{LayerLayout, ModelConfig};
use serde::Serialize;

use super::{
    CheckpointError, LoadedModel,
    files::{GROUPS, MODEL, VOCABULARY},
    tensors::{Stored, StoredTensors, check_keys, check_values, from_bytes, to_bytes},
    whole::{write_file, write_folder},
};

/// Version of the exported form.
const EXPORT_FORMAT: u32 = 1;
const CONFIG: &str = "config.json";

/// The evaluated weights of a checkpoint and all that it takes to compute with them, apart from how they were trained.
///
/// | file | what |
/// |---|---|
/// | `config.json` | `format`, `moelt`, `classes`, `domains`, `n_rows` of the embedding table, `layers` (kind, and ids of the experts), `model` (the config's table) |
/// | `vocabulary.json` | as in a checkpoint |
/// | `groups.json` | as in a checkpoint, where experts are assigned by groups |
/// | `model.safetensors` | every parameter by its path, f32, experts stacked on their axis in the order of `layers` |
#[derive(Debug)]
pub struct ExportedModel {
    config: String,
    vocabulary: String,
    groups: Option<String>,
    weights: StoredTensors,
}

/// What `config.json` says.
#[derive(Serialize)]
struct Description<'a> {
    format: u32,
    moelt: &'a str,
    classes: &'a [String],
    domains: &'a [String],
    n_rows: usize,
    layers: &'a [LayerLayout],
    model: &'a ModelConfig,
}

impl ExportedModel {
    /// That of a checkpoint: the averaged weights, or those under training where there are none.
    pub fn of(loaded: &LoadedModel) -> Self {
        let checkpoint = &loaded.checkpoint;
        let description = Description {
            format: EXPORT_FORMAT,
            moelt: env!("CARGO_PKG_VERSION"),
            classes: &checkpoint.manifest.classes,
            domains: &checkpoint.manifest.domains,
            n_rows: loaded.vocabulary.n_rows(),
            layers: checkpoint.manifest.layout.layers(),
            model: &checkpoint.config.model,
        };
        Self {
            config: serde_json::to_string_pretty(&description).expect("names and numbers always serialise"),
            vocabulary: checkpoint.vocabulary.clone(),
            groups: checkpoint.groups.clone(),
            weights: stored(export(&loaded.evaluated)),
        }
    }

    /// Tensors, and values in all of them.
    pub fn size(&self) -> (usize, usize) {
        (self.weights.len(), self.weights.values().filter_map(Stored::values).map(<[f32]>::len).sum())
    }

    /// Writes the folder `target`, whole or not at all. Returns the names of its files.
    ///
    /// # Errors
    /// When there is something at `target`, which is then untouched, or the disk refuses.
    pub fn save_as(&self, target: &Path) -> Result<Vec<&'static str>, CheckpointError> {
        let mut files: Vec<(&str, Vec<u8>)> = vec![
            (CONFIG, self.config.clone().into_bytes()),
            (VOCABULARY, self.vocabulary.clone().into_bytes()),
            (MODEL, to_bytes(&self.weights)),
        ];
        files.extend(self.groups.as_ref().map(|groups| (GROUPS, groups.clone().into_bytes())));
        write_folder(target, |folder| {
            files.iter().try_for_each(|(name, bytes)| write_file(&folder.join(name), bytes))
        })?;
        Ok(files.into_iter().map(|(name, _)| name).collect())
    }
}

impl LoadedModel {
    /// Reads weights for this model that were exported and may have been changed since: a `model.safetensors`, or the folder
    /// in which it lies.
    ///
    /// # Errors
    /// When the file cannot be read, has not exactly the tensors that are exported, or a number that is not finite.
    pub(crate) fn read_weights(&self, path: &Path) -> Result<BTreeMap<String, HostTensor>, CheckpointError> {
        let path: PathBuf = if path.is_dir() { path.join(MODEL) } else { path.into() };
        let bytes = fs::read(&path).map_err(CheckpointError::io(&path))?;
        let tensors = from_bytes(&bytes, &path)?;
        check_keys(&tensors, &stored(export(&self.evaluated)), &path)?;
        check_values(&tensors, self.checkpoint.manifest.step, &path)?;
        let weights = tensors.into_iter().filter_map(|(name, stored)| Some((name, stored.into_f32()?)));
        Ok(weights.collect())
    }
}

fn stored(weights: BTreeMap<String, HostTensor>) -> StoredTensors {
    weights.into_iter().map(|(name, tensor)| (name, Stored::F32(tensor))).collect()
}
