//! The square of a norm.

use burn::tensor::Tensor;

/// The sum of the squares of all values, `[1]`.
///
/// # Shapes
/// - values: `[n]`
pub fn square_sum(values: Tensor<1>) -> Tensor<1> {
    #[cfg(feature = "cube")]
    if crate::cube::is_on_gpu(&values) {
        let [n] = values.dims();
        return crate::lanes::of_lanes(values, [1, 1, n], crate::lanes::OfLane::SquareSum).sum();
    }
    values.square().sum()
}
