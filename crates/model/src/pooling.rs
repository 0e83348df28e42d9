//! From the tokens of a sequence to one vector.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use moelt_kernels::{max_rows, sum_rows};
use moelt_schema::Pooling;

use crate::init::param;

/// One vector per sequence.
#[derive(Module, Debug)]
pub struct Pool {
    /// What attention asks each token: `[d_model]`, zeros at first, with which it is the mean.
    pub query: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pooling: Pooling,
}

impl Pool {
    /// For tokens of this width.
    pub fn new(pooling: Pooling, d_model: usize, device: &Device) -> Self {
        let query = (pooling == Pooling::Attention).then(|| param(vec![0.0; d_model], [d_model], device));
        Self { query, pooling }
    }

    /// # Shapes
    /// - x: `[n_tokens, d_model]`, sequences of `lengths` tokens end to end
    /// - output: `[lengths.len(), pooling.width(d_model)]`
    ///
    /// # Panics
    /// When the tokens do not add up to the lengths.
    pub fn forward(&self, x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
        let [n_tokens, _] = x.dims();
        assert_eq!(n_tokens, lengths.iter().sum::<usize>(), "tokens do not add up to the lengths");
        match self.pooling {
            Pooling::Mean => means(x, lengths),
            Pooling::Max => max_rows(x, lengths),
            Pooling::SumMax => {
                let scaled = sums(x.clone(), lengths) / per_sequence(&x, lengths, f32::sqrt);
                Tensor::cat(vec![scaled, max_rows(x, lengths)], 1)
            }
            Pooling::First => {
                let places: Vec<u32> = (0..lengths.len() as u32).collect();
                sum_rows(x, &first_tokens(lengths), &places, lengths.len())
            }
            Pooling::Attention => {
                let query = self.query.as_ref().expect("attention has a query");
                let scores = x.clone().matmul(query.val().unsqueeze_dim(1));
                // Only differences count; without the greatest nothing overflows.
                let greatest = for_each_token(max_rows(scores.clone(), lengths).detach(), lengths);
                let weights = (scores - greatest).exp();
                sums(x * weights.clone(), lengths) / sums(weights, lengths)
            }
        }
    }
}

fn sums(x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    let sequences = sequences_of_tokens(lengths);
    let tokens: Vec<u32> = (0..sequences.len() as u32).collect();
    sum_rows(x, &tokens, &sequences, lengths.len())
}

fn means(x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    let lengths_of_sequences = per_sequence(&x, lengths, |n| n);
    sums(x, lengths) / lengths_of_sequences
}

/// A number of each sequence that follows from its length, `[lengths.len(), 1]`.
fn per_sequence(x: &Tensor<2>, lengths: &[usize], f: fn(f32) -> f32) -> Tensor<2> {
    let values: Vec<f32> = lengths.iter().map(|n| f(*n as f32)).collect();
    Tensor::from_data(TensorData::new(values, [lengths.len(), 1]), &x.device())
}

/// The row of a token's sequence.
fn for_each_token(x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    let sequences = sequences_of_tokens(lengths);
    let tokens: Vec<u32> = (0..sequences.len() as u32).collect();
    sum_rows(x, &sequences, &tokens, tokens.len())
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
    for_each_token(means(x.clone(), lengths), lengths)
}

/// The sequence of each token.
fn sequences_of_tokens(lengths: &[usize]) -> Vec<u32> {
    (0..).zip(lengths).flat_map(|(sequence, n)| std::iter::repeat_n(sequence, *n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_pools() {
        let x = || Tensor::<2>::from_data([[-1.0], [-3.0], [5.0]], &Device::flex());
        let pool = |pooling| Pool::new(pooling, 1, &Device::flex());
        let pooled = |pool: Pool| pool.forward(x(), &[2, 1]).try_into_vec_as::<f32>().unwrap();
        let values = |pooling| pooled(pool(pooling));
        assert_eq!(values(Pooling::Mean), [-2.0, 5.0]);
        assert_eq!(values(Pooling::Max), [-1.0, 5.0]);
        assert_eq!(values(Pooling::First), [-1.0, 5.0]);
        let sum_max = values(Pooling::SumMax);
        assert!((sum_max[0] + 4.0 / 2f32.sqrt()).abs() < 1e-6);
        assert_eq!(sum_max[1..], [-1.0, 5.0, 5.0]);
        assert_eq!(values(Pooling::Attention), values(Pooling::Mean));
        // Scores ln 3 and 3 ln 3 with the query -ln 3: the second token counts nine times as much.
        let mut attention = pool(Pooling::Attention);
        attention.query = Some(param(vec![-3f32.ln()], [1], &Device::flex()));
        let attention = pooled(attention);
        assert!((attention[0] + (1.0 + 9.0 * 3.0) / 10.0).abs() < 1e-6, "{attention:?}");
        assert_eq!(attention[1], 5.0);
        assert_eq!(mean_of_sequence(&x(), &[2, 1]).try_into_vec_as::<f32>().unwrap(), [-2.0, -2.0, 5.0]);
    }
}
