//! The loss with something added to router biases.

use burn::module::Module;
use moelt_control::StepBiases;
use moelt_schema::Flops;

use super::Paid;
use crate::{TrainState, effect::Outputs, step_biases::with_step_biases, trial::Arena};

impl Arena<'_> {
    /// Mean loss on validation texts with each of these biases, nats.
    pub(super) fn losses(&self, state: &TrainState, biases: &[StepBiases], texts: usize) -> Paid<Vec<f64>> {
        let (model, texts) = (state.model().valid(), self.spread_texts(texts));
        let (mut losses, mut flops) = (Vec::with_capacity(biases.len()), Flops::default());
        for added in biases {
            let outputs = Outputs::of(&with_step_biases(&model, added), &texts, self.interrupt)?;
            flops += outputs.flops;
            losses.push(outputs.loss());
        }
        Ok((losses, flops))
    }
}
