//! The largest values of rows that belong together.

use burn::tensor::Tensor;

pub(crate) mod composed;
#[cfg(feature = "flex")]
mod fused;

/// The largest value of each column in each stretch of rows. The gradient goes to the first row that has it.
///
/// # Shapes
/// - x: `[rows, width]`
/// - lengths: rows of each stretch, at least 1; stretches lie end to end
/// - output: `[lengths.len(), width]`
///
/// # Panics
/// When a stretch is empty, or the lengths do not add up to the rows.
pub fn max_rows(x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::extension::is_fused(&x) {
        check(&x, lengths);
        return fused::max_rows(x, lengths);
    }
    composed::max_rows(x, lengths)
}

/// Refuses what does not fit.
fn check(x: &Tensor<2>, lengths: &[usize]) {
    let ([rows, _], all) = (x.dims(), lengths.iter().sum::<usize>());
    assert!(lengths.iter().all(|n| *n > 0), "an empty stretch has no largest value");
    assert_eq!(rows, all, "stretches of {all} rows in a tensor of {rows}");
}
