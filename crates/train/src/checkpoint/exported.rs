//! A model in a form that programs without moelt read, and its weights on their way back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use moelt_optim::{HostTensor, export};
use moelt_schema::{LayerLayout, ModelConfig, create_folders, sync_folder};
use safetensors::SafeTensors;
use serde::Serialize;

use super::{
    CheckpointError, LoadedModel,
    files::{GROUPS, MODEL, VOCABULARY},
    tensors::{Stored, StoredTensors, check_keys, check_values, from_bytes, to_bytes},
    whole::{write_file, write_folder},
};

/// Version of the exported form.
const EXPORT_FORMAT: u32 = 1;
pub(super) const CONFIG: &str = "config.json";

/// The evaluated weights of a checkpoint and all that it takes to compute with them, apart from how they were trained.
///
/// | file | what |
/// |---|---|
/// | `config.json` | `format`, `moelt`, `classes`, `domains`, `n_rows` of the embedding table, `layers` (kind, and ids of the experts), `model` (the config's table) |
/// | `vocabulary.json` | as in a checkpoint |
/// | `groups.json` | as in a checkpoint, where experts are assigned by groups |
/// | `model.safetensors` | every parameter by its path, f32, experts stacked on their axis in the order of `layers` |
///
/// [`Self::hugging_face`] writes the same weights as other programs have them.
#[derive(Debug)]
pub struct ExportedModel {
    /// Contents by name; a name may lie in a folder.
    pub(super) files: BTreeMap<&'static str, Vec<u8>>,
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
        let mut files = BTreeMap::from([
            (CONFIG, pretty(&description)),
            (VOCABULARY, checkpoint.vocabulary.clone().into_bytes()),
            (MODEL, to_bytes(&stored(export(&loaded.evaluated)))),
        ]);
        files.extend(checkpoint.groups.as_ref().map(|groups| (GROUPS, groups.clone().into_bytes())));
        Self { files }
    }

    /// Tensors, and values in all of them.
    pub fn size(&self) -> (usize, usize) {
        let weights = self.files.iter().filter(|(name, _)| name.ends_with(".safetensors"));
        let tensors: Vec<usize> = weights
            .filter_map(|(_, bytes)| SafeTensors::deserialize(bytes).ok())
            .flat_map(|file| file.iter().map(|(_, view)| view.shape().iter().product()).collect::<Vec<_>>())
            .collect();
        (tensors.len(), tensors.iter().sum())
    }

    /// Writes the folder `target`, whole or not at all. Returns the names of its files.
    ///
    /// # Errors
    /// When there is something at `target`, which is then untouched, or the disk refuses.
    pub fn save_as(&self, target: &Path) -> Result<Vec<&'static str>, CheckpointError> {
        write_folder(target, |folder| {
            self.files.iter().try_for_each(|(name, bytes)| {
                let path = folder.join(name);
                let within = path.parent().expect("it lies in the folder");
                create_folders(within).map_err(CheckpointError::io(within))?;
                write_file(&path, bytes)?;
                sync_folder(within).map_err(CheckpointError::io(within))
            })
        })?;
        Ok(self.files.keys().copied().collect())
    }
}

/// JSON for people.
pub(super) fn pretty(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("names and numbers always serialise")
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
