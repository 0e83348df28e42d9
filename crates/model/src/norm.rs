//! Layer normalisation.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use moelt_kernels::layer_norm;
use moelt_schema::NormPlacement;

use crate::init::param;

/// Layer normalisation of each row (Ba et al. 2016): Burn's, by a fused operation where there is one.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[d_model]`, ones at first.
    pub gamma: Param<Tensor<1>>,
    /// `[d_model]`, zeros at first.
    pub beta: Param<Tensor<1>>,
    /// Added to the variance.
    #[module(skip)]
    pub epsilon: f64,
}

impl LayerNorm {
    /// For rows of this width.
    pub fn new(d_model: usize, epsilon: f64, device: &Device) -> Self {
        let vector = |value| param(vec![value; d_model], [d_model], device);
        Self { gamma: vector(1.0), beta: vector(0.0), epsilon }
    }

    /// Each row at mean 0 and variance 1, times gamma, plus beta.
    ///
    /// # Shapes
    /// - x: `[rows, d_model]`
    /// - output: the same
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.gamma.val(), self.beta.val(), self.epsilon)
    }
}

/// `x`, normalised if there is a norm.
pub(crate) fn normalise(norm: &Option<LayerNorm>, x: Tensor<2>) -> Tensor<2> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

/// What a residual part `f` sees of its input: `x` or `LayerNorm(x)`.
pub(crate) fn before(norm: &Option<LayerNorm>, placement: NormPlacement, x: Tensor<2>) -> Tensor<2> {
    match placement {
        NormPlacement::Pre => normalise(norm, x),
        NormPlacement::Post => x,
    }
}

/// What a residual part gives: `x + f` or `LayerNorm(x + f)`.
pub(crate) fn after(norm: &Option<LayerNorm>, placement: NormPlacement, sum: Tensor<2>) -> Tensor<2> {
    match placement {
        NormPlacement::Pre => sum,
        NormPlacement::Post => normalise(norm, sum),
    }
}
