//! How long a run is: so many passes over the data, or as many floating-point operations as another run took.
//!
//! Two runs are matched by what their routing asks for ([`Flops::unpadded`](moelt_schema::Flops)): that much is known
//! of a step before it is taken, from sizes alone (with top-any routing, the most that it can be).

use moelt_data::Batches;
use moelt_model::Classifier;
use moelt_schema::{Budget, RunConfig};

use crate::{
    Prepared, TrainError,
    evaluate::model_input,
    other_runs::{finished, folder_of},
    state::FORWARDS_PER_STEP,
};

/// The key that names the run whose operations are spent.
const KEY: &str = "train.budget.flops_of";

/// Steps of a run of `config` that begins with `model`, unless it stops early.
///
/// # Errors
/// When the run whose operations are to be spent is not finished, or the data drifts, whose times are fractions
/// of the epochs.
pub(crate) fn total_steps(
    config: &RunConfig,
    prepared: &Prepared,
    model: &Classifier,
) -> Result<u64, TrainError> {
    let Budget::FlopsOf(other) = &config.train.budget else { return Ok(prepared.total_steps) };
    let folder = folder_of(KEY, other)?;
    if prepared.drift.is_some() {
        let message = "cannot be spent on data that drift: their times are fractions of train.budget.epochs";
        return Err(TrainError::Start { key: KEY, path: folder.into(), message: message.to_owned() });
    }
    let other = finished(KEY, folder)?;
    let budget = (other.flops + other.inherited.flops).unpadded;
    let steps = budget as f64 / mean_step(prepared.train.clone(), model);
    Ok((steps.round() as u64).max(1))
}

/// Operations that a step asks for, mean over the first epoch.
fn mean_step(mut batches: Batches, model: &Classifier) -> f64 {
    let steps = batches.per_epoch();
    let forward = |step| model.unpadded_forward_flops(&model_input(&batches.at(step)));
    let total: u64 = (0..steps).map(forward).sum();
    (FORWARDS_PER_STEP * total) as f64 / steps as f64
}
