//! A batch whose tokens are sent another way in one layer, without computing what comes before anew.

use burn::tensor::Tensor;
use moelt_schema::{Flops, LayerId};

use super::Classifier;
use crate::{DensePass, Mode, ModelInput};

/// A batch that has come to one layer, and what every expert of it would say of every token: tokens can be sent another way
/// without computing what comes before, or the experts, anew.
pub struct Rerouting<'a> {
    layer: usize,
    pass: DensePass,
    input: &'a ModelInput,
    /// What the pass took.
    pub flops: Flops,
}

impl Classifier {
    /// A batch sent through every expert of a layer, and through those before it as ever; none where the layer has no top-k router.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn rerouting<'a>(&self, input: &'a ModelInput, layer: LayerId) -> Option<Rerouting<'a>> {
        let at = layer.0 as usize;
        let x = self.before_layers(input, &mut Mode::Eval);
        let (x, before) = self.expert_layers(x, input, 0..at, &mut Mode::Eval);
        let (x, attention) = self.attended(at, x, input, &mut Mode::Eval);
        let router_input = self.router_input(&x, input);
        let pass = self.layers[at].dense_pass(x, router_input, self.choice(false))?;
        let flops = before.flops + attention + pass.flops() + self.flops_before(input);
        Some(Rerouting { layer: at, pass, input, flops })
    }

    /// What the network says where only some experts of the layer are there, by position, and what that took beside the pass.
    ///
    /// # Shapes
    /// - logits: `[batch, n_classes]`
    ///
    /// # Panics
    /// When `there` is not of all experts, or none is there.
    pub fn rerouted(&self, rerouting: &Rerouting<'_>, there: &[bool]) -> (Tensor<2>, Flops) {
        let Rerouting { layer, pass, input, .. } = rerouting;
        let rest = layer + 1..self.layers.len();
        let (x, after) = self.expert_layers(pass.with_experts(there), input, rest, &mut Mode::Eval);
        let flops = after.flops + self.flops_after(input);
        (self.after_layers(x, input, &mut Mode::Eval), flops)
    }
}
