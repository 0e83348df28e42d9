//! How a run begins: anew, or at its latest checkpoint, which must be of this run.

use std::{fs, path::Path};

use burn::tensor::Device;
use moelt_control::OwnPolicies;
use moelt_schema::{Budget, Digest, EventsPosition, RunConfig, RunDir, resolved_toml, write_atomically};

use crate::{
    CheckpointError, CheckpointStore, EventLog, LoadedModel, Prepared, TrainError, TrainState,
    budget::total_steps, decide::Control, start::start,
};

/// What a run begins with.
pub(super) struct Opened {
    pub(super) state: TrainState,
    pub(super) control: Control,
    pub(super) events: EventLog,
    /// Step of the checkpoint that it goes on from.
    pub(super) saved: Option<u64>,
}

/// A run without a checkpoint; with what is to be said about its start.
pub(super) fn start_anew(
    config: &RunConfig,
    run: &RunDir,
    prepared: &Prepared,
    device: &Device,
    policies: &OwnPolicies,
) -> Result<(Opened, Option<String>), TrainError> {
    let (mut state, note) = start(config, prepared, device)?;
    let total = total_steps(config, prepared, state.model())?;
    state.progress.total_steps = total;
    let control = Control::new(config, prepared, total, state.progress.policy.clone(), policies)?;
    control.remember(&mut state);
    claim_folder(config, run)?;
    warn_of_old_events(run);
    note.iter().for_each(|note| tracing::info!("{note}"));
    let events = EventLog::open(&run.events(), EventsPosition::default())?;
    Ok((Opened { state, control, events, saved: None }, note))
}

/// A run at its latest checkpoint, in `path`.
pub(super) fn resume(
    config: &RunConfig,
    run: &RunDir,
    prepared: &Prepared,
    store: &CheckpointStore,
    path: &Path,
    device: &Device,
    policies: &OwnPolicies,
) -> Result<Opened, TrainError> {
    let loaded = LoadedModel::load(path, &device.clone().autodiff())?;
    let manifest = &loaded.checkpoint.manifest;
    same_run("config", config.digest(), manifest.config, path)?;
    same_run("data", prepared.digest, manifest.data, path)?;
    same_run("vocabulary", prepared.vocabulary.digest(), manifest.vocabulary, path)?;
    if loaded.grouping != prepared.grouping {
        let message = "is of other groups than these texts have".to_owned();
        return Err(CheckpointError::Malformed { path: path.join("groups.json"), message }.into());
    }
    same_length(config, prepared, manifest.state.total_steps, path)?;
    if let Some(best) = manifest.state.best {
        check_best(store, best.step, manifest.step, device)?;
    }
    let judged = prepared.judged_after().filter(|step| *step <= manifest.step);
    judged.into_iter().try_for_each(|step| store.pinned(step).map(drop))?;
    let total = manifest.state.total_steps;
    let control = Control::new(config, prepared, total, manifest.state.policy.clone(), policies)?;
    let events = EventLog::open(&run.events(), manifest.events)?;
    tracing::info!("resuming at step {} of {total} from {}", manifest.step, path.display());
    let state = TrainState::restore(loaded);
    claim_folder(config, run)?;
    store.forget_after(state.step)?;
    Ok(Opened { saved: Some(state.step), state, control, events })
}

/// Writes `config.toml` into a new folder. Not before data and start could be read: whoever mends a config
/// whose data, start or script could not has no run to keep.
fn claim_folder(config: &RunConfig, run: &RunDir) -> Result<(), TrainError> {
    let path = run.config();
    if path.exists() {
        return Ok(());
    }
    write_atomically(&path, resolved_toml(config).as_bytes()).map_err(TrainError::io(path))
}

/// A log without a checkpoint: the run was killed before its first one, or the checkpoints are gone.
fn warn_of_old_events(run: &RunDir) {
    let bytes = fs::metadata(run.events()).map_or(0, |file| file.len());
    if bytes > 0 {
        tracing::warn!("no checkpoint here: the event log of {bytes} bytes is started anew");
    }
}

/// Makes sure that the best checkpoint so far, of step `best`, is whole and pointed at: the run at step
/// `latest` will end with its judgement.
fn check_best(store: &CheckpointStore, best: u64, latest: u64, device: &Device) -> Result<(), TrainError> {
    let pointed = store.pointed("best")?;
    if pointed.as_ref() == Some(&store.path(best)) {
        return Ok(LoadedModel::load(&store.path(best), device).map(drop)?);
    }
    if best == latest {
        // The run was killed between pointing `latest` and pointing `best` at it.
        return Ok(store.mark_best(best)?);
    }
    let message = format!("does not name {}, where the best evaluation was", CheckpointStore::name(best));
    Err(CheckpointError::Pointer { path: store.pointer("best"), message }.into())
}

/// A run is as long as its config and its data say, unless another run's operations decide.
fn same_length(
    config: &RunConfig,
    prepared: &Prepared,
    found: u64,
    path: &Path,
) -> Result<(), CheckpointError> {
    let expected = prepared.total_steps;
    if found == expected || matches!(config.train.budget, Budget::FlopsOf(_)) {
        return Ok(());
    }
    let message = format!("state.total_steps: is {found}, but this run has {expected} steps");
    Err(CheckpointError::Malformed { path: path.join("manifest.json"), message })
}

fn same_run(what: &'static str, expected: Digest, found: Digest, path: &Path) -> Result<(), CheckpointError> {
    if expected == found {
        Ok(())
    } else {
        Err(CheckpointError::OtherRun { path: path.into(), what, expected, found })
    }
}
