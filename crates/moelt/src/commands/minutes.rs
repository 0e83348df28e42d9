//! Training for no longer than so many minutes.

use std::{fs, time::Instant};

use anyhow::ensure;
use burn::tensor::Device;
use moelt_schema::{Budget, RunConfig, RunDir};
use moelt_train::{Prepared, TrainState};

/// Steps that are taken to see how long one takes; the first half of them warms up.
const PROBE: u64 = 40;

/// Fewer epochs, where the config's would take longer than `minutes`; `overhead` is what a step takes in plain steps. A `run` that
/// was begun keeps those that it has.
///
/// # Errors
/// When there is no such time, or the data cannot be read.
pub(super) fn shorten(
    config: &mut RunConfig,
    minutes: f64,
    overhead: f64,
    run: &RunDir,
    device: &Device,
) -> anyhow::Result<()> {
    ensure!(minutes.is_finite() && minutes > 0.0, "--minutes must be above 0, not {minutes}");
    let Budget::Epochs(whole) = config.train.budget else { return Ok(()) };
    if let Some(budget) = begun_with(config, run) {
        config.train.budget = budget;
        return Ok(());
    }
    let (seconds, per_epoch) = speed(config, device)?;
    let epochs = minutes * 60.0 / (seconds * overhead * per_epoch);
    if epochs < whole {
        let epochs = (epochs * 100.0).floor().max(1.0) / 100.0;
        config.train.budget = Budget::Epochs(epochs);
        moelt_ablate::tell!(
            "note: {epochs} of {whole} epochs fit; --set train.budget.epochs={epochs} makes the same run again"
        );
    }
    Ok(())
}

/// How long the run in a folder is to be, if it is this one but for that.
fn begun_with(config: &RunConfig, run: &RunDir) -> Option<Budget> {
    let theirs = RunConfig::from_toml(&fs::read_to_string(run.config()).ok()?).ok()?;
    let mut ours = config.clone();
    ours.train.budget = theirs.train.budget.clone();
    (ours == theirs).then_some(theirs.train.budget)
}

/// Seconds of a step, and steps of an epoch: some steps are taken that nothing is kept of.
fn speed(config: &RunConfig, device: &Device) -> anyhow::Result<(f64, f64)> {
    let mut prepared = Prepared::new(config)?;
    let mut state = TrainState::new(config, &prepared, device);
    let mut since = Instant::now();
    for step in 0..PROBE {
        if step == PROBE / 2 {
            since = Instant::now();
        }
        state = state.train_step(&prepared.train.at(step), config, PROBE).0;
    }
    let seconds = since.elapsed().as_secs_f64() / (PROBE - PROBE / 2) as f64;
    Ok((seconds, prepared.train.per_epoch() as f64))
}
