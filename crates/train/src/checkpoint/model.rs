//! A checkpoint as a model that can be trusted.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use moelt_data::{TextGroups, Vocabulary};
use moelt_model::{Classifier, ClassifierConfig};
use moelt_optim::{AverageState, HostTensor, ParamState, export, import};
use moelt_schema::{AssignedBy, ExpertAxes, RunDir, Streams};

use super::{
    Checkpoint, CheckpointError, CheckpointStore, ExpertNames,
    files::{AVERAGE, GROUPS, MANIFEST, MODEL, OPTIMIZER, VOCABULARY},
    probe::{check_probe, inputs_of, tolerance},
    tensors::{StoredTensors, check_keys, n_values},
};

use crate::{Grouping, param_groups};

/// A model may need so many values more than there are before it is refused for its size alone.
const FEW_VALUES: u128 = 1 << 16;

/// The model of a checkpoint, filled strictly and probed.
pub struct LoadedModel {
    /// Where it came from.
    pub path: PathBuf,
    /// The checkpoint itself.
    pub checkpoint: Checkpoint,
    /// The vocabulary of the weights.
    pub vocabulary: Vocabulary,
    /// How texts get their groups, where experts are assigned by them.
    pub grouping: Option<Grouping>,
    /// The weights under training.
    pub trained: Classifier,
    /// The averaged weights by path, when averaging is on.
    pub average: Option<BTreeMap<String, AverageState>>,
    /// The optimizer's state by path.
    pub optimizer: BTreeMap<String, ParamState>,
    /// The averaged weights, or those under training where there are none.
    pub(crate) evaluated: Classifier,
}

impl LoadedModel {
    /// Loads the checkpoint in `path` onto `device`: the model is built from the layout, once it is known to be no
    /// larger than the file of its weights, then filled; every tensor must be there, none may be left over; the
    /// probe is recomputed.
    ///
    /// # Errors
    /// When anything is not exactly what was saved.
    pub fn load(path: &Path, device: &Device) -> Result<Self, CheckpointError> {
        Self::of(Checkpoint::read(path)?, path, device)
    }

    /// The same of a checkpoint that was read already, from `path`.
    ///
    /// # Errors
    /// When anything is not exactly what was saved.
    pub fn of(checkpoint: Checkpoint, path: &Path, device: &Device) -> Result<Self, CheckpointError> {
        check_folder(&checkpoint, path)?;
        let vocabulary = vocabulary(&checkpoint, path)?;
        let grouping = grouping(&checkpoint, path)?;
        let empty = build(&checkpoint, &vocabulary, path, device)?;
        let names = ExpertNames::new(&empty.expert_axes(), &checkpoint.manifest.layout);
        let shapes = export(&empty);
        check_keys(&checkpoint.model, &names.split(&shapes), &path.join(MODEL))?;
        let fill = |tensors| import(empty.clone(), tensors).expect("keys and shapes were checked");
        let trained = fill(names.join(&checkpoint.model, shapes.keys()));
        let average = checkpoint.average.as_ref().map(|stored| average(stored, &names, &shapes, path));
        let average = average.transpose()?;
        let probe = &checkpoint.manifest.probe;
        let inputs = inputs_of(probe);
        let tolerance = tolerance(probe, &trained);
        check_probe(&trained, &inputs, &probe.logits, tolerance, "trained", path)?;
        let evaluated = average.as_ref().map_or(trained.clone(), |average| fill(weights_of(average)));
        if average.is_some() {
            let saved = probe.ema_logits.as_deref().unwrap_or_default();
            check_probe(&evaluated, &inputs, saved, tolerance, "averaged", path)?;
        }
        let optimizer = optimizer(&checkpoint, &names, &shapes, path)?;
        tracing::info!(
            "loaded {} (arm {}, seed {}, step {}): {} model, {} averaged and {} optimizer tensors; probe repeated",
            path.display(),
            checkpoint.manifest.arm,
            checkpoint.manifest.seed,
            checkpoint.manifest.step,
            checkpoint.model.len(),
            checkpoint.average.as_ref().map_or(0, BTreeMap::len),
            checkpoint.optimizer.len()
        );
        Ok(Self {
            path: path.into(),
            vocabulary,
            grouping,
            trained,
            average,
            optimizer,
            evaluated,
            checkpoint,
        })
    }

    /// The model that is evaluated: averaged weights when averaging is on.
    pub fn evaluated(&self) -> Classifier {
        self.evaluated.clone()
    }
}

/// A folder named after a step holds the checkpoint of that step.
fn check_folder(checkpoint: &Checkpoint, path: &Path) -> Result<(), CheckpointError> {
    let step = checkpoint.manifest.step;
    match path.file_name().and_then(|name| CheckpointStore::step_of(&name.to_string_lossy())) {
        Some(named) if named != step => {
            Err(malformed(path, MANIFEST, format!("step: is {step}, but the folder is that of step {named}")))
        }
        _ => Ok(()),
    }
}

/// The vocabulary, which must be that of config and manifest and know the tokens of the probe.
fn vocabulary(checkpoint: &Checkpoint, path: &Path) -> Result<Vocabulary, CheckpointError> {
    let Checkpoint { manifest, config, .. } = checkpoint;
    let vocabulary = Vocabulary::from_json(&checkpoint.vocabulary)
        .map_err(|e| malformed(path, VOCABULARY, e.to_string()))?;
    let (expected, found) = (manifest.vocabulary, vocabulary.digest());
    if expected != found {
        return Err(CheckpointError::Vocabulary { path: path.into(), expected, found });
    }
    if *vocabulary.text() != config.text {
        let message = "text: is another one than the [text] section of config.toml".to_owned();
        return Err(malformed(path, VOCABULARY, message));
    }
    let probed = manifest.probe.check_rows(vocabulary.n_rows(), vocabulary.rows_per_token());
    probed.map_err(|message| malformed(path, MANIFEST, message))?;
    Ok(vocabulary)
}

/// How texts get their groups; where they are domains, these are the manifest's.
fn grouping(checkpoint: &Checkpoint, path: &Path) -> Result<Option<Grouping>, CheckpointError> {
    let Checkpoint { manifest, config, groups, .. } = checkpoint;
    let (Some(by), Some(groups)) = (config.model.routing.assigned_by(), groups) else { return Ok(None) };
    let groups = TextGroups::from_json(groups).map_err(|e| malformed(path, GROUPS, e.to_string()))?;
    let (n, expected) = (groups.n_groups(), manifest.domains.len());
    if by != AssignedBy::Clusters && n != expected {
        let message = format!("has {n} groups, but manifest.json names {expected} domains");
        return Err(malformed(path, GROUPS, message));
    }
    Ok(Some(Grouping::new(by, groups)))
}

/// The model with weights to be overwritten. It is not made when it has far more values than the file of the weights:
/// sizes that somebody wrote down are no reason to fill the memory. When it is, tensors are compared one by one, so
/// that the error names those that differ.
fn build(
    checkpoint: &Checkpoint,
    vocabulary: &Vocabulary,
    path: &Path,
    device: &Device,
) -> Result<Classifier, CheckpointError> {
    let config = ClassifierConfig {
        model: checkpoint.config.model.clone(),
        layout: checkpoint.manifest.layout.clone(),
        n_rows: vocabulary.n_rows(),
        n_classes: checkpoint.manifest.classes.len(),
    };
    let (needed, stored) = (config.n_values(), n_values(&checkpoint.model));
    if needed > 2 * stored + FEW_VALUES {
        let (parameter, shape) = config.largest_parameter();
        return Err(CheckpointError::Size { path: path.join(MODEL), stored, needed, parameter, shape });
    }
    Ok(config.init(&Streams::new(checkpoint.manifest.seed), device))
}

fn malformed(path: &Path, file: &str, message: String) -> CheckpointError {
    CheckpointError::Malformed { path: path.join(file), message }
}

fn weights_of(average: &BTreeMap<String, AverageState>) -> BTreeMap<String, HostTensor> {
    average.iter().map(|(path, state)| (path.clone(), state.weights.clone())).collect()
}

/// The averaged weights, which must cover exactly the model's parameters.
fn average(
    stored: &StoredTensors,
    names: &ExpertNames,
    shapes: &BTreeMap<String, HostTensor>,
    path: &Path,
) -> Result<BTreeMap<String, AverageState>, CheckpointError> {
    let empty = |(path, tensor): (&String, &HostTensor)| {
        (path.clone(), AverageState::new(tensor.clone(), names.axis(path)))
    };
    let expected = shapes.iter().map(empty).collect();
    check_keys(stored, &names.split_average(&expected), &path.join(AVERAGE))?;
    Ok(names.join_average(stored, expected.keys()))
}

/// The optimizer's state, which must cover exactly the parameters that the manifest lists.
fn optimizer(
    checkpoint: &Checkpoint,
    names: &ExpertNames,
    shapes: &BTreeMap<String, HostTensor>,
    path: &Path,
) -> Result<BTreeMap<String, ParamState>, CheckpointError> {
    let groups = param_groups(&checkpoint.config.optim, checkpoint.config.model.n_layers);
    let rows = |path: &str, tensor: &HostTensor| {
        let axis = names.axis(path).or(groups.of(path).row_axis);
        axis.map_or(1, |axis| tensor.shape[axis])
    };
    let optimized = &checkpoint.manifest.optimized;
    if let Some(unknown) = optimized.iter().find(|path| !shapes.contains_key(*path)) {
        let message = format!("optimized: names `{unknown}`, which the model does not have");
        return Err(malformed(path, MANIFEST, message));
    }
    let empty = |(path, tensor): (&String, &HostTensor)| {
        let state = ParamState::new(&tensor.shape, rows(path, tensor));
        optimized.contains(path).then(|| (path.clone(), state))
    };
    let expected: BTreeMap<String, ParamState> = shapes.iter().filter_map(empty).collect();
    check_keys(&checkpoint.optimizer, &names.split_state(&expected), &path.join(OPTIMIZER))?;
    Ok(names.join_state(&checkpoint.optimizer, expected.keys()))
}

/// The checkpoint folder that a user's path means: the folder itself, the best checkpoint of a run
/// folder, or the one a pointer file names.
///
/// # Errors
/// When there is none.
pub fn resolve_checkpoint(path: &Path) -> Result<PathBuf, CheckpointError> {
    if Checkpoint::is_at(path) {
        return Ok(path.to_owned());
    }
    let not_found = || CheckpointError::NotFound(path.into());
    let is_pointer =
        path.file_name().is_some_and(|name| ["best", "latest"].iter().any(|pointer| name == *pointer));
    if path.is_file() && !is_pointer {
        return Err(not_found());
    }
    if path.is_file() {
        let (folder, pointer) =
            (path.parent().ok_or_else(not_found)?, path.file_name().ok_or_else(not_found)?);
        return pointed(folder, &pointer.to_string_lossy())?.ok_or_else(not_found);
    }
    let run = RunDir::new(path).checkpoints();
    let folder = if run.is_dir() { run } else { path.to_owned() };
    if !folder.is_dir() {
        return Err(not_found());
    }
    match pointed(&folder, "best")? {
        Some(best) => Ok(best),
        None => pointed(&folder, "latest")?.ok_or_else(not_found),
    }
}

fn pointed(folder: &Path, pointer: &str) -> Result<Option<PathBuf>, CheckpointError> {
    CheckpointStore::at(folder).pointed(pointer)
}
