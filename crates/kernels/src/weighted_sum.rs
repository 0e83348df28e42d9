//! Weighted sums of what the experts of a token say.

use burn::tensor::{Tensor, assert_shape};

pub(crate) mod composed;
#[cfg(feature = "flex")]
mod fused;

/// For each token the sum of its experts' outputs, each times its weight: `y[t] = Σⱼ weights[t, j] · outputs[t · top_k + j]`.
///
/// # Shapes
/// - outputs: `[tokens · top_k, d_model]`, those of a token side by side
/// - weights: `[tokens, top_k]`
/// - output: `[tokens, d_model]`
///
/// # Panics
/// When shapes do not fit.
pub fn weighted_sum(outputs: Tensor<2>, weights: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if [&outputs, &weights].into_iter().all(crate::extension::is_fused) {
        check(&outputs, &weights);
        return fused::weighted_sum(outputs, weights);
    }
    composed::weighted_sum(outputs, weights)
}

/// Refuses what does not fit.
fn check(outputs: &Tensor<2>, weights: &Tensor<2>) {
    let [tokens, top_k] = weights.dims();
    let n_pairs = tokens * top_k;
    assert_shape!(outputs, [n_pairs, ..]);
}
