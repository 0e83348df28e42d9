//! Where a token stands in its text.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use moelt_kernels::sum_rows;
use moelt_schema::Streams;

use crate::init::{SharedPart, normal, param, shared_rng};

/// A vector of its own for each position, added to the token that stands there.
#[derive(Module, Debug)]
pub struct PositionEmbedding {
    /// `[n_positions, d_model]`
    pub table: Param<Tensor<2>>,
}

impl PositionEmbedding {
    /// Vectors from `N(0, std)`.
    pub fn new(n_positions: usize, d_model: usize, std: f64, streams: &Streams, device: &Device) -> Self {
        let values = normal(std, n_positions * d_model, &mut shared_rng(streams, SharedPart::Positions));
        Self { table: param(values, [n_positions, d_model], device) }
    }

    /// What is added to the tokens of sequences that lie end to end.
    ///
    /// # Shapes
    /// - output: `[n_tokens, d_model]`
    ///
    /// # Panics
    /// When a sequence has more tokens than there are positions.
    pub fn forward(&self, lengths: &[usize]) -> Tensor<2> {
        let table = self.table.val();
        let ([n_positions, _], n_tokens) = (table.dims(), lengths.iter().sum());
        assert!(
            lengths.iter().all(|length| *length <= n_positions),
            "a text is longer than the {n_positions} positions that there are"
        );
        let tokens: Vec<u32> = (0..n_tokens as u32).collect();
        sum_rows(table, &positions(lengths), &tokens, n_tokens)
    }
}

/// The position of each token in its sequence.
fn positions(lengths: &[usize]) -> Vec<u32> {
    lengths.iter().flat_map(|length| 0..*length as u32).collect()
}

/// Angles by which queries and keys are turned (RoPE, Su et al. 2021): number `i` and number `i + d_head / 2` of a head are a
/// point of the plane, which at position `p` is turned by `p · 10000^(−2i / d_head)`. A product of a query and a key depends on
/// how far apart they stand, not on where.
pub(crate) struct Rotation {
    /// Cosines and sines, `[n_tokens, 1, 1, d_head / 2]`.
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rotation {
    /// For heads of `d_head` numbers.
    pub(crate) fn new(lengths: &[usize], d_head: usize, device: &Device) -> Self {
        let half = d_head / 2;
        let speeds: Vec<f64> = (0..half).map(|i| 10_000f64.powf(-((2 * i) as f64) / d_head as f64)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let table = |of: fn(f64) -> f64| -> Vec<f32> {
            let angles = (0..longest).flat_map(|p| speeds.iter().map(move |speed| p as f64 * speed));
            angles.map(|angle| of(angle) as f32).collect()
        };
        let of_tokens = |of| {
            let table = table(of);
            let rows = positions(lengths).into_iter().map(|p| p as usize * half);
            let values: Vec<f32> = rows.flat_map(|row| &table[row..row + half]).copied().collect();
            let n_tokens = lengths.iter().sum();
            Tensor::from_data(TensorData::new(values, [n_tokens, 1, 1, half]), device)
        };
        Self { cos: of_tokens(f64::cos), sin: of_tokens(f64::sin) }
    }

    /// Turns heads that lie side by side.
    ///
    /// # Shapes
    /// - x: `[n_tokens, n_heads · d_head]`
    /// - output: the same
    pub(crate) fn turn(&self, x: Tensor<2>) -> Tensor<2> {
        let ([n_tokens, width], [.., half]) = (x.dims(), self.cos.dims());
        let heads = x.reshape([n_tokens, width / (2 * half), 2, half]);
        let [first, second] = [0, 1].map(|at| heads.clone().narrow(2, at, 1));
        let turned = Tensor::cat(vec![-second, first], 2);
        (heads * self.cos.clone() + turned * self.sin.clone()).reshape([n_tokens, width])
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::host::to_host;

    #[test]
    fn every_sequence_begins_at_position_0() {
        let device = Device::flex();
        let embedding = PositionEmbedding { table: param(vec![1.0, 2.0, 3.0], [3, 1], &device) };
        assert_eq!(to_host(embedding.forward(&[2, 3])), [1.0, 2.0, 1.0, 2.0, 3.0]);
    }

    /// Two heads of two numbers, each turned by as many radians as its position says.
    #[test]
    fn hand_worked_turns() {
        let device = Device::flex();
        let x = Tensor::<2>::from_data([[1.0, 0.0, 0.0, 2.0]; 3], &device);
        let turned = to_host(Rotation::new(&[1, 2], 2, &device).turn(x));
        let (cos, sin) = (1f32.cos(), 1f32.sin());
        let expected =
            [[1.0, 0.0, 0.0, 2.0], [1.0, 0.0, 0.0, 2.0], [cos, sin, -2.0 * sin, 2.0 * cos]].concat();
        turned.iter().zip(expected).for_each(|(found, expected)| assert!((found - expected).abs() < 1e-6));
    }

    #[test]
    fn products_depend_on_distances_alone() {
        let device = Device::flex();
        let values: Vec<f32> = (0..8).map(|i| (i as f32 * 1.7).sin()).collect();
        let at = |position: usize| {
            let x = Tensor::<2>::from_data(TensorData::new(values.clone(), [1, 8]), &device);
            let padded = Tensor::cat(iter::repeat_n(x, position + 1).collect(), 0);
            to_host(Rotation::new(&[position + 1], 8, &device).turn(padded))[8 * position..].to_vec()
        };
        let product =
            |one: usize, other: usize| -> f32 { at(one).iter().zip(at(other)).map(|(a, b)| a * b).sum() };
        assert!((product(0, 3) - product(5, 8)).abs() < 1e-5);
        assert!((product(0, 3) - product(0, 4)).abs() > 1e-3);
    }
}
