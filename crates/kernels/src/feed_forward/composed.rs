//! Tokens through their experts by batched products, on any backend.

use burn::tensor::Tensor;

use super::{ExpertOutput, StackedExperts};
use crate::sum_rows;

/// What [`expert_feed_forward`](crate::expert_feed_forward) gives, by ordinary tensor operations: tokens stand in one
/// queue per expert, as long as the longest, so that the cost follows `top_k` as far as the load is even.
///
/// # Shapes
/// - x: `[tokens, d_model]`
/// - expert_indices: `[tokens · top_k]`, a token's choices side by side
/// - expert_weights: `[tokens, top_k]`
///
/// # Panics
/// When shapes do not fit, or an index is not that of an expert.
pub fn expert_feed_forward(
    x: Tensor<2>,
    expert_indices: &[u32],
    expert_weights: Tensor<2>,
    experts: StackedExperts,
) -> ExpertOutput {
    experts.check(&x, expert_indices, &expert_weights);
    let ([tokens, d_model], [_, top_k]) = (x.dims(), expert_weights.dims());
    if expert_indices.is_empty() {
        let device = x.device();
        let norms = Tensor::zeros([0], &device.clone().inner());
        return ExpertOutput { y: Tensor::zeros([tokens, d_model], &device), norms };
    }
    let outputs = outputs(x, expert_indices, top_k, experts);
    let norms = outputs.clone().inner().square().sum_dim(1).sqrt().reshape([-1]);
    let weighted = outputs.reshape([tokens, top_k, d_model]) * expert_weights.reshape([tokens, top_k, 1]);
    ExpertOutput { y: weighted.sum_dim(1).reshape([tokens, d_model]), norms }
}

/// What each expert makes of each of its tokens: `[tokens · top_k, d_model]`, a token's choices side by side.
fn outputs(x: Tensor<2>, expert_indices: &[u32], top_k: usize, experts: StackedExperts) -> Tensor<2> {
    let ([_, d_model], [n_experts, ..]) = (x.dims(), experts.w_in.dims());
    let Grid { longest, places } = Grid::new(expert_indices, n_experts);
    let pairs: Vec<u32> = (0..places.len() as u32).collect();
    let tokens: Vec<u32> = pairs.iter().map(|pair| pair / top_k as u32).collect();
    let queues = sum_rows(x, &tokens, &places, n_experts * longest).reshape([n_experts, longest, d_model]);
    let y = experts.forward(queues);
    sum_rows(y.reshape([n_experts * longest, d_model]), &places, &pairs, pairs.len())
}

/// Queues of equal length, one per expert: `[n_experts, longest]`. What stands behind the end of one are zeros, and nothing reads
/// what an expert makes of them.
struct Grid {
    longest: usize,
    /// For every (token, choice) pair its place.
    places: Vec<u32>,
}

impl Grid {
    /// Queues each pair at its expert, in token order.
    fn new(expert_indices: &[u32], n_experts: usize) -> Self {
        let mut lengths = vec![0; n_experts];
        let mut places: Vec<u32> = Vec::with_capacity(expert_indices.len());
        for expert in expert_indices {
            let length = &mut lengths[*expert as usize];
            places.push(*length);
            *length += 1;
        }
        let longest = lengths.into_iter().max().unwrap_or(0);
        places.iter_mut().zip(expert_indices).for_each(|(place, expert)| *place += expert * longest);
        Self { longest: longest as usize, places }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_queues_of_two_choices() {
        // Token 0 goes to experts 1 and 2, token 1 to 0 and 1: the longest queue has two places.
        let grid = Grid::new(&[1, 2, 0, 1], 3);
        assert_eq!((grid.longest, &grid.places[..]), (2, &[2, 4, 0, 3][..]));
    }
}
