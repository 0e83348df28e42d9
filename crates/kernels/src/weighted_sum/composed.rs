//! Weighted sums by ordinary tensor operations, on any backend.

use burn::tensor::Tensor;

use super::check;

/// What [`weighted_sum`](crate::weighted_sum) gives, by ordinary tensor operations.
///
/// # Shapes
/// - outputs: `[tokens · top_k, d_model]`, those of a token side by side
/// - weights: `[tokens, top_k]`
/// - output: `[tokens, d_model]`
///
/// # Panics
/// When shapes do not fit.
pub fn weighted_sum(outputs: Tensor<2>, weights: Tensor<2>) -> Tensor<2> {
    check(&outputs, &weights);
    let ([_, d_model], [tokens, top_k]) = (outputs.dims(), weights.dims());
    let weighted = outputs.reshape([tokens, top_k, d_model]) * weights.reshape([tokens, top_k, 1]);
    weighted.sum_dim(1).reshape([tokens, d_model])
}
