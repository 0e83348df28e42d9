//! Offline surgery: the experts of a checkpoint edited without its run.

use moelt_schema::{CheckedPlan, Probe};

use crate::{Checkpoint, LoadedModel, TrainError, TrainState, effect::deviation, snapshot::Origin};

/// A checkpoint after surgery, not yet written.
#[derive(Debug)]
pub struct EditedCheckpoint {
    /// The checkpoint. It has no validation metrics: those were of other weights.
    pub checkpoint: Checkpoint,
    /// `‖after − before‖ / ‖before‖` over the logits of the evaluated weights on the probe's texts.
    pub deviation: f64,
    /// Texts of the probe.
    pub texts: usize,
}

impl LoadedModel {
    /// The checkpoint with its experts edited: weights, optimizer state, averaged weights, windows and
    /// ramp-ins together, the edit log extended and the probe computed anew. New experts ramp in at once.
    ///
    /// # Errors
    /// When the plan does not fit the checkpoint, or leads to a number that is not finite.
    pub fn edited(self, plan: &CheckedPlan) -> Result<EditedCheckpoint, TrainError> {
        let origin = Origin::of_checkpoint(&self.checkpoint);
        let events = self.checkpoint.manifest.events;
        let mut state = TrainState::restore(self);
        let before = state.probe(&origin)?;
        // The ramp-ins of a run end with its steps, and here there are none.
        state.edit(plan, 0)?;
        let checkpoint = state.snapshot(origin, None, events)?;
        if let Some((what, value)) = checkpoint.not_finite() {
            return Err(TrainError::EditNotFinite { what, value });
        }
        let deviation = deviation(&evaluated(&before), &evaluated(&checkpoint.manifest.probe));
        Ok(EditedCheckpoint { checkpoint, deviation, texts: before.inputs.len() })
    }
}

/// Logits of the weights that are evaluated, end to end.
fn evaluated(probe: &Probe) -> Vec<f32> {
    probe.ema_logits.as_ref().unwrap_or(&probe.logits).concat()
}
