//! The files of one checkpoint folder, written once and read strictly.

use std::{collections::BTreeMap, fs, io, path::Path};

use moelt_schema::{CHECKPOINT_FORMAT, Digest, Manifest, RunConfig, resolved_toml};

use super::{
    CheckpointError,
    tensors::{Stored, StoredTensors, check_values, from_bytes, to_bytes},
    whole::write_file,
};

pub(crate) const MANIFEST: &str = "manifest.json";
const MANIFEST_HASH: &str = "manifest.blake3";
const CONFIG: &str = "config.toml";
pub(crate) const VOCABULARY: &str = "vocabulary.json";
pub(crate) const GROUPS: &str = "groups.json";
pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const AVERAGE: &str = "average.safetensors";
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";

/// Everything a run needs to go on, or a model to predict. Tensors have their names on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What the checkpoint says about itself.
    pub manifest: Manifest,
    /// The run's config.
    pub config: RunConfig,
    /// The vocabulary, as JSON.
    pub vocabulary: String,
    /// What texts' groups are made of, as JSON, where experts are assigned by them.
    pub groups: Option<String>,
    pub(crate) model: StoredTensors,
    pub(crate) average: Option<StoredTensors>,
    pub(crate) optimizer: StoredTensors,
}

impl Checkpoint {
    /// Whether a folder is that of a checkpoint, sound or not.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(MANIFEST).exists()
    }

    /// Writes all files into `folder`, which exists and is empty, and syncs them. Fills in the
    /// manifest's file hashes. Returns the hash of the manifest. What could not be read again is not written.
    pub(crate) fn write(&mut self, folder: &Path) -> Result<Digest, CheckpointError> {
        self.manifest.check(&self.config).map_err(|message| malformed(folder, MANIFEST, message))?;
        let mut files: Vec<(&str, Vec<u8>)> = vec![
            (CONFIG, resolved_toml(&self.config).into_bytes()),
            (VOCABULARY, self.vocabulary.clone().into_bytes()),
            (MODEL, to_bytes(&self.model)),
            (OPTIMIZER, to_bytes(&self.optimizer)),
        ];
        files.extend(self.groups.as_ref().map(|groups| (GROUPS, groups.clone().into_bytes())));
        files.extend(self.average.as_ref().map(|average| (AVERAGE, to_bytes(average))));
        self.manifest.files =
            files.iter().map(|(name, bytes)| ((*name).to_owned(), Digest::of_bytes(bytes))).collect();
        let manifest = serde_json::to_vec_pretty(&self.manifest).expect("manifests always serialise");
        let digest = Digest::of_bytes(&manifest);
        files.push((MANIFEST, manifest));
        files.push((MANIFEST_HASH, hash_line(&digest).into_bytes()));
        files.iter().try_for_each(|(name, bytes)| write_file(&folder.join(name), bytes))?;
        Ok(digest)
    }

    /// The first number in it that is not finite, and where: nothing could go on from there.
    pub(crate) fn not_finite(&self) -> Option<(&'static str, f64)> {
        let Manifest { state, validation, probe, .. } = &self.manifest;
        let tensors = [
            ("a weight", Some(&self.model)),
            ("an averaged weight", self.average.as_ref()),
            ("optimizer state", Some(&self.optimizer)),
        ];
        let in_tensors =
            tensors.into_iter().find_map(|(what, tensors)| Some((what, not_finite_tensor(tensors?)?)));
        let logits = probe.logits.iter().chain(probe.ema_logits.iter().flatten()).flatten();
        let losses = state.best.iter().map(|best| best.loss).chain(validation.iter().map(|m| m.loss));
        in_tensors
            .or_else(|| Some(("model's output", logits.map(|v| f64::from(*v)).find(not_finite)?)))
            .or_else(|| Some(("validation loss", losses.into_iter().find(not_finite)?)))
            .or_else(|| Some(("routing statistic", state.sums().find(not_finite)?)))
    }

    /// Reads the checkpoint in `folder`, verifying every hash, and that manifest and config can be those of one run.
    ///
    /// # Errors
    /// When a file is missing, one too many or not exactly what was saved, the format is another, or what is said
    /// contradicts itself.
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        if !Self::is_at(folder) {
            return Err(CheckpointError::NotFound(folder.into()));
        }
        Self::from_files(folder, |name| fs::read(folder.join(name)))
    }

    /// The same of files that lie elsewhere, such as in memory: `read` returns what the file of a name holds. `folder`
    /// stands in errors alone.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_files(
        folder: &Path,
        read: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Self, CheckpointError> {
        let files = Files { folder, read };
        let manifest = files.manifest()?;
        let read = |name: &str| files.hashed(name, &manifest.files);
        let text = |name: &str| {
            let message = "is not UTF-8 text".to_owned();
            String::from_utf8(read(name)?).map_err(|_| malformed(folder, name, message))
        };
        let config = RunConfig::from_toml(&text(CONFIG)?).map_err(|e| malformed(folder, CONFIG, e))?;
        config.check().map_err(|fault| malformed(folder, CONFIG, fault.to_string()))?;
        let averaged = config.optim.ema_decay > 0.0;
        let grouped = config.model.routing.assigned_by().is_some();
        let expected = [CONFIG, VOCABULARY, MODEL, OPTIMIZER].into_iter();
        let expected = expected.chain(averaged.then_some(AVERAGE)).chain(grouped.then_some(GROUPS));
        let expected: Vec<&str> = expected.collect();
        let checked = manifest.check_files(&expected).and_then(|()| manifest.check(&config));
        checked.map_err(|message| malformed(folder, MANIFEST, message))?;
        let tensors = |name: &str| -> Result<StoredTensors, CheckpointError> {
            let (path, step) = (folder.join(name), manifest.step);
            let tensors = from_bytes(&read(name)?, &path)?;
            check_values(&tensors, step, &path)?;
            Ok(tensors)
        };
        Ok(Self {
            config,
            vocabulary: text(VOCABULARY)?,
            groups: grouped.then(|| text(GROUPS)).transpose()?,
            model: tensors(MODEL)?,
            average: averaged.then(|| tensors(AVERAGE)).transpose()?,
            optimizer: tensors(OPTIMIZER)?,
            manifest,
        })
    }
}

/// Files by name, none of them trusted.
struct Files<'a, R> {
    folder: &'a Path,
    read: R,
}

impl<R: Fn(&str) -> io::Result<Vec<u8>>> Files<'_, R> {
    fn bytes(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        (self.read)(name).map_err(CheckpointError::io(&self.folder.join(name)))
    }

    /// `manifest.json`, verified against `manifest.blake3`.
    fn manifest(&self) -> Result<Manifest, CheckpointError> {
        let bytes = self.bytes(MANIFEST)?;
        let (path, found) = (self.folder.join(MANIFEST), Digest::of_bytes(&bytes));
        let expected = self.bytes(MANIFEST_HASH)?;
        if expected != hash_line(&found).into_bytes() {
            let expected = String::from_utf8_lossy(&expected).trim().to_owned();
            return Err(CheckpointError::Hash { path, expected, found });
        }
        let malformed = |error: serde_json::Error| malformed(self.folder, MANIFEST, error.to_string());
        let format = Manifest::format_of(&bytes).map_err(malformed)?;
        if format != u64::from(CHECKPOINT_FORMAT) {
            return Err(CheckpointError::Format { path, found: format });
        }
        serde_json::from_slice(&bytes).map_err(malformed)
    }

    /// The file of this name, which has the hash that the manifest lists.
    fn hashed(&self, name: &str, files: &BTreeMap<String, Digest>) -> Result<Vec<u8>, CheckpointError> {
        let unnamed = || malformed(self.folder, MANIFEST, format!("names no file `{name}`"));
        let expected = files.get(name).ok_or_else(unnamed)?;
        let bytes = self.bytes(name)?;
        let found = Digest::of_bytes(&bytes);
        if found == *expected {
            Ok(bytes)
        } else {
            let (path, expected) = (self.folder.join(name), expected.to_string());
            Err(CheckpointError::Hash { path, expected, found })
        }
    }
}

/// Hash of the manifest of the checkpoint in `folder`.
pub(crate) fn manifest_digest(folder: &Path) -> Result<Digest, CheckpointError> {
    let path = folder.join(MANIFEST);
    Digest::of_file(&path).map_err(CheckpointError::io(&path))
}

fn malformed(folder: &Path, name: &str, message: String) -> CheckpointError {
    CheckpointError::Malformed { path: folder.join(name), message }
}

fn not_finite(value: &f64) -> bool {
    !value.is_finite()
}

fn not_finite_tensor(tensors: &StoredTensors) -> Option<f64> {
    let values = tensors.values().filter_map(Stored::values).flatten();
    values.map(|value| f64::from(*value)).find(not_finite)
}

/// What `b3sum manifest.json` prints.
fn hash_line(digest: &Digest) -> String {
    format!("{digest}  {MANIFEST}\n")
}
