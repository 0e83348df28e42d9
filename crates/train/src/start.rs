//! Where a run starts: from scratch, or from what another run left.

use std::path::PathBuf;

use burn::{module::Module, tensor::Device};
use moelt_eval::metrics;
use moelt_schema::{Inherited, Manifest, ModelConfig, RampIn, RunConfig, RunRef, StartConfig};

use crate::{
    CheckpointError, LoadedModel, Prepared, TrainError, TrainState,
    other_runs::folder_of,
    predict, resolve_checkpoint,
    scratch::{check_size, drawn, from_scratch},
};

/// The state before the first step, and what is to be said about it.
pub(crate) fn start(
    config: &RunConfig,
    prepared: &Prepared,
    device: &Device,
) -> Result<(TrainState, Option<String>), TrainError> {
    let (other, (state, note)) = match &config.start {
        StartConfig::Scratch {} => return from_scratch(config, prepared, device),
        StartConfig::Weights { run } => {
            let other = Other::of("start.weights.run", run, device)?;
            let begun = with_weights(config, prepared, &other)?;
            (other, begun)
        }
        StartConfig::Size { run } => {
            let other = Other::of("start.size.run", run, device)?;
            let begun = with_size(config, prepared, &other, device)?;
            (other, begun)
        }
    };
    // A config is checked with the experts it names; these are another run's.
    config
        .control
        .check_layout(&state.layout)
        .map_err(|fault| other.refused(format!("does not fit `{}` here: it {}", fault.key, fault.message)))?;
    Ok((state, Some(note)))
}

/// The checkpoint of another run that this one starts from.
struct Other {
    key: &'static str,
    path: PathBuf,
    loaded: LoadedModel,
    /// For people.
    name: String,
}

impl Other {
    fn of(key: &'static str, run: &RunRef, device: &Device) -> Result<Self, TrainError> {
        let folder = folder_of(key, run)?;
        let path = resolve_checkpoint(folder).map_err(|error| match error {
            CheckpointError::NotFound(path) => {
                TrainError::Start { key, path, message: "has no checkpoint to start from".to_owned() }
            }
            error => error.into(),
        })?;
        let loaded = LoadedModel::load(&path, device)?;
        let manifest = &loaded.checkpoint.manifest;
        let name = format!("{} (arm {}, step {})", folder.display(), manifest.arm, manifest.step);
        Ok(Self { key, path, loaded, name })
    }

    fn refused(&self, message: String) -> TrainError {
        TrainError::Start { key: self.key, path: self.path.clone(), message }
    }
}

fn with_size(
    config: &RunConfig,
    prepared: &Prepared,
    other: &Other,
    device: &Device,
) -> Result<(TrainState, String), TrainError> {
    if config.model.pretrained.is_some() {
        let message = "has experts, whose weights would be drawn, but model.pretrained brings those of dense layers; set \
                       model.upcycle.n_experts instead";
        return Err(other.refused(message.to_owned()));
    }
    let layout = other.loaded.checkpoint.manifest.layout.renumbered();
    check_size(config, prepared, Some(&layout))?;
    let size = format!("as many experts as {}: {}", other.name, layout.n_experts());
    let (state, note) = drawn(config, prepared, layout, device)?;
    Ok((state, size + &note.map_or_else(String::new, |note| format!("; {note}"))))
}

fn with_weights(
    config: &RunConfig,
    prepared: &Prepared,
    other: &Other,
) -> Result<(TrainState, String), TrainError> {
    same_ground(config, prepared, other)?;
    let repeated = reevaluate(other, prepared)?;
    let manifest = &other.loaded.checkpoint.manifest;
    let (layout, model) = (manifest.layout.clone(), other.loaded.evaluated().train());
    let rest = if layout.all_trained() { "" } else { "; what is frozen there stays frozen" };
    let note = format!("weights of {}: {repeated}{rest}", other.name);
    let mut state = TrainState::from_model(config, layout, model);
    // Without this an expert that was still ramping in would stay as it is, closed or half open.
    let anew = |ramping_in: &RampIn| RampIn { since: 0, ..*ramping_in };
    state.progress.ramp_ins = manifest.state.ramp_ins.iter().map(anew).collect();
    state.progress.inherited = inherited(manifest);
    Ok((state, note))
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
fn same_ground(config: &RunConfig, prepared: &Prepared, other: &Other) -> Result<(), TrainError> {
    let checkpoint = &other.loaded.checkpoint;
    // How weights and experts began does not matter any more.
    let sizes = |model: &ModelConfig| ModelConfig {
        routing: model.routing.with_experts(0),
        pretrained: None,
        pretrained_digest: None,
        vectors: None,
        vectors_digest: None,
        upcycle: None,
        ..model.clone()
    };
    let message = if prepared.vocabulary.digest() != checkpoint.manifest.vocabulary {
        "was trained with another vocabulary"
    } else if prepared.digest != checkpoint.manifest.data {
        "was trained on other data"
    } else if sizes(&config.model) != sizes(&checkpoint.config.model) {
        "has another model; set the [model] section as in its config.toml"
    } else if prepared.grouping != other.loaded.grouping {
        "has other groups of texts behind its experts; clusters are those of one seed and one number of experts"
    } else {
        return Ok(());
    };
    Err(other.refused(message.to_owned()))
}

/// Evaluates the loaded weights on validation, where they must repeat what was saved; says what they did.
fn reevaluate(other: &Other, prepared: &Prepared) -> Result<String, TrainError> {
    let checkpoint = &other.loaded.checkpoint;
    let validation = prepared.validation_at(checkpoint.manifest.step, prepared.steps_of(&checkpoint.config));
    let now = metrics(&predict(&other.loaded.evaluated(), &validation), prepared.classes.len());
    let accuracy = format!("{:.2} % on validation", 100.0 * now.accuracy);
    match &checkpoint.manifest.validation {
        None if now.n == 0 => Ok("there is no validation text to ask it about".to_owned()),
        None => Ok(format!("{accuracy}; the checkpoint says nothing to compare with")),
        Some(saved) if saved.counts_as(&now) => Ok(format!("{accuracy}, as when saved")),
        Some(saved) => Err(TrainError::Reevaluation {
            path: other.path.clone(),
            saved: saved.accuracy,
            now: now.accuracy,
        }),
    }
}
