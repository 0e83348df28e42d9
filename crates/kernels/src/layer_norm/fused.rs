//! Layer normalisation, one pass over a row there and one back.
//!
//! With x̂ the normalised row, σ its standard deviation and h = γ · ∂y, the gradient of x is
//! `(h − mean(h) − x̂ mean(h x̂)) / σ`; those of γ and β are the sums of `∂y x̂` and of `∂y` over rows.

use burn::{backend::flex::FlexTensor, tensor::Tensor};
use rayon::prelude::*;

use crate::{
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    rows::{add, dot, sum},
};

/// Rows of a task. What tasks add up, others add up in their order: the number of threads has no part in it.
const ROWS: usize = 64;

/// What [`layer_norm`](crate::layer_norm) gives, by the fused form.
pub(super) fn layer_norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<2> {
    apply(LayerNorm { epsilon: epsilon as f32 }, Inputs::default().with(x).with(gamma).with(beta))
}

#[derive(Debug)]
struct LayerNorm {
    epsilon: f32,
}

/// Rows at mean 0 and variance 1, and what they were divided by.
struct Normalised {
    /// `[rows, width]`
    rows: Vec<f32>,
    /// `[rows]`: 1/σ.
    inverse: Vec<f32>,
}

/// Gradients that one task has summed up.
struct Sums {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Operation for LayerNorm {
    fn forward(&self, inputs: Vec<FlexTensor>) -> FlexTensor {
        self.forward_tracked(inputs).0
    }

    fn forward_tracked(&self, inputs: Vec<FlexTensor>) -> (FlexTensor, WayBack) {
        let [x, gamma, beta] = exactly(inputs);
        let shape: [usize; 2] = dims(&x);
        let normalised = self.normalised(values(&x), shape);
        let y = scaled(&normalised.rows, values(&gamma), values(&beta));
        (tensor(y, shape), WayBack::new(move |grad| backward(&normalised, &gamma, grad)))
    }
}

impl LayerNorm {
    fn normalised(&self, x: &[f32], [rows, width]: [usize; 2]) -> Normalised {
        let (mut normalised, mut inverse) = (x.to_vec(), vec![0.0; rows]);
        let tasks = normalised.par_chunks_mut((ROWS * width).max(1)).zip(inverse.par_chunks_mut(ROWS));
        tasks.for_each(|(rows, inverse)| {
            for (row, inverse) in rows.chunks_exact_mut(width).zip(inverse) {
                let mean = sum(row) / width as f32;
                row.iter_mut().for_each(|value| *value -= mean);
                let variance = dot(row, row) / width as f32;
                *inverse = (variance + self.epsilon).sqrt().recip();
                row.iter_mut().for_each(|value| *value *= *inverse);
            }
        });
        Normalised { rows: normalised, inverse }
    }
}

/// Rows times gamma, plus beta.
fn scaled(rows: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<f32> {
    let mut y = rows.to_vec();
    y.par_chunks_mut((ROWS * gamma.len()).max(1)).for_each(|rows| {
        for row in rows.chunks_exact_mut(gamma.len()) {
            for ((y, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
                *y = *y * gamma + beta;
            }
        }
    });
    y
}

/// The gradients of `x`, `gamma` and `beta`.
fn backward(normalised: &Normalised, gamma: &FlexTensor, grad: &FlexTensor) -> Vec<FlexTensor> {
    let (shape, gamma): ([usize; 2], _) = (dims(grad), values(gamma));
    let [_, width] = shape;
    let mut x = values(grad).to_vec();
    let rows = x.par_chunks_mut((ROWS * width).max(1));
    let tasks =
        rows.zip(normalised.rows.par_chunks((ROWS * width).max(1))).zip(normalised.inverse.par_chunks(ROWS));
    let sums: Vec<Sums> =
        tasks.map(|((grad, rows), inverse)| rows_back(grad, rows, inverse, gamma)).collect();
    let mut all = Sums { gamma: vec![0.0; width], beta: vec![0.0; width] };
    for Sums { gamma, beta } in &sums {
        add(&mut all.gamma, gamma);
        add(&mut all.beta, beta);
    }
    vec![tensor(x, shape), tensor(all.gamma, [width]), tensor(all.beta, [width])]
}

/// Puts the gradients of `x` in place of those of `y`, and sums up those of gamma and beta.
fn rows_back(grad: &mut [f32], rows: &[f32], inverse: &[f32], gamma: &[f32]) -> Sums {
    let width = gamma.len();
    let mut sums = Sums { gamma: vec![0.0; width], beta: vec![0.0; width] };
    for ((grad, row), inverse) in grad.chunks_exact_mut(width).zip(rows.chunks_exact(width)).zip(inverse) {
        add(&mut sums.beta, grad);
        for ((sum, grad), x) in sums.gamma.iter_mut().zip(&*grad).zip(row) {
            *sum += grad * x;
        }
        grad.iter_mut().zip(gamma).for_each(|(grad, gamma)| *grad *= gamma);
        let (mean, along) = (sum(grad) / width as f32, dot(grad, row) / width as f32);
        for (grad, x) in grad.iter_mut().zip(row) {
            *grad = (*grad - mean - x * along) * inverse;
        }
    }
    sums
}
