//! Router inputs in coordinates of equal spread.

use nalgebra::{DMatrix, DVector, RowDVector, SymmetricEigen};

use crate::{flops::Flops, rows::centred};

/// Directions whose standard deviation is below this part of the largest are left out: they are constant but for
/// rounding.
const LEAST_SPREAD: f64 = 1e-3;

/// The affine map to coordinates that have mean 0, standard deviation 1 and no correlation over the rows it was made
/// of: `(x − mean) · map`.
pub(super) struct Whitening {
    mean: RowDVector<f64>,
    /// Of those rows: `[d_model, d_model]`.
    pub(super) covariance: DMatrix<f64>,
    /// `[d_model, directions]`.
    map: DMatrix<f64>,
}

impl Whitening {
    /// Of rows `[rows, d_model]`; none where no column varies. The eigenvectors of the covariance, each divided by
    /// the root of its eigenvalue.
    pub(super) fn of(x: &DMatrix<f64>, flops: &mut Flops) -> Option<Self> {
        let mean = x.row_mean();
        let covariance = covariance(x, &mean, flops);
        let SymmetricEigen { eigenvalues, eigenvectors } = SymmetricEigen::new(covariance.clone());
        let largest = eigenvalues.max();
        if !(largest > 0.0 && largest.is_finite()) {
            return None;
        }
        let floor = LEAST_SPREAD.powi(2) * largest;
        let kept: Vec<usize> = (0..eigenvalues.len()).filter(|&at| eigenvalues[at] > floor).collect();
        let scale = |&at: &usize| eigenvectors.column(at) / eigenvalues[at].sqrt();
        let map = DMatrix::from_columns(&kept.iter().map(scale).collect::<Vec<DVector<f64>>>());
        Some(Self { mean, covariance, map })
    }

    /// The rows `[rows, d_model]` in these coordinates, with a last column of ones: `[rows, directions + 1]`.
    pub(super) fn design(&self, x: &DMatrix<f64>, flops: &mut Flops) -> DMatrix<f64> {
        flops.product(x.nrows(), x.ncols(), self.map.ncols());
        let white = centred(x, &self.mean) * &self.map;
        let constant = white.ncols();
        white.insert_column(constant, 1.0)
    }

    /// Coefficients of the design's columns, `[directions + 1, n]`, as those of the columns of x and a constant, `[d_model + 1, n]`.
    pub(super) fn back(&self, coefficients: &DMatrix<f64>) -> DMatrix<f64> {
        let directions = self.map.ncols();
        let of_x = &self.map * coefficients.rows(0, directions);
        let constants = coefficients.row(directions) - &self.mean * &of_x;
        let last = of_x.nrows();
        let mut back = of_x.insert_row(last, 0.0);
        back.set_row(last, &constants);
        back
    }
}

/// Covariance `[d_model, d_model]` of rows `[rows, d_model]` with this mean, divided by the number of rows.
fn covariance(x: &DMatrix<f64>, mean: &RowDVector<f64>, flops: &mut Flops) -> DMatrix<f64> {
    flops.product(x.ncols(), x.nrows(), x.ncols());
    let centred = centred(x, mean);
    centred.transpose() * &centred / x.nrows() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns: (−2, 2, −2, 2), (3, 3, 5, 5) and a constant. Standard deviations 2 and 1, no correlation.
    fn rows() -> DMatrix<f64> {
        DMatrix::from_row_slice(4, 3, &[-2.0, 3.0, 9.0, 2.0, 3.0, 9.0, -2.0, 5.0, 9.0, 2.0, 5.0, 9.0])
    }

    #[test]
    fn white_rows_have_unit_spread_and_constants_are_left_out() {
        let (x, mut flops) = (rows(), Flops::default());
        let design = Whitening::of(&x, &mut flops).unwrap().design(&x, &mut flops);
        assert_eq!(design.shape(), (4, 3));
        let gram = design.tr_mul(&design) / 4.0;
        assert!((gram - DMatrix::identity(3, 3)).amax() < 1e-12);
        // Covariance [3, 4] · [4, 3], whitening [4, 3] · [3, 2].
        assert_eq!(flops, Flops(2 * 36 + 2 * 24));
    }

    #[test]
    fn back_in_x_a_function_has_the_same_values() {
        let (x, mut flops) = (rows(), Flops::default());
        let whitening = Whitening::of(&x, &mut flops).unwrap();
        let coefficients = DMatrix::from_column_slice(3, 1, &[0.5, -2.0, 0.25]);
        let expected = whitening.design(&x, &mut flops) * &coefficients;
        let values = x.insert_column(3, 1.0) * whitening.back(&coefficients);
        assert!((values - expected).amax() < 1e-12);
    }

    #[test]
    fn rows_that_are_all_equal_have_no_directions() {
        assert!(Whitening::of(&DMatrix::from_element(5, 2, 3.0), &mut Flops::default()).is_none());
    }
}
