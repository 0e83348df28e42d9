//! Sums of all values.

use burn::tensor::Tensor;

/// The sum of all values, `[1]`, added up in the same order every time: Burn's own sum adds on NVIDIA GPUs in whatever order threads
/// come.
///
/// # Shapes
/// - values: `[n]`
///
/// # Panics
/// When there are more than 2³² values on a GPU.
pub fn ordered_sum(values: Tensor<1>) -> Tensor<1> {
    #[cfg(feature = "cube")]
    if crate::cube::is_untracked_on_cube(&values) {
        let [n] = values.dims();
        return match n {
            0 => Tensor::zeros([1], &values.device()),
            n => crate::lanes::of_rows(values, [1, 1, n], crate::lanes::Found::Sum),
        };
    }
    values.sum()
}
