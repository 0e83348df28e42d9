//! Where a run starts: from scratch, or from what another run left.

use std::path::{Path, PathBuf};

use burn::{module::Module, tensor::Device};
use moelt_eval::metrics;
use moelt_schema::{Inherited, Layout, Manifest, ModelConfig, Opening, RunConfig, StartFrom};

use crate::{
    CheckpointError, LoadedModel, Prepared, TrainError, TrainState, memory, predict, resolve_checkpoint,
};

/// The state before the first step, and what is to be said about it.
pub(crate) fn start(
    config: &RunConfig,
    prepared: &Prepared,
    device: &Device,
) -> Result<(TrainState, Option<String>), TrainError> {
    let start = &config.start;
    if start.run.is_empty() {
        check_size(config, prepared, None)?;
        return Ok((TrainState::new(config, prepared, device), None));
    }
    let (state, note) = from_run(config, prepared, device)?;
    // A config is checked with the experts it names; these are another run's.
    config.control.check_layout(&state.layout).map_err(|(key, message)| {
        let path = PathBuf::from(&start.run);
        refused(path, format!("does not fit `{key}` here: it {message}"))
    })?;
    Ok((state, Some(note)))
}

/// Refuses a model that this machine cannot train, with the experts of `layout` or with the config's own.
fn check_size(config: &RunConfig, prepared: &Prepared, layout: Option<&Layout>) -> Result<(), TrainError> {
    let (n_rows, n_classes) = (prepared.vocabulary.n_rows(), prepared.classes.len());
    memory::check_model(config, layout, n_rows, n_classes, memory::of_machine())
}

/// The state that `start.run` leads to.
fn from_run(
    config: &RunConfig,
    prepared: &Prepared,
    device: &Device,
) -> Result<(TrainState, String), TrainError> {
    let start = &config.start;
    no_placeholder("start.run", &start.run, "DIR")?;
    let path = resolve_checkpoint(Path::new(&start.run)).map_err(|error| match error {
        CheckpointError::NotFound(path) => refused(path, "has no checkpoint to start from".to_owned()),
        error => error.into(),
    })?;
    let loaded = LoadedModel::load(&path, device)?;
    let manifest = &loaded.checkpoint.manifest;
    let from = format!("{} (arm {}, step {})", start.run, manifest.arm, manifest.step);
    match start.take {
        StartFrom::Size => {
            let layout = manifest.layout.renumbered();
            check_size(config, prepared, Some(&layout))?;
            let note = format!("as many experts as {from}: {}", layout.n_experts());
            Ok((TrainState::with_layout(config, prepared, layout, device), note))
        }
        StartFrom::Weights => {
            same_ground(config, prepared, &loaded, &path)?;
            let repeated = reevaluate(&loaded, prepared, &path)?;
            let (layout, model) = (manifest.layout.clone(), loaded.evaluated().train());
            let note = format!("weights of {from}: {repeated}");
            let mut state = TrainState::from_model(config, layout, model);
            // Without this an expert that was still being let in would stay as it is, closed or half open.
            let anew = |opening: &Opening| Opening { since: 0, ..*opening };
            state.progress.openings = manifest.state.openings.iter().map(anew).collect();
            state.progress.inherited = inherited(manifest);
            Ok((state, note))
        }
    }
}

/// What went into the weights of a checkpoint.
fn inherited(manifest: &Manifest) -> Inherited {
    let before = manifest.state.inherited;
    Inherited {
        steps: before.steps.saturating_add(manifest.step),
        flops: before.flops + manifest.state.flops,
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
    Err(refused(path.into(), message.to_owned()))
}

/// Evaluates the loaded weights on validation, where they must repeat what was saved; says what they did.
fn reevaluate(loaded: &LoadedModel, prepared: &Prepared, path: &Path) -> Result<String, TrainError> {
    let checkpoint = &loaded.checkpoint;
    let validation = prepared.validation_at(checkpoint.manifest.step, prepared.steps_of(&checkpoint.config));
    let now = metrics(&predict(&loaded.evaluated(), &validation), prepared.classes.len());
    let accuracy = format!("{:.2} % on validation", 100.0 * now.accuracy);
    match &checkpoint.manifest.validation {
        None => Ok(format!("{accuracy}; the checkpoint says nothing to compare with")),
        Some(saved) if saved.counts_as(&now) => Ok(format!("{accuracy}, as when saved")),
        Some(saved) => {
            Err(TrainError::Reevaluation { path: path.into(), saved: saved.accuracy, now: now.accuracy })
        }
    }
}

fn refused(path: PathBuf, message: String) -> TrainError {
    TrainError::Start { key: "start.run", path, message }
}

/// Refuses the `{arm}` of a phase file: which cells it stands for is known to an ablation alone.
/// `set` is how a folder DIR is written for this key.
pub(crate) fn no_placeholder(key: &'static str, value: &str, set: &str) -> Result<(), TrainError> {
    let named = value.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let Some((arm, _)) = named.filter(|_| !Path::new(value).exists()) else { return Ok(()) };
    let message = format!(
        "stands for cells of arm `{arm}`, which only `cargo xtask ablate` fills in; name the folder of a run: \
         --set {key}={set}"
    );
    Err(TrainError::Start { key, path: value.into(), message })
}
