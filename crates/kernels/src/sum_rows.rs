//! Sums of rows: embeddings, means of sequences, windows.

use burn::tensor::Tensor;

pub(crate) mod composed;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod fused;
#[cfg(any(feature = "flex", feature = "cube"))]
mod pairs;

/// Adds rows of `x` to rows of zeros: `y[into[i]] += x[from[i]]` for every i, in their order.
///
/// With a table of vectors for `x` it is a look-up in which a token may have several rows, or none; with tokens for `x` and
/// their sequences for `into` it sums up sequences.
///
/// # Shapes
/// - x: `[rows, width]`
/// - from, into: as many of one as of the other
/// - output: `[n_sums, width]`
///
/// # Panics
/// When there are not as many of `from` as of `into`, or a row is not there.
pub fn sum_rows(x: Tensor<2>, from: &[u32], into: &[u32], n_sums: usize) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::extension::is_fused(&x) {
        check(&x, from, into, n_sums);
        return fused::sum_rows(x, from, into, n_sums);
    }
    #[cfg(feature = "cube")]
    if crate::cube::is_on_cube(&x) {
        check(&x, from, into, n_sums);
        return cube::sum_rows(x, from, into, n_sums);
    }
    composed::sum_rows(x, from, into, n_sums)
}

/// Refuses what does not fit.
fn check(x: &Tensor<2>, from: &[u32], into: &[u32], n_sums: usize) {
    let [rows, _] = x.dims();
    assert_eq!(from.len(), into.len(), "every row that is added needs a sum");
    if let Some(unknown) = from.iter().find(|row| **row as usize >= rows) {
        panic!("row {unknown} of {rows}");
    }
    if let Some(unknown) = into.iter().find(|sum| **sum as usize >= n_sums) {
        panic!("sum {unknown} of {n_sums}");
    }
}
