//! The experts of a layer: feed-forward networks stacked on a leading axis.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, assert_shape},
};
use moelt_kernels::{ExpertGate, ExpertOutput, StackedExperts, expert_feed_forward, hidden_units};
use moelt_schema::{Activation, ExpertId, LayerId, Streams, uniform};

use super::{Dispatch, activation::back};
use crate::init::{ExpertPart, SharedPart, expert_rows, param, shared_rng};

/// `FFNₑ(x) = act(x W_in,ₑ + b_in,ₑ) W_out,ₑ + b_out,ₑ` for each expert e, or with gates
/// `FFNₑ(x) = (silu(x W_gate,ₑ + b_gate,ₑ) ⊙ (x W_in,ₑ + b_in,ₑ)) W_out,ₑ + b_out,ₑ`. One contiguous parameter per
/// kind, experts on the leading axis: what batched matrix products want.
#[derive(Module, Debug)]
pub struct Experts {
    /// `[n_experts, d_model, d_ff]`
    pub w_in: Param<Tensor<3>>,
    /// `[n_experts, d_ff]`
    pub b_in: Param<Tensor<2>>,
    /// `[n_experts, d_ff, d_model]`
    pub w_out: Param<Tensor<3>>,
    /// `[n_experts, d_model]`
    pub b_out: Param<Tensor<2>>,
    /// `[n_experts, d_model, d_ff]`; there exactly where the activation [`is_gated`](Activation::is_gated).
    pub w_gate: Option<Param<Tensor<3>>>,
    /// `[n_experts, d_ff]`; there where `w_gate` is.
    pub b_gate: Option<Param<Tensor<2>>>,
    /// What hidden units make of their sums.
    #[module(skip)]
    pub activation: Activation,
}

impl Experts {
    /// Each expert from its own streams, `U(±1/√fan_in)`.
    pub fn new(
        layer: LayerId,
        experts: &[ExpertId],
        [d_model, d_ff]: [usize; 2],
        activation: Activation,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let draw = |part, fan_in, n| expert_rows(part, fan_in, n, layer, experts, streams);
        Self::drawn([experts.len(), d_model, d_ff], activation, draw, device)
    }

    /// One expert that belongs to no layout, `U(±1/√fan_in)`.
    pub(super) fn shared(
        layer: LayerId,
        [d_model, d_ff]: [usize; 2],
        activation: Activation,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let mut rng = shared_rng(streams, SharedPart::SharedExpert(layer.0));
        let draw = |_, fan_in, n| uniform(fan_in, n, &mut rng);
        Self::drawn([1, d_model, d_ff], activation, draw, device)
    }

    /// `draw` gives the values of a part: of all experts, so many of each, for this fan-in. The gate is the last, so that all else is the
    /// same without one.
    fn drawn(
        [n_experts, d_model, d_ff]: [usize; 3],
        activation: Activation,
        mut draw: impl FnMut(ExpertPart, usize, usize) -> Vec<f32>,
        device: &Device,
    ) -> Self {
        let (e, is_gated) = (n_experts, activation.is_gated());
        Self {
            w_in: param(draw(ExpertPart::WIn, d_model, d_model * d_ff), [e, d_model, d_ff], device),
            b_in: param(draw(ExpertPart::BIn, d_model, d_ff), [e, d_ff], device),
            w_out: param(draw(ExpertPart::WOut, d_ff, d_ff * d_model), [e, d_ff, d_model], device),
            b_out: param(draw(ExpertPart::BOut, d_ff, d_model), [e, d_model], device),
            w_gate: is_gated
                .then(|| param(draw(ExpertPart::WGate, d_model, d_model * d_ff), [e, d_model, d_ff], device)),
            b_gate: is_gated.then(|| param(draw(ExpertPart::BGate, d_model, d_ff), [e, d_ff], device)),
            activation,
        }
    }

    /// Sends every token through every expert.
    ///
    /// # Shapes
    /// - x: `[n_experts, tokens, d_model]`
    /// - output: the same
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [n_experts, d_model, _] = self.w_in.dims();
        assert_shape!(x, [n_experts, .., d_model]);
        self.stacked().forward(x)
    }

    /// Sends every token through the one expert there is.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    /// - output: the same
    ///
    /// # Panics
    /// When there are no tokens.
    pub(crate) fn forward_only(&self, x: Tensor<2>) -> Tensor<2> {
        let ([tokens, _], device) = (x.dims(), x.device());
        let weights = Tensor::ones([tokens, 1], &device);
        expert_feed_forward(x, &vec![0; tokens], weights, self.stacked()).y
    }

    /// Numbers that one expert sums up for its hidden units: one for each, two with gates.
    pub fn d_sums(&self) -> usize {
        let [.., d_ff] = self.w_in.dims();
        if self.activation.is_gated() { 2 * d_ff } else { d_ff }
    }

    /// What the hidden units of one expert sum up, before the activation.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    /// - output: `[tokens, d_sums]`: the sums of the `d_ff` units, and beside them those of their gates, if there are any
    ///
    /// # Panics
    /// When there is no expert at `position`.
    pub fn hidden_sums(&self, position: usize, x: Tensor<2>) -> Tensor<2> {
        let [_, d_model, d_ff] = self.w_in.dims();
        assert_shape!(x, [.., d_model]);
        let sums = |weight: Tensor<3>, bias: Tensor<2>| {
            let weight = weight.narrow(0, position, 1).reshape([d_model, d_ff]);
            x.clone().matmul(weight) + bias.narrow(0, position, 1)
        };
        let of_units = sums(self.w_in.val(), self.b_in.val());
        match self.gate() {
            Some(ExpertGate { w_gate, b_gate }) => Tensor::cat(vec![of_units, sums(w_gate, b_gate)], 1),
            None => of_units,
        }
    }

    /// What hidden units make of their sums. With ReLU it is 0 where a unit does not fire.
    ///
    /// # Shapes
    /// - sums: `[tokens, d_sums]`, what [`Self::hidden_sums`] gives
    /// - output: `[tokens, d_ff]`
    pub fn hidden(&self, sums: Tensor<2>) -> Tensor<2> {
        let (sums, gate) = self.parts(sums);
        hidden_units(self.activation, sums, gate)
    }

    /// Above 0 where a hidden unit fires: its sum is, or that of its gate if it has one.
    ///
    /// # Shapes
    /// - sums: `[tokens, d_sums]`, what [`Self::hidden_sums`] gives
    /// - output: `[tokens, d_ff]`
    pub fn firing(&self, sums: Tensor<2>) -> Tensor<2> {
        let (sums, gate) = self.parts(sums);
        gate.unwrap_or(sums)
    }

    /// The gradient by the sums of one expert's hidden units, given that at its output.
    ///
    /// # Shapes
    /// - sums: `[tokens, d_sums]`, what [`Self::hidden_sums`] gives
    /// - gradient: `[tokens, d_model]`
    /// - output: `[tokens, d_sums]`
    ///
    /// # Panics
    /// When there is no expert at `position`.
    pub fn hidden_gradient(&self, position: usize, sums: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        let w_out = self.w_out.val();
        let [_, d_ff, d_model] = w_out.dims();
        assert_shape!(gradient, [.., d_model]);
        let w_out = w_out.narrow(0, position, 1).reshape([d_ff, d_model]);
        let (sums, gate) = self.parts(sums);
        back(self.activation, sums, gate, gradient.matmul(w_out.transpose()))
    }

    /// The sums of units, and those of their gates.
    fn parts(&self, sums: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        let [.., d_ff] = self.w_in.dims();
        let d_sums = self.d_sums();
        assert_shape!(sums, [.., d_sums]);
        let gate = self.activation.is_gated().then(|| sums.clone().narrow(1, d_ff, d_ff));
        (sums.narrow(1, 0, d_ff), gate)
    }

    /// Sends each token to its chosen experts only, so that the cost follows `top_k`, not `n_experts`.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    /// - expert_weights: `[tokens, top_k]`
    pub fn forward_sparse(
        &self,
        x: Tensor<2>,
        dispatch: &Dispatch,
        expert_weights: Tensor<2>,
    ) -> ExpertOutput {
        expert_feed_forward(x, dispatch.experts(), expert_weights, self.stacked())
    }

    fn gate(&self) -> Option<ExpertGate> {
        let (w_gate, b_gate) = (self.w_gate.as_ref()?.val(), self.b_gate.as_ref()?.val());
        Some(ExpertGate { w_gate, b_gate })
    }

    fn stacked(&self) -> StackedExperts {
        StackedExperts {
            w_in: self.w_in.val(),
            b_in: self.b_in.val(),
            w_out: self.w_out.val(),
            b_out: self.b_out.val(),
            gate: self.gate(),
            activation: self.activation,
        }
    }
}
