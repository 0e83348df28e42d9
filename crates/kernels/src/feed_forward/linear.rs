//! Linear maps of stacked experts.

use std::ops::Range;

use burn::backend::{TensorMetadata, flex::FlexTensor};
use rayon::prelude::*;

use crate::{
    extension::{dims, tensor, values},
    matrix::{Matrix, Old, multiply},
    rows::{add, widest},
};

/// The fewest rows of a part of a product, and values that come out of it. Smaller ones are not worth a task, and gemm
/// multiplies some of them in another order.
const PART_ROWS: usize = 128;
const PART_VALUES: usize = 1 << 14;

/// `x W + b`, with a weight `[n_experts, n_in, n_out]` and a bias `[n_experts, n_out]`.
#[derive(Debug)]
pub(super) struct Linear {
    weight: FlexTensor,
    bias: FlexTensor,
    n_in: usize,
    n_out: usize,
}

impl Linear {
    pub(super) fn new(weight: FlexTensor, bias: FlexTensor) -> Self {
        let [_, n_in, n_out] = dims(&weight);
        Self { weight, bias, n_in, n_out }
    }

    /// What an expert makes of rows: `[rows, n_in]` to `[rows, n_out]`.
    pub(super) fn forward(&self, expert: usize, x: &[f32]) -> Vec<f32> {
        // Products are added to the biases.
        let mut out = part(&self.bias, expert).repeat(x.len() / self.n_in);
        multiply_side_by_side(&mut out, Old::Kept, Matrix::from_rows(x, self.n_in), self.weight(expert));
        out
    }

    /// The gradient of `x` from that of what came out, over what is there or added to it.
    pub(super) fn go_back(&self, expert: usize, grad: &[f32], old: Old, x: &mut [f32]) {
        let weight = self.weight(expert).transposed();
        multiply_side_by_side(x, old, Matrix::from_rows(grad, self.n_out), weight);
    }

    /// The gradients of weight and bias from what came into each chunk and the gradient of what came out. They are zero for an expert
    /// without chunks.
    ///
    /// # Shapes
    /// - chunks: `[pairs, n_in]` and `[pairs, n_out]`
    pub(super) fn gradients(
        &self,
        chunks: &[(&[f32], &[f32])],
        of_expert: &[Range<usize>],
    ) -> [FlexTensor; 2] {
        let [mut weight, mut bias] = [&self.weight, &self.bias].map(|tensor| vec![0.0; values(tensor).len()]);
        let experts = weight.par_chunks_mut(self.n_in * self.n_out).zip(bias.par_chunks_mut(self.n_out));
        experts.zip(of_expert).for_each(|((weight, bias), of_expert)| {
            add_gradients(weight, bias, &chunks[of_expert.clone()]);
        });
        [tensor(weight, self.weight.shape()), tensor(bias, self.bias.shape())]
    }

    /// `[n_in, n_out]` of an expert.
    fn weight(&self, expert: usize) -> Matrix<'_> {
        Matrix::from_rows(part(&self.weight, expert), self.n_out)
    }
}

/// Adds the gradients of one expert's weight and bias, chunk after chunk.
///
/// # Shapes
/// - weight: `[n_in, n_out]`
/// - bias: `[n_out]`
/// - chunks: `[pairs, n_in]` and `[pairs, n_out]`
fn add_gradients(weight: &mut [f32], bias: &mut [f32], chunks: &[(&[f32], &[f32])]) {
    let n_out = bias.len();
    let n_in = weight.len() / n_out;
    for (x, grad) in chunks {
        let x = Matrix::from_rows(x, n_in).transposed();
        multiply_side_by_side(weight, Old::Kept, x, Matrix::from_rows(grad, n_out));
    }
    widest(|| chunks.iter().for_each(|(_, grad)| grad.chunks_exact(n_out).for_each(|row| add(bias, row))));
}

/// [`multiply`] with the rows divided among threads. A row's bits do not depend on it; each part costs one more look at all
/// of `b`, which is why there are no more parts than threads.
fn multiply_side_by_side(out: &mut [f32], old: Old, a: Matrix<'_>, b: Matrix<'_>) {
    let n_rows = a.n_rows();
    let most = (n_rows / PART_ROWS).min(out.len() / PART_VALUES);
    let rows = n_rows.div_ceil(rayon::current_num_threads().min(most).max(1));
    let width = out.len() / n_rows;
    out.par_chunks_mut(rows * width).enumerate().for_each(|(part, out)| {
        multiply(out, old, a.narrow_rows(part * rows, out.len() / width), b);
    });
}

/// An expert's part of a stacked parameter.
fn part(tensor: &FlexTensor, expert: usize) -> &[f32] {
    let all = values(tensor);
    let n = all.len() / tensor.shape()[0];
    &all[expert * n..][..n]
}
