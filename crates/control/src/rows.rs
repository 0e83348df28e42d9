//! Tables whose rows are observations.

use nalgebra::{DMatrix, RowDVector};

/// `x − mean` for every row of x `[rows, columns]`; `mean` `[columns]`.
pub(crate) fn centred(x: &DMatrix<f64>, mean: &RowDVector<f64>) -> DMatrix<f64> {
    DMatrix::from_fn(x.nrows(), x.ncols(), |row, column| x[(row, column)] - mean[column])
}
