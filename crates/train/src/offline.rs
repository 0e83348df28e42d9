//! Offline surgery: the experts or the weights of a checkpoint changed without its run.

use std::{collections::BTreeMap, path::Path};

use moelt_optim::{AverageState, import};
use moelt_schema::{CheckedPlan, EventsPosition, Probe};

use crate::{
    Checkpoint, LoadedModel, TrainError, TrainState,
    checkpoint::{inputs_of, make_probe},
    effect::deviation,
    snapshot::Origin,
};

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
        let (before, events) = (self.probe(), self.checkpoint.manifest.events);
        let mut state = TrainState::restore(self);
        // The ramp-ins of a run end with its steps, and here there are none.
        state.edit(plan, 0)?;
        EditedCheckpoint::of(&state, origin, &before, events)
    }

    /// The checkpoint with weights that were exported ([`ExportedModel`](crate::ExportedModel)) and changed elsewhere: of a
    /// `model.safetensors`, or of the folder in which it lies. Average and optimizer begin anew; the probe is computed anew.
    ///
    /// # Errors
    /// When the file cannot be read, has not exactly the tensors that are exported, or leads to a number that is not finite.
    pub fn with_weights(self, path: &Path) -> Result<EditedCheckpoint, TrainError> {
        let weights = self.read_weights(path)?;
        let origin = Origin::of_checkpoint(&self.checkpoint);
        let (before, events) = (self.probe(), self.checkpoint.manifest.events);
        let anew = |(path, old): (String, AverageState)| {
            let state = AverageState::new(weights[&path].clone(), old.row_axis);
            (path, state)
        };
        let average = self.average.map(|average| average.into_iter().map(anew).collect());
        let trained = import(self.trained, weights).expect("keys and shapes were checked");
        let state = TrainState::restore(Self { trained, average, optimizer: BTreeMap::new(), ..self });
        EditedCheckpoint::of(&state, origin, &before, events)
    }

    /// What its weights say here of the probe's inputs.
    fn probe(&self) -> Probe {
        let averaged = self.average.is_some().then_some(&self.evaluated);
        make_probe(&inputs_of(&self.checkpoint.manifest.probe), &self.trained, averaged)
    }
}

impl EditedCheckpoint {
    fn of(
        state: &TrainState,
        origin: Origin,
        before: &Probe,
        events: EventsPosition,
    ) -> Result<Self, TrainError> {
        let checkpoint = state.snapshot(origin, None, events)?;
        if let Some((what, value)) = checkpoint.not_finite() {
            return Err(TrainError::EditNotFinite { what, value });
        }
        let deviation = deviation(&evaluated(before), &evaluated(&checkpoint.manifest.probe));
        Ok(Self { checkpoint, deviation, texts: before.inputs.len() })
    }
}

/// Logits of the weights that are evaluated, end to end.
fn evaluated(probe: &Probe) -> Vec<f32> {
    probe.ema_logits.as_ref().unwrap_or(&probe.logits).concat()
}
