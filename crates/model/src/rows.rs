//! Rows of a matrix, picked by their places.

use burn::tensor::Tensor;
use moelt_kernels::indices;

/// Some rows of a matrix, in this order: `[places.len(), columns]`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let matrix = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::flex());
/// let picked: Vec<f32> = moelt_model::rows_of(&matrix, &[2, 0, 2]).try_into_vec_as().unwrap();
/// assert_eq!(picked, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
/// ```
///
/// # Panics
/// When there is no such row.
pub fn rows_of(matrix: &Tensor<2>, places: &[u32]) -> Tensor<2> {
    matrix.clone().select(0, indices(places, &matrix.device()))
}
