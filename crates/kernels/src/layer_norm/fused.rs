//! Layer normalisation, one pass over a row there and one back.
//!
//! With x̂ the normalised row, σ its standard deviation and h = γ · ∂y, the gradient of x is
//! `(h − mean(h) − x̂ mean(h x̂)) / σ`; those of γ and β are the sums of `∂y x̂` and of `∂y` over rows.

use burn::{backend::flex::FlexTensor, tensor::Tensor};
use rayon::prelude::*;

use crate::{
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    rows::{add, dot, sum, sum_of, widest},
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

/// What a row is normalised by.
#[derive(Clone, Copy, Default)]
struct Scale {
    mean: f32,
    /// 1/σ
    inverse: f32,
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
        let (y, scales) = self.normalised(&x, values(&gamma), values(&beta));
        (y, WayBack::new(move |grad| backward(&x, &scales, values(&gamma), grad)))
    }
}

impl LayerNorm {
    fn normalised(&self, x: &FlexTensor, gamma: &[f32], beta: &[f32]) -> (FlexTensor, Vec<Scale>) {
        let shape: [usize; 2] = dims(x);
        let [rows, width] = shape;
        let (mut y, mut scales) = (vec![0.0; rows * width], vec![Scale::default(); rows]);
        let tasks = y.par_chunks_mut((ROWS * width).max(1)).zip(scales.par_chunks_mut(ROWS));
        tasks.zip(values(x).par_chunks((ROWS * width).max(1))).for_each(|((y, scales), x)| {
            let rows = y.chunks_exact_mut(width).zip(scales).zip(x.chunks_exact(width));
            widest(|| {
                rows.for_each(|((y, scale), x)| {
                    *scale = self.scale(x);
                    for (((y, x), gamma), beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                        *y = scale.of(*x) * gamma + beta;
                    }
                });
            });
        });
        (tensor(y, shape), scales)
    }

    #[inline(always)]
    fn scale(&self, row: &[f32]) -> Scale {
        let n = row.len() as f32;
        let mean = sum(row) / n;
        let variance = sum_of(row, |value| (value - mean) * (value - mean)) / n;
        Scale { mean, inverse: (variance + self.epsilon).sqrt().recip() }
    }
}

impl Scale {
    #[inline(always)]
    fn of(self, value: f32) -> f32 {
        (value - self.mean) * self.inverse
    }
}

/// The gradients of `x`, `gamma` and `beta`.
fn backward(x: &FlexTensor, scales: &[Scale], gamma: &[f32], grad: &FlexTensor) -> Vec<FlexTensor> {
    let (shape, width): ([usize; 2], usize) = (dims(grad), gamma.len());
    let mut of_x = values(grad).to_vec();
    let rows = of_x.par_chunks_mut((ROWS * width).max(1)).zip(scales.par_chunks(ROWS));
    let tasks = rows.zip(values(x).par_chunks((ROWS * width).max(1)));
    let sums: Vec<Sums> =
        tasks.map(|((grad, scales), x)| widest(|| rows_back(grad, x, scales, gamma))).collect();
    let mut all = Sums { gamma: vec![0.0; width], beta: vec![0.0; width] };
    for Sums { gamma, beta } in &sums {
        add(&mut all.gamma, gamma);
        add(&mut all.beta, beta);
    }
    vec![tensor(of_x, shape), tensor(all.gamma, [width]), tensor(all.beta, [width])]
}

/// Puts the gradients of `x` in place of those of `y`, and sums up those of gamma and beta.
#[inline(always)]
fn rows_back(grad: &mut [f32], x: &[f32], scales: &[Scale], gamma: &[f32]) -> Sums {
    let width = gamma.len();
    let (n, mut row) = (width as f32, vec![0.0; width]);
    let mut sums = Sums { gamma: vec![0.0; width], beta: vec![0.0; width] };
    for ((grad, x), scale) in grad.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(scales) {
        row.iter_mut().zip(x).for_each(|(row, x)| *row = scale.of(*x));
        add(&mut sums.beta, grad);
        sums.gamma.iter_mut().zip(&*grad).zip(&row).for_each(|((sum, grad), x)| *sum += grad * x);
        grad.iter_mut().zip(gamma).for_each(|(grad, gamma)| *grad *= gamma);
        let (mean, along) = (sum(grad) / n, dot(grad, &row) / n);
        grad.iter_mut().zip(&row).for_each(|(grad, x)| *grad = (*grad - mean - x * along) * scale.inverse);
    }
    sums
}
