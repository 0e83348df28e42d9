//! Weighted sums, token by token.

use burn::{backend::flex::FlexTensor, tensor::Tensor};
use rayon::prelude::*;

use crate::{
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    rows::dot,
};

/// Tokens of a task.
const TOKENS: usize = 64;

/// What [`weighted_sum`](crate::weighted_sum) gives, by the fused form.
pub(super) fn weighted_sum(outputs: Tensor<2>, weights: Tensor<2>) -> Tensor<2> {
    apply(WeightedSum, Inputs::default().with(outputs).with(weights))
}

#[derive(Debug)]
struct WeightedSum;

impl Operation for WeightedSum {
    fn forward(&self, inputs: Vec<FlexTensor>) -> FlexTensor {
        let [outputs, weights] = exactly(inputs);
        forward(&outputs, &weights)
    }

    fn forward_tracked(&self, inputs: Vec<FlexTensor>) -> (FlexTensor, WayBack) {
        let [outputs, weights] = exactly(inputs);
        (forward(&outputs, &weights), WayBack::new(move |grad| backward(&outputs, &weights, grad)))
    }
}

fn forward(outputs: &FlexTensor, weights: &FlexTensor) -> FlexTensor {
    let ([_, d_model], [tokens, top_k]) = (dims(outputs), dims(weights));
    let (outputs, weights) = (values(outputs), values(weights));
    let mut y = vec![0.0; tokens * d_model];
    y.par_chunks_mut((TOKENS * d_model).max(1)).enumerate().for_each(|(task, rows)| {
        for (token, row) in (task * TOKENS..).zip(rows.chunks_exact_mut(d_model)) {
            for pair in token * top_k..(token + 1) * top_k {
                let (output, weight) = (&outputs[pair * d_model..][..d_model], weights[pair]);
                row.iter_mut().zip(output).for_each(|(y, output)| *y += weight * output);
            }
        }
    });
    tensor(y, [tokens, d_model])
}

/// The gradients of the outputs and of their weights.
fn backward(outputs: &FlexTensor, weights: &FlexTensor, grad: &FlexTensor) -> Vec<FlexTensor> {
    let ([n_pairs, d_model], shape): ([usize; 2], [usize; 2]) = (dims(outputs), dims(weights));
    let [_, top_k] = shape;
    let (of, weights, grad) = (values(outputs), values(weights), values(grad));
    let (mut of_outputs, mut of_weights) = (vec![0.0; n_pairs * d_model], vec![0.0; n_pairs]);
    let tasks = of_outputs.par_chunks_mut((TOKENS * d_model).max(1)).zip(of_weights.par_chunks_mut(TOKENS));
    tasks.enumerate().for_each(|(task, (rows, of_weights))| {
        let pairs = (task * TOKENS..).zip(rows.chunks_exact_mut(d_model)).zip(of_weights);
        for ((pair, row), of_weight) in pairs {
            let grad = &grad[pair / top_k * d_model..][..d_model];
            row.iter_mut().zip(grad).for_each(|(row, grad)| *row = weights[pair] * grad);
            *of_weight = dot(grad, &of[pair * d_model..][..d_model]);
        }
    });
    vec![tensor(of_outputs, [n_pairs, d_model]), tensor(of_weights, shape)]
}
