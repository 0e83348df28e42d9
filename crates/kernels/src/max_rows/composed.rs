//! Largest values over a padded grid, on any backend.

use burn::tensor::Tensor;

use super::check;
use crate::{indices, stretches::grid_rows};

/// Below every value that a network has.
const FLOOR: f32 = -1e30;

/// What [`max_rows`](crate::max_rows) gives, by ordinary tensor operations. Values must lie above −10³⁰.
///
/// # Shapes
/// - x: `[rows, width]`
/// - output: `[lengths.len(), width]`
///
/// # Panics
/// When a stretch is empty, or the lengths do not add up to the rows.
pub fn max_rows(x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    check(&x, lengths);
    let ([rows, width], device) = (x.dims(), x.device());
    let (n, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
    if n == 0 {
        return Tensor::zeros([0, width], &device);
    }
    let padded = Tensor::cat(vec![x, Tensor::full([1, width], FLOOR, &device)], 0);
    let grid = padded.select(0, indices(&grid_rows(lengths, longest, rows), &device));
    grid.reshape([n, longest, width]).max_dim(1).reshape([n, width])
}
