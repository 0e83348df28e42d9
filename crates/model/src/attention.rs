//! Self-attention: the part of a transformer block that lets tokens know of one another.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, assert_shape},
};
use moelt_kernels::self_attention;
use moelt_schema::{Flops, NormPlacement, Positions, Streams, TransformerConfig, uniform};

use crate::{
    LayerNorm, Mode,
    init::{SharedPart, param, shared_rng},
    norm::{after, before},
    positions::Rotation,
};

/// Residual multi-head self-attention (Vaswani et al. 2017): `x + MHA(LayerNorm(x))`, or `LayerNorm(x + MHA(x))`. Tokens of all
/// sequences lie end to end, and none sees one of another sequence.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Before the heads, or after the sum.
    pub norm: Option<LayerNorm>,
    /// `[d_model, 3 · d_model]`: queries, keys and values side by side.
    pub w_in: Param<Tensor<2>>,
    /// `[3 · d_model]`
    pub b_in: Param<Tensor<1>>,
    /// `[d_model, d_model]`
    pub w_out: Param<Tensor<2>>,
    /// `[d_model]`
    pub b_out: Param<Tensor<1>>,
    #[module(skip)]
    n_heads: usize,
    #[module(skip)]
    is_rotary: bool,
    #[module(skip)]
    norm_placement: NormPlacement,
    #[module(skip)]
    dropout: f64,
}

impl SelfAttention {
    /// That of a block, with weights and biases from `U(±1/√d_model)`.
    pub(crate) fn new(
        config: &TransformerConfig,
        d_model: usize,
        norm_epsilon: f64,
        block: u32,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let mut rng = shared_rng(streams, SharedPart::Attention(block));
        let mut draw = |n| uniform(d_model, n, &mut rng);
        Self {
            norm: Some(LayerNorm::new(d_model, norm_epsilon, device)),
            w_in: param(draw(3 * d_model * d_model), [d_model, 3 * d_model], device),
            b_in: param(draw(3 * d_model), [3 * d_model], device),
            w_out: param(draw(d_model * d_model), [d_model, d_model], device),
            b_out: param(draw(d_model), [d_model], device),
            n_heads: config.n_heads,
            is_rotary: matches!(config.positions, Positions::Rotary {}),
            norm_placement: config.norm,
            dropout: config.dropout,
        }
    }

    /// Every token with what it finds in its sequence.
    ///
    /// # Shapes
    /// - x: `[n_tokens, d_model]`, sequences of `lengths` tokens end to end
    /// - output: the same
    pub fn forward(&self, x: Tensor<2>, lengths: &[usize], mode: &mut Mode<'_>) -> Tensor<2> {
        let [d_model, _] = self.w_out.dims();
        assert_shape!(x, [.., d_model]);
        let y = before(&self.norm, self.norm_placement, x.clone());
        let qkv = y.matmul(self.w_in.val()) + self.b_in.val().unsqueeze();
        let heads = self_attention(self.turned(qkv, lengths), lengths, self.n_heads);
        let y = heads.matmul(self.w_out.val()) + self.b_out.val().unsqueeze();
        after(&self.norm, self.norm_placement, x + mode.dropout(y, self.dropout))
    }

    /// Queries and keys turned by their positions, where positions are told so.
    ///
    /// # Shapes
    /// - qkv: `[n_tokens, 3 · d_model]`
    /// - output: the same
    fn turned(&self, qkv: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
        if !self.is_rotary {
            return qkv;
        }
        let [d_model, _] = self.w_out.dims();
        let rotation = Rotation::new(lengths, d_model / self.n_heads, &qkv.device());
        let turned = rotation.turn(qkv.clone().narrow(1, 0, 2 * d_model));
        Tensor::cat(vec![turned, qkv.narrow(1, 2 * d_model, d_model)], 1)
    }

    /// Operations of a pass: the four maps, and for each pair of tokens of a sequence a product of queries and keys and one
    /// with the values.
    pub(crate) fn flops(&self, lengths: &[usize]) -> Flops {
        let [d_model, _] = self.w_out.dims();
        let (tokens, width) = (lengths.iter().sum::<usize>() as u64, d_model as u64);
        let pairs: u64 = lengths.iter().map(|n| (*n as u64).pow(2)).sum();
        Flops::unpadded(8 * tokens * width * width + 4 * pairs * width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::to_host;

    /// One head of two numbers: queries, keys and values are the tokens themselves.
    #[test]
    fn hand_worked_attention() {
        let device = Device::flex();
        let identity = [1.0, 0.0, 0.0, 1.0];
        let thrice: Vec<f32> = identity.chunks(2).flat_map(|row| row.repeat(3)).collect();
        let mut attention = SelfAttention::new(
            &TransformerConfig {
                n_heads: 1,
                positions: Positions::Learned { n_positions: 9 },
                ..TransformerConfig::default()
            },
            2,
            1e-5,
            0,
            &Streams::new(1),
            &device,
        );
        attention.norm = None;
        attention.w_in = param(thrice, [2, 6], &device);
        attention.b_in = param(vec![0.0; 6], [6], &device);
        attention.w_out = param(identity.to_vec(), [2, 2], &device);
        attention.b_out = param(vec![0.0; 2], [2], &device);
        let x = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0], [5.0, 7.0]], &device);
        let y = to_host(attention.forward(x, &[2, 1], &mut Mode::Eval));
        // A token sees itself with e^(1/√2) and the other of its sequence with e^0; the last one sees itself alone.
        let own = 1.0 / (1.0 + (-(0.5f32.sqrt())).exp());
        let expected = [1.0 + own, 1.0 - own, 1.0 - own, 1.0 + own, 10.0, 14.0];
        y.iter()
            .zip(expected)
            .for_each(|(found, expected)| assert!((found - expected).abs() < 1e-5, "{y:?}"));
        // 8 · 3 · 4 + 4 · (4 + 1) · 2
        assert_eq!(attention.flops(&[2, 1]), Flops::unpadded(136));
    }
}
