//! Tokens through the experts that were chosen for them.

use burn::tensor::{Tensor, assert_shape};

#[cfg(feature = "flex")]
mod chunks;
pub(crate) mod composed;
#[cfg(feature = "flex")]
mod fused;

/// Feed-forward networks of one size, stacked on a leading axis:
/// `FFNₑ(x) = ReLU(x W_in,ₑ + b_in,ₑ) W_out,ₑ + b_out,ₑ`.
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
}

/// Sends each token to its chosen experts, `top_k` of them, and gives what each of them makes of it: row
/// `token · top_k + choice`, not weighted, not summed.
///
/// On the CPU backend each expert computes exactly its own tokens. Elsewhere tokens are gathered into queues as long as the
/// longest, because a batched product wants them so. The gradient of an expert without tokens is zero. A NaN goes through
/// an expert as through Burn's ReLU.
///
/// # Shapes
/// - x: `[tokens, d_model]`
/// - expert_indices: `[tokens · top_k]`, a token's choices side by side
/// - output: `[tokens · top_k, d_model]`
///
/// # Panics
/// When shapes do not fit, tokens have unlike numbers of choices, or an index is not that of an expert.
pub fn expert_feed_forward(x: Tensor<2>, expert_indices: &[u32], experts: StackedExperts) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::extension::is_fused(&x) && experts.are_fused() {
        experts.check(&x, expert_indices);
        return fused::expert_feed_forward(x, expert_indices, experts);
    }
    composed::expert_feed_forward(x, expert_indices, experts)
}

impl StackedExperts {
    /// Whether fused operations take them.
    #[cfg(feature = "flex")]
    fn are_fused(&self) -> bool {
        use crate::extension::is_fused;
        let Self { w_in, b_in, w_out, b_out } = self;
        is_fused(w_in) && is_fused(b_in) && is_fused(w_out) && is_fused(b_out)
    }

    /// Refuses what does not fit.
    fn check(&self, x: &Tensor<2>, expert_indices: &[u32]) {
        let [n_experts, d_model, d_ff] = self.w_in.dims();
        let [tokens, _] = x.dims();
        assert_shape!(x, [.., d_model]);
        assert_shape!(self.b_in, [n_experts, d_ff]);
        assert_shape!(self.w_out, [n_experts, d_ff, d_model]);
        assert_shape!(self.b_out, [n_experts, d_model]);
        let n_pairs = expert_indices.len();
        assert!(n_pairs.is_multiple_of(tokens), "{n_pairs} choices for {tokens} tokens");
        if let Some(unknown) = expert_indices.iter().find(|expert| **expert as usize >= n_experts) {
            panic!("a token for expert {unknown} of {n_experts}");
        }
    }
}
