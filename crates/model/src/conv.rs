//! Residual convolution over the tokens of a sequence.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, activation::relu, assert_shape},
};
use moelt_kernels::sum_rows;
use moelt_schema::{Streams, uniform};

use crate::init::{SharedPart, param, shared_rng};

/// `x + ReLU(W [x₋ₕ … x₊ₕ] + b)` over a window of odd width (Kim 2014, with a residual). Tokens beyond
/// the ends of a sequence are zero vectors. One gather and one matrix product: tokens of all
/// sequences lie end to end, which `nn::Conv1d`, made for padded `[batch, channels, seq]`, cannot use.
#[derive(Module, Debug)]
pub struct TokenConv {
    /// `[width · d_model, d_model]`
    pub weight: Param<Tensor<2>>,
    /// `[d_model]`
    pub bias: Param<Tensor<1>>,
}

impl TokenConv {
    /// Weights and bias from `U(±1/√(width · d_model))`.
    ///
    /// # Panics
    /// When `width` is even.
    pub fn new(width: usize, d_model: usize, streams: &Streams, device: &Device) -> Self {
        assert!(!width.is_multiple_of(2), "the width of a convolution must be odd, not {width}");
        let fan_in = width * d_model;
        let mut rng = shared_rng(streams, SharedPart::Conv);
        Self {
            weight: param(uniform(fan_in, fan_in * d_model, &mut rng), [fan_in, d_model], device),
            bias: param(uniform(fan_in, d_model, &mut rng), [d_model], device),
        }
    }

    /// Every token with what it finds in its window.
    ///
    /// # Shapes
    /// - x: `[n_tokens, d_model]`, sequences of `lengths` tokens end to end
    /// - output: the same
    pub fn forward(&self, x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
        let [n_tokens, d_model] = x.dims();
        let weight = self.weight.val();
        let [fan_in, _] = weight.dims();
        assert_shape!(weight, [fan_in, d_model]);
        assert_eq!(n_tokens, lengths.iter().sum::<usize>(), "tokens do not add up to the lengths");
        let width = fan_in / d_model;
        let (tokens, places) = windows(lengths, width);
        let windows = sum_rows(x.clone(), &tokens, &places, n_tokens * width);
        let y = windows.reshape([n_tokens, fan_in]).matmul(weight);
        x + relu(y + self.bias.val().unsqueeze())
    }
}

/// Which token stands at which place, counted over the windows of all tokens. Places beyond the ends of a sequence are left
/// out.
fn windows(lengths: &[usize], width: usize) -> (Vec<u32>, Vec<u32>) {
    let n_tokens: usize = lengths.iter().sum();
    let half = width / 2;
    let [mut tokens, mut places] = [0; 2].map(|_| Vec::with_capacity(n_tokens * width));
    let mut start = 0;
    for length in lengths {
        for centre in 0..*length {
            for offset in 0..width {
                if let Some(at) = (centre + offset).checked_sub(half).filter(|at| at < length) {
                    tokens.push((start + at) as u32);
                    places.push(((start + centre) * width + offset) as u32);
                }
            }
        }
        start += length;
    }
    (tokens, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stop_at_the_ends_of_a_sequence() {
        // Windows _01, 01_, _2_.
        assert_eq!(windows(&[2, 1], 3), (vec![0, 1, 0, 1, 2], vec![1, 2, 3, 4, 7]));
    }

    #[test]
    fn hand_worked_window_sum() {
        let device = Device::flex();
        let conv = TokenConv {
            weight: param(vec![1.0, 10.0, 100.0], [3, 1], &device),
            bias: param(vec![-5.0], [1], &device),
        };
        let x = Tensor::<2>::from_data([[1.0], [2.0]], &device);
        // token 0: 1 + relu(0·1 + 1·10 + 2·100 − 5); token 1: 2 + relu(1·1 + 2·10 + 0 − 5)
        assert_eq!(conv.forward(x, &[2]).try_into_vec_as::<f32>().unwrap(), [206.0, 18.0]);
    }
}
