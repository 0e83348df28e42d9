//! Layer normalisation as Burn does it, on any backend.

use burn::tensor::{Tensor, module};

use super::check;

/// What [`layer_norm`](crate::layer_norm) gives, by Burn's own operation.
///
/// # Shapes
/// - x: `[rows, width]`
/// - gamma, beta: `[width]`
/// - output: `[rows, width]`
///
/// # Panics
/// When shapes do not fit.
pub fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<2> {
    check(&x, &gamma, &beta);
    module::layer_norm(x, gamma, Some(beta), epsilon)
}
