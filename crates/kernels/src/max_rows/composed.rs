//! Largest values over a padded grid, on any backend.

use burn::tensor::{Device, Tensor, TensorData};

use super::check;
use crate::{stretches::grid_places, sum_rows};

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
    let (at, places): (Vec<u32>, _) = ((0..rows as u32).collect(), grid_places(lengths, longest));
    let grid = sum_rows(x, &at, &places, n * longest) + floor(&places, n * longest, &device);
    grid.reshape([n, longest, width]).max_dim(1).reshape([n, width])
}

/// `[places, 1]`: what is added where there is no row.
fn floor(taken: &[u32], places: usize, device: &Device) -> Tensor<2> {
    let mut values = vec![FLOOR; places];
    taken.iter().for_each(|place| values[*place as usize] = 0.0);
    Tensor::from_data(TensorData::new(values, [places, 1]), device)
}
