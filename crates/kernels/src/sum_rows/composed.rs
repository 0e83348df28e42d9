//! Sums of rows by a look-up and an addition, on any backend.

use burn::tensor::{IndexingUpdateOp, Tensor};

use super::check;
use crate::indices;

/// What [`sum_rows`](crate::sum_rows) gives, by ordinary tensor operations.
///
/// # Shapes
/// - x: `[rows, width]`
/// - output: `[n_sums, width]`
///
/// # Panics
/// When there are not as many of `from` as of `into`, or a row is not there.
pub fn sum_rows(x: Tensor<2>, from: &[u32], into: &[u32], n_sums: usize) -> Tensor<2> {
    check(&x, from, into, n_sums);
    let ([_, width], device) = (x.dims(), x.device());
    let sums = Tensor::zeros([n_sums, width], &device);
    if from.is_empty() {
        return sums;
    }
    let added = x.select(0, indices(from, &device));
    sums.select_assign(0, indices(into, &device), added, IndexingUpdateOp::Add)
}
