//! From the tokens of a sequence to one vector.

use burn::tensor::{Tensor, TensorData};
use moelt_kernels::{max_rows, sum_rows};
use moelt_schema::Pooling;

/// One vector per sequence.
///
/// # Shapes
/// - x: `[n_tokens, d_model]`, sequences of `lengths` tokens end to end
/// - output: `[lengths.len(), pooling.width(d_model)]`
pub fn pool(x: Tensor<2>, lengths: &[usize], pooling: Pooling) -> Tensor<2> {
    let [n_tokens, _] = x.dims();
    let sequences = sequences_of_tokens(lengths);
    assert_eq!(n_tokens, sequences.len(), "tokens do not add up to the lengths");
    let (device, batch) = (x.device(), lengths.len());
    let sum = |x: Tensor<2>| {
        let tokens: Vec<u32> = (0..n_tokens as u32).collect();
        sum_rows(x, &tokens, &sequences, batch)
    };
    let per_sequence = |f: fn(f32) -> f32| {
        let values: Vec<f32> = lengths.iter().map(|n| f(*n as f32)).collect();
        Tensor::<2>::from_data(TensorData::new(values, [batch, 1]), &device)
    };
    match pooling {
        Pooling::Mean => sum(x) / per_sequence(|n| n),
        Pooling::Max => max_rows(x, lengths),
        Pooling::SumMax => {
            Tensor::cat(vec![sum(x.clone()) / per_sequence(f32::sqrt), max_rows(x, lengths)], 1)
        }
        Pooling::First => {
            let places: Vec<u32> = (0..batch as u32).collect();
            sum_rows(x, &first_tokens(lengths), &places, batch)
        }
    }
}

/// The place of the first token of each sequence.
fn first_tokens(lengths: &[usize]) -> Vec<u32> {
    let starts =
        lengths.iter().scan(0, |start, length| Some(std::mem::replace(start, *start + *length as u32)));
    starts.collect()
}

/// For each token the mean of the tokens of its sequence.
///
/// # Shapes
/// - x: `[n_tokens, d_model]`, sequences of `lengths` tokens end to end
/// - output: the same
pub(crate) fn mean_of_sequence(x: &Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    let means = pool(x.clone(), lengths, Pooling::Mean);
    let sequences = sequences_of_tokens(lengths);
    let tokens: Vec<u32> = (0..sequences.len() as u32).collect();
    sum_rows(means, &sequences, &tokens, tokens.len())
}

/// The sequence of each token.
fn sequences_of_tokens(lengths: &[usize]) -> Vec<u32> {
    (0..).zip(lengths).flat_map(|(sequence, n)| std::iter::repeat_n(sequence, *n)).collect()
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
        assert_eq!(values(Pooling::Max), [-1.0, 5.0]);
        assert_eq!(values(Pooling::First), [-1.0, 5.0]);
        let sum_max = values(Pooling::SumMax);
        assert!((sum_max[0] + 4.0 / 2f32.sqrt()).abs() < 1e-6);
        assert_eq!(sum_max[1..], [-1.0, 5.0, 5.0]);
        assert_eq!(mean_of_sequence(&x(), &[2, 1]).try_into_vec_as::<f32>().unwrap(), [-2.0, -2.0, 5.0]);
    }
}
