//! Where a run starts: from scratch, or from what another run left.

use std::path::{Path, PathBuf};

use burn::{module::Module, tensor::Device};
use moelt_eval::metrics;
use moelt_schema::{ModelConfig, RunConfig, StartFrom};

use crate::{CheckpointError, LoadedModel, Prepared, TrainError, TrainState, predict, resolve_checkpoint};

/// The state before the first step, and what is to be said about it.
pub(crate) fn start(
    config: &RunConfig,
    prepared: &Prepared,
    device: &Device,
) -> Result<(TrainState, Option<String>), TrainError> {
    let start = &config.start;
    if start.run.is_empty() {
        return Ok((TrainState::new(config, prepared, device), None));
    }
    let path = resolve_checkpoint(Path::new(&start.run)).map_err(|error| match error {
        CheckpointError::NotFound(path) => refused(path, "has no checkpoint to start from"),
        error => error.into(),
    })?;
    let loaded = LoadedModel::load(&path, device)?;
    let manifest = &loaded.checkpoint.manifest;
    let from = format!("{} (arm {}, step {})", start.run, manifest.arm, manifest.step);
    match start.take {
        StartFrom::Size => {
            let layout = manifest.layout.renumbered();
            let note = format!("as many experts as {from}: {}", layout.n_experts());
            Ok((TrainState::with_layout(config, prepared, layout, device), Some(note)))
        }
        StartFrom::Weights => {
            same_ground(config, prepared, &loaded, &path)?;
            let repeated = reevaluate(&loaded, prepared, &path)?;
            let (layout, model) = (manifest.layout.clone(), loaded.evaluated().train());
            let note = format!("weights of {from}: {repeated}");
            Ok((TrainState::from_model(config, layout, model), Some(note)))
        }
    }
}

/// Weights mean something only with the data, the words and the sizes that they were trained with.
fn same_ground(
    config: &RunConfig,
    prepared: &Prepared,
    loaded: &LoadedModel,
    path: &Path,
) -> Result<(), TrainError> {
    let manifest = &loaded.checkpoint.manifest;
    let sizes = |model: &ModelConfig| ModelConfig { n_experts: 0, ..model.clone() };
    let message = if prepared.vocabulary.digest() != manifest.vocabulary {
        "was trained with another vocabulary"
    } else if prepared.digest != manifest.data {
        "was trained on other data"
    } else if sizes(&config.model) != sizes(&loaded.checkpoint.config.model) {
        "has another model; set the [model] section as in its config.toml"
    } else {
        return Ok(());
    };
    Err(refused(path.into(), message))
}

/// Evaluates the loaded weights on selection, where they must repeat what was saved; says what they did.
fn reevaluate(loaded: &LoadedModel, prepared: &Prepared, path: &Path) -> Result<String, TrainError> {
    let now = metrics(&predict(&loaded.evaluated(), &prepared.selection), prepared.classes.len());
    let accuracy = format!("{:.2} % on selection", 100.0 * now.accuracy);
    match &loaded.checkpoint.manifest.selection {
        None => Ok(format!("{accuracy}; the checkpoint says nothing to compare with")),
        Some(saved) if saved.confusion == now.confusion => Ok(format!("{accuracy}, as when saved")),
        Some(saved) => {
            Err(TrainError::Reevaluation { path: path.into(), saved: saved.accuracy, now: now.accuracy })
        }
    }
}

fn refused(path: PathBuf, message: &str) -> TrainError {
    TrainError::Start { key: "start.run", path, message: message.to_owned() }
}
