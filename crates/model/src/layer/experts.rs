//! The experts of a layer: feed-forward networks stacked on a leading axis.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, assert_shape},
};
use moelt_kernels::{ExpertOutput, StackedExperts, expert_feed_forward};
use moelt_schema::{Activation, ExpertId, LayerId, Streams, uniform};

use super::{
    Dispatch,
    activation::{activate, back},
};
use crate::init::{ExpertPart, SharedPart, expert_rows, param, shared_rng};

/// `FFNₑ(x) = act(x W_in,ₑ + b_in,ₑ) W_out,ₑ + b_out,ₑ` for each expert e. One contiguous parameter per
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
    /// What hidden units make of their sums.
    #[module(skip)]
    pub activation: Activation,
}

impl Experts {
    /// Each expert from its own streams, `U(±1/√fan_in)`, with ReLU.
    pub fn new(
        layer: LayerId,
        experts: &[ExpertId],
        d_model: usize,
        d_ff: usize,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let stack = |part, fan_in, n| expert_rows(part, fan_in, n, layer, experts, streams);
        let e = experts.len();
        Self {
            w_in: param(stack(ExpertPart::WIn, d_model, d_model * d_ff), [e, d_model, d_ff], device),
            b_in: param(stack(ExpertPart::BIn, d_model, d_ff), [e, d_ff], device),
            w_out: param(stack(ExpertPart::WOut, d_ff, d_ff * d_model), [e, d_ff, d_model], device),
            b_out: param(stack(ExpertPart::BOut, d_ff, d_model), [e, d_model], device),
            activation: Activation::Relu,
        }
    }

    /// One expert that belongs to no layout, `U(±1/√fan_in)`, with ReLU.
    pub(super) fn shared(
        layer: LayerId,
        d_model: usize,
        d_ff: usize,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let mut rng = shared_rng(streams, SharedPart::SharedExpert(layer.0));
        let mut draw = |fan_in, n| uniform(fan_in, n, &mut rng);
        Self {
            w_in: param(draw(d_model, d_model * d_ff), [1, d_model, d_ff], device),
            b_in: param(draw(d_model, d_ff), [1, d_ff], device),
            w_out: param(draw(d_ff, d_ff * d_model), [1, d_ff, d_model], device),
            b_out: param(draw(d_ff, d_model), [1, d_model], device),
            activation: Activation::Relu,
        }
    }

    /// The same experts with another activation.
    #[must_use]
    pub fn with_activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// Sends every token through every expert.
    ///
    /// # Shapes
    /// - x: `[n_experts, tokens, d_model]`
    /// - output: the same
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let w_in = self.w_in.val();
        let [n_experts, d_model, _] = w_in.dims();
        assert_shape!(x, [n_experts, .., d_model]);
        let hidden = activate(self.activation, x.matmul(w_in) + self.b_in.val().unsqueeze_dim(1));
        hidden.matmul(self.w_out.val()) + self.b_out.val().unsqueeze_dim(1)
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

    /// What the hidden units of one expert sum up, before the activation.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    /// - output: `[tokens, d_ff]`
    ///
    /// # Panics
    /// When there is no expert at `position`.
    pub fn hidden_sums(&self, position: usize, x: Tensor<2>) -> Tensor<2> {
        let (w_in, b_in) = (self.w_in.val(), self.b_in.val());
        let [_, d_model, d_ff] = w_in.dims();
        assert_shape!(x, [.., d_model]);
        let w_in = w_in.narrow(0, position, 1).reshape([d_model, d_ff]);
        x.matmul(w_in) + b_in.narrow(0, position, 1)
    }

    /// What hidden units make of their sums. With ReLU it is 0 where a unit does not fire.
    ///
    /// # Shapes
    /// - sums: `[tokens, d_ff]`, what [`Self::hidden_sums`] gives
    /// - output: the same
    pub fn hidden(&self, sums: Tensor<2>) -> Tensor<2> {
        activate(self.activation, sums)
    }

    /// The gradient by the sums of one expert's hidden units, given that at its output.
    ///
    /// # Shapes
    /// - sums: `[tokens, d_ff]`, what [`Self::hidden_sums`] gives
    /// - gradient: `[tokens, d_model]`
    /// - output: `[tokens, d_ff]`
    ///
    /// # Panics
    /// When there is no expert at `position`.
    pub fn hidden_gradient(&self, position: usize, sums: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        let w_out = self.w_out.val();
        let [_, d_ff, d_model] = w_out.dims();
        assert_shape!(sums, [.., d_ff]);
        assert_shape!(gradient, [.., d_model]);
        let w_out = w_out.narrow(0, position, 1).reshape([d_ff, d_model]);
        back(self.activation, sums, gradient.matmul(w_out.transpose()))
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

    fn stacked(&self) -> StackedExperts {
        StackedExperts {
            w_in: self.w_in.val(),
            b_in: self.b_in.val(),
            w_out: self.w_out.val(),
            b_out: self.b_out.val(),
            activation: self.activation,
        }
    }
}
