//! Tokens through the experts that were chosen for them.

use burn::tensor::{
    Tensor,
    activation::{gelu, relu, silu},
    assert_shape,
};
use moelt_schema::Activation;

#[cfg(feature = "flex")]
mod activation;
#[cfg(feature = "flex")]
mod chunks;
pub(crate) mod composed;
#[cfg(feature = "flex")]
mod fused;
#[cfg(feature = "flex")]
mod linear;

/// Feed-forward networks of one size, stacked on a leading axis:
/// `FFNₑ(x) = act(x W_in,ₑ + b_in,ₑ) W_out,ₑ + b_out,ₑ`, or with gates
/// `FFNₑ(x) = (silu(x W_gate,ₑ + b_gate,ₑ) ⊙ (x W_in,ₑ + b_in,ₑ)) W_out,ₑ + b_out,ₑ`.
#[derive(Clone, Debug)]
pub struct StackedExperts {
    /// `[n_experts, d_model, d_ff]`
    pub w_in: Tensor<3>,
    /// `[n_experts, d_ff]`
    pub b_in: Tensor<2>,
    /// `[n_experts, d_ff, d_model]`
    pub w_out: Tensor<3>,
    /// `[n_experts, d_model]`
    pub b_out: Tensor<2>,
    /// There exactly where the activation [`is_gated`](Activation::is_gated).
    pub gate: Option<ExpertGate>,
    /// What hidden units do: act.
    pub activation: Activation,
}

/// The gates of the hidden units of experts.
#[derive(Clone, Debug)]
pub struct ExpertGate {
    /// `[n_experts, d_model, d_ff]`
    pub w_gate: Tensor<3>,
    /// `[n_experts, d_ff]`
    pub b_gate: Tensor<2>,
}

/// What experts make of tokens.
#[derive(Clone, Debug)]
pub struct ExpertOutput {
    /// `[tokens, d_model]`: for each token the sum of what its experts make of it, each times its weight.
    pub y: Tensor<2>,
    /// `[tokens · top_k]`: the Euclidean norm of what each of them makes of it, before it is weighted. It carries no gradient.
    pub norms: Tensor<1>,
}

/// Sends each token to its chosen experts, `top_k` of them, and adds up what they make of it:
/// `y[t] = Σⱼ expert_weights[t, j] · FFNₑ(x[t])` with `e = expert_indices[t · top_k + j]`.
///
/// On the CPU backend each expert computes exactly its own tokens. Elsewhere tokens are gathered into queues as long as the
/// longest, because a batched product wants them so. The gradient of an expert without tokens is zero. A NaN goes through
/// an expert as through Burn's activations.
///
/// # Shapes
/// - x: `[tokens, d_model]`
/// - expert_indices: `[tokens · top_k]`, a token's choices side by side
/// - expert_weights: `[tokens, top_k]`
///
/// # Panics
/// When shapes do not fit, or an index is not that of an expert.
pub fn expert_feed_forward(
    x: Tensor<2>,
    expert_indices: &[u32],
    expert_weights: Tensor<2>,
    experts: StackedExperts,
) -> ExpertOutput {
    #[cfg(feature = "flex")]
    if [&x, &expert_weights].into_iter().all(crate::extension::is_fused) && experts.are_fused() {
        experts.check(&x, expert_indices, &expert_weights);
        return fused::expert_feed_forward(x, expert_indices, expert_weights, experts);
    }
    composed::expert_feed_forward(x, expert_indices, expert_weights, experts)
}

/// What hidden units make of their sums, and of those of their gates.
///
/// # Shapes
/// - sums, gate, output: the same
///
/// # Panics
/// When there are gates and the activation has none, or the other way round.
pub fn hidden_units<const D: usize>(
    activation: Activation,
    sums: Tensor<D>,
    gate: Option<Tensor<D>>,
) -> Tensor<D> {
    match (activation, gate) {
        (Activation::Relu, None) => relu(sums),
        (Activation::Gelu, None) => gelu(sums),
        (Activation::Swiglu, Some(gate)) => silu(gate) * sums,
        (activation, gate) => refuse_gate(activation, gate.is_some()),
    }
}

fn refuse_gate(activation: Activation, has_gate: bool) -> ! {
    panic!("{activation:?} {} a gate", if has_gate { "has no use for" } else { "needs" })
}

impl StackedExperts {
    /// Sends every token through every expert.
    ///
    /// # Shapes
    /// - x: `[n_experts, tokens, d_model]`
    /// - output: the same
    pub fn forward(self, x: Tensor<3>) -> Tensor<3> {
        let linear =
            |x: Tensor<3>, weight: Tensor<3>, bias: Tensor<2>| x.matmul(weight) + bias.unsqueeze_dim(1);
        let gate = self.gate.map(|ExpertGate { w_gate, b_gate }| linear(x.clone(), w_gate, b_gate));
        let hidden = hidden_units(self.activation, linear(x, self.w_in, self.b_in), gate);
        linear(hidden, self.w_out, self.b_out)
    }

    /// Whether fused operations take them.
    #[cfg(feature = "flex")]
    fn are_fused(&self) -> bool {
        use crate::extension::is_fused;
        let Self { w_in, b_in, w_out, b_out, gate, activation: _ } = self;
        let gate = gate.as_ref().is_none_or(|gate| is_fused(&gate.w_gate) && is_fused(&gate.b_gate));
        is_fused(w_in) && is_fused(b_in) && is_fused(w_out) && is_fused(b_out) && gate
    }

    /// Refuses what does not fit.
    fn check(&self, x: &Tensor<2>, expert_indices: &[u32], expert_weights: &Tensor<2>) {
        let [n_experts, d_model, d_ff] = self.w_in.dims();
        let [tokens, _] = x.dims();
        assert_shape!(x, [.., d_model]);
        assert_shape!(self.b_in, [n_experts, d_ff]);
        assert_shape!(self.w_out, [n_experts, d_ff, d_model]);
        assert_shape!(self.b_out, [n_experts, d_model]);
        if self.gate.is_some() != self.activation.is_gated() {
            refuse_gate(self.activation, self.gate.is_some());
        }
        if let Some(ExpertGate { w_gate, b_gate }) = &self.gate {
            assert_shape!(w_gate, [n_experts, d_model, d_ff]);
            assert_shape!(b_gate, [n_experts, d_ff]);
        }
        assert_shape!(expert_weights, [tokens, ..]);
        let (n_pairs, [_, top_k]) = (expert_indices.len(), expert_weights.dims());
        assert_eq!(
            n_pairs,
            tokens * top_k,
            "{n_pairs} choices for {tokens} tokens with {top_k} weights each"
        );
        if let Some(unknown) = expert_indices.iter().find(|expert| **expert as usize >= n_experts) {
            panic!("a token for expert {unknown} of {n_experts}");
        }
    }
}
