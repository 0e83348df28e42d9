//! The gradients of an expert's parameters, token by token.

use nalgebra::DMatrix;

use super::{largest_eigenvalue, matrix};
use crate::{flops::Flops, rows::centred};

/// What a backward pass showed of one expert, on the first of its tokens; all of them row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertGradients {
    /// Tokens that it got: as many rows as this, or fewer.
    pub tokens: usize,
    /// What it saw, `[rows, d_model]`.
    pub inputs: Vec<f32>,
    /// Its hidden units after the activation, `[rows, d_ff]`.
    pub hidden: Vec<f32>,
    /// The gradient at what its hidden units, and gates where they have any, sum up: `[rows, d_sums]`.
    pub hidden_gradients: Vec<f32>,
    /// The gradient at its output, `[rows, d_model]`.
    pub gradients: Vec<f32>,
    /// Columns of inputs and gradients.
    pub d_model: usize,
    /// Columns of hidden units.
    pub d_ff: usize,
    /// Columns of their sums: `d_ff`, or twice as many with gates.
    pub d_sums: usize,
}

/// How the gradients of an expert's tokens lie to one another.
pub(super) struct Turn {
    /// The largest singular value of the mean of (input − mean input) ⊗ gradient.
    pub(super) direction: f64,
    /// 1 − ‖mean gradient‖² / mean ‖gradient‖²; 0 where there is no gradient.
    pub(super) conflict: f64,
    /// Mean ‖gradient − mean gradient‖².
    pub(super) variance: f64,
}

impl ExpertGradients {
    /// Tokens that are compared pair by pair, at most.
    pub const MOST_TOKENS: usize = 512;

    pub(super) fn inputs(&self) -> DMatrix<f64> {
        matrix(&self.inputs, self.d_model)
    }

    pub(super) fn hidden(&self) -> DMatrix<f64> {
        matrix(&self.hidden, self.d_ff)
    }

    pub(super) fn gradients(&self) -> DMatrix<f64> {
        matrix(&self.gradients, self.d_model)
    }

    /// Products of the parameters' gradients of every two tokens, `[rows, rows]`. The gradient of a weight matrix is an outer product,
    /// so that none of them is ever written out.
    fn products(&self, flops: &mut Flops) -> DMatrix<f64> {
        let incoming = outer_products(&self.inputs(), &matrix(&self.hidden_gradients, self.d_sums), flops);
        incoming + outer_products(&self.hidden(), &self.gradients(), flops)
    }

    /// Inputs are multiplied by `scale`.
    pub(super) fn turn(&self, scale: f64, flops: &mut Flops) -> Turn {
        let products = self.products(flops);
        let rows = products.nrows() as f64;
        let (mean_square, square_of_mean) = (products.trace() / rows, products.sum() / (rows * rows));
        let inputs = self.inputs() * scale;
        let centred = centred(&inputs, &inputs.row_mean());
        flops.product(self.d_model, products.nrows(), products.nrows());
        flops.product(self.d_model, products.nrows(), self.d_model);
        Turn {
            direction: largest_eigenvalue(centred.transpose() * products * &centred).sqrt() / rows,
            conflict: if mean_square > 0.0 { 1.0 - square_of_mean / mean_square } else { 0.0 },
            variance: mean_square - square_of_mean,
        }
    }
}

/// `⟨(a, 1) ⊗ b, (a', 1) ⊗ b'⟩` of every two rows: `(a·a' + 1)(b·b')`.
fn outer_products(a: &DMatrix<f64>, b: &DMatrix<f64>, flops: &mut Flops) -> DMatrix<f64> {
    assert_eq!(a.nrows(), b.nrows(), "a gradient for each row");
    flops.product(a.nrows(), a.ncols(), a.nrows());
    flops.product(b.nrows(), b.ncols(), b.nrows());
    (a * a.transpose()).add_scalar(1.0).component_mul(&(b * b.transpose()))
}
