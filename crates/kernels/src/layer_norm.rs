//! Layer normalisation.

use burn::tensor::{Tensor, assert_shape};

pub(crate) mod composed;
#[cfg(feature = "flex")]
mod fused;

/// `(x − mean) / √(variance + epsilon) · gamma + beta` of each row (Ba et al. 2016), with the variance divided by the width:
/// that of Burn's `LayerNorm`.
///
/// # Shapes
/// - x: `[rows, width]`
/// - gamma, beta: `[width]`
/// - output: `[rows, width]`
///
/// # Panics
/// When shapes do not fit.
pub fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::extension::is_fused(&x) && [&gamma, &beta].into_iter().all(crate::extension::is_fused) {
        check(&x, &gamma, &beta);
        return fused::layer_norm(x, gamma, beta, epsilon);
    }
    composed::layer_norm(x, gamma, beta, epsilon)
}

/// Refuses what does not fit.
fn check(x: &Tensor<2>, gamma: &Tensor<1>, beta: &Tensor<1>) {
    let [_, width] = x.dims();
    assert_shape!(gamma, [width]);
    assert_shape!(beta, [width]);
}
