//! From the tokens of a sequence to one vector.

use burn::tensor::{Tensor, TensorData};
use moelt_schema::Pooling;

use crate::host::indices;

/// One vector per sequence.
///
/// # Shapes
/// - x: `[n_tokens, d_model]`, sequences of `lengths` tokens end to end
/// - output: `[lengths.len(), pooling.width(d_model)]`
pub fn pool(x: Tensor<2>, lengths: &[usize], pooling: Pooling) -> Tensor<2> {
    let [n_tokens, d_model] = x.dims();
    assert_eq!(n_tokens, lengths.iter().sum::<usize>(), "tokens do not add up to the lengths");
    let device = x.device();
    let (batch, seq) = (lengths.len(), lengths.iter().copied().max().unwrap_or(1));
    let padded = Tensor::cat(vec![x, Tensor::zeros([1, d_model], &device)], 0);
    let grid = padded.select(0, indices(&grid_tokens(lengths, seq), &device)).reshape([batch, seq, d_model]);
    let sum = grid.clone().sum_dim(1).reshape([batch, d_model]);
    let per_sequence = |f: fn(f32) -> f32| {
        let values: Vec<f32> = lengths.iter().map(|n| f(*n as f32)).collect();
        Tensor::<2>::from_data(TensorData::new(values, [batch, 1]), &device)
    };
    match pooling {
        Pooling::Mean => sum / per_sequence(|n| n),
        Pooling::SumMax => {
            // Padding must not win the maximum: push it far below every real value.
            let floor: Vec<f32> = lengths
                .iter()
                .flat_map(|n| (0..seq).map(move |at| if at < *n { 0.0 } else { -1e30 }))
                .collect();
            let floor = Tensor::<3>::from_data(TensorData::new(floor, [batch, seq, 1]), &device);
            let max = (grid + floor).max_dim(1).reshape([batch, d_model]);
            Tensor::cat(vec![sum / per_sequence(f32::sqrt), max], 1)
        }
    }
}

/// For each token the mean of the tokens of its sequence.
///
/// # Shapes
/// - x: `[n_tokens, d_model]`, sequences of `lengths` tokens end to end
/// - output: the same
pub(crate) fn mean_of_sequence(x: &Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    let of_tokens = (0..).zip(lengths).flat_map(|(sequence, n)| std::iter::repeat_n(sequence, *n));
    let at = indices(&of_tokens.collect::<Vec<u32>>(), &x.device());
    pool(x.clone(), lengths, Pooling::Mean).select(0, at)
}

/// For each place of a padded grid its token; the number of tokens stands for padding.
fn grid_tokens(lengths: &[usize], seq: usize) -> Vec<u32> {
    let n_tokens: usize = lengths.iter().sum();
    let mut tokens = Vec::with_capacity(lengths.len() * seq);
    let mut start = 0;
    for length in lengths {
        tokens.extend((0..seq).map(|at| if at < *length { start + at } else { n_tokens } as u32));
        start += length;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn hand_worked_pools() {
        let x = || Tensor::<2>::from_data([[-1.0], [-3.0], [5.0]], &Device::flex());
        let values = |pooling| pool(x(), &[2, 1], pooling).try_into_vec_as::<f32>().unwrap();
        assert_eq!(values(Pooling::Mean), [-2.0, 5.0]);
        let sum_max = values(Pooling::SumMax);
        assert!((sum_max[0] + 4.0 / 2f32.sqrt()).abs() < 1e-6);
        assert_eq!(sum_max[1..], [-1.0, 5.0, 5.0]);
        assert_eq!(mean_of_sequence(&x(), &[2, 1]).try_into_vec_as::<f32>().unwrap(), [-2.0, -2.0, 5.0]);
    }
}
