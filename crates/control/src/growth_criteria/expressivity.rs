//! What new hidden units could do that an expert cannot.

use nalgebra::{DMatrix, DVector};
use rand::{Rng, RngExt};

use super::ExpertGradients;
use crate::{flops::Flops, rows::centred};

/// Random units that are offered.
const UNITS: usize = 32;

/// Of the regression per row that is fitted to, columns of unit mean square: next to nothing for what the expert can do by itself, or
/// what shrinking takes from it would count as a gap …
const OWN_RIDGE: f64 = 1e-3;

/// … and for random units, which with less of it fit noise.
const UNITS_RIDGE: f64 = 0.1;

/// How much of an expert's gradient random ReLU units explain beyond affine functions of its input and its own hidden units: mean
/// square per token, on the odd rows, of what is fitted to the even ones. Below 0 where the units only fit noise.
pub(super) fn expressivity_gap(expert: &ExpertGradients, rng: &mut impl Rng, flops: &mut Flops) -> f64 {
    let (inputs, gradients) = (standardised(&expert.inputs()), expert.gradients());
    let d_model = inputs.ncols();
    let directions = DMatrix::from_fn(d_model, UNITS, |_, _| 2.0 * rng.random::<f64>() - 1.0);
    flops.product(inputs.nrows(), d_model, UNITS);
    let units = (&inputs * directions).map(|value| value.max(0.0));
    let own = beside(&inputs.insert_column(d_model, 1.0), &expert.hidden());
    let both = beside(&own, &units);
    let unexplained = |design, flops: &mut Flops| unexplained(design, own.ncols(), &gradients, flops);
    unexplained(&own, flops) - unexplained(&both, flops)
}

/// Mean square, per odd row, of what a ridge regression on the even rows leaves of `target`; NaN where a number is not finite. The first
/// `n_own` columns of the design are the expert's own.
fn unexplained(design: &DMatrix<f64>, n_own: usize, target: &DMatrix<f64>, flops: &mut Flops) -> f64 {
    let rows = |first: usize| (first..design.nrows()).step_by(2).collect::<Vec<usize>>();
    let (even, odd) = (rows(0), rows(1));
    let fitted_to = design.select_rows(&even);
    let scale = DVector::from_iterator(
        fitted_to.ncols(),
        fitted_to.column_iter().map(|column| one_over_rms(column.norm_squared(), column.len())),
    );
    let scaled = |rows: &DMatrix<f64>| {
        DMatrix::from_fn(rows.nrows(), rows.ncols(), |row, column| rows[(row, column)] * scale[column])
    };
    let x = scaled(&fitted_to);
    for columns in [x.ncols(), target.ncols()] {
        flops.product(x.ncols(), x.nrows(), columns);
    }
    let ridge = |column: usize| if column < n_own { OWN_RIDGE } else { UNITS_RIDGE };
    let ridges = DVector::from_fn(x.ncols(), |column, _| ridge(column) * x.nrows() as f64);
    let gram = x.transpose() * &x + DMatrix::from_diagonal(&ridges);
    let Some(gram) = gram.cholesky() else { return f64::NAN };
    let coefficients = gram.solve(&(x.transpose() * target.select_rows(&even)));
    flops.product(odd.len(), x.ncols(), target.ncols());
    let left = target.select_rows(&odd) - scaled(&design.select_rows(&odd)) * coefficients;
    left.norm_squared() / odd.len().max(1) as f64
}

/// 0 for a column that is 0 everywhere.
fn one_over_rms(sum_of_squares: f64, n: usize) -> f64 {
    if sum_of_squares > 0.0 { (n as f64 / sum_of_squares).sqrt() } else { 0.0 }
}

/// Columns of mean 0, all divided by one number, so that their mean square is 1.
fn standardised(x: &DMatrix<f64>) -> DMatrix<f64> {
    let centred = centred(x, &x.row_mean());
    let scale = one_over_rms(centred.norm_squared(), centred.len());
    centred * scale
}

/// The columns of both.
fn beside(left: &DMatrix<f64>, right: &DMatrix<f64>) -> DMatrix<f64> {
    DMatrix::from_fn(left.nrows(), left.ncols() + right.ncols(), |row, column| {
        match column.checked_sub(left.ncols()) {
            Some(of_right) => right[(row, of_right)],
            None => left[(row, column)],
        }
    })
}
