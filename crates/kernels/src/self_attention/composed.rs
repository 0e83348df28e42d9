//! Attention in a grid of sequences as long as the longest, on any backend.

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};

use super::check;
use crate::{stretches::grid_places, sum_rows};

/// Added to the score of a place without a token: far below every other score.
const MASKED: f32 = -1e30;

/// What [`self_attention`](crate::self_attention) gives, by ordinary tensor operations.
///
/// # Shapes
/// - qkv: `[n_tokens, 3 · d_model]`: queries, keys and values side by side, heads of `d_model / n_heads` side by side in each
/// - lengths: tokens of each sequence, end to end
/// - output: `[n_tokens, d_model]`, heads side by side
///
/// # Panics
/// When the width is not that of three times `n_heads` heads, or the lengths do not add up to the tokens.
pub fn self_attention(qkv: Tensor<2>, lengths: &[usize], n_heads: usize) -> Tensor<2> {
    check(&qkv, lengths, n_heads);
    let ([tokens, width], device) = (qkv.dims(), qkv.device());
    let (n, longest, d_head) =
        (lengths.len(), lengths.iter().copied().max().unwrap_or(0), width / (3 * n_heads));
    if tokens == 0 {
        return Tensor::zeros([0, width / 3], &device);
    }
    let (at, places): (Vec<u32>, _) = ((0..tokens as u32).collect(), grid_places(lengths, longest));
    let grid = sum_rows(qkv, &at, &places, n * longest);
    let heads = grid.reshape([n, longest, 3, n_heads, d_head]).permute([2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|at| heads.clone().narrow(0, at, 1).squeeze_dim::<4>(0));
    let scores = q.matmul(k.transpose()) / (d_head as f32).sqrt();
    let probabilities = softmax(scores + mask(lengths, longest, &device), 3);
    let y = probabilities.matmul(v).swap_dims(1, 2).reshape([n * longest, width / 3]);
    sum_rows(y, &places, &at, tokens)
}

/// `[sequences, 1, 1, longest]`: what is added to the scores of each place.
fn mask(lengths: &[usize], longest: usize, device: &Device) -> Tensor<4> {
    let of = |length: &usize| {
        let length = *length;
        (0..longest).map(move |at| if at < length { 0.0 } else { MASKED })
    };
    let values: Vec<f32> = lengths.iter().flat_map(of).collect();
    Tensor::from_data(TensorData::new(values, [lengths.len(), 1, 1, longest]), device)
}
