//! Differentiable operations of Mixture-of-Experts layers.
//!
//! Those of layers have two forms. The *composed* one is made of ordinary tensor operations: it runs on every backend, Burn derives its
//! gradients, and it says what the operation is. The *fused* one is written by hand for Burn's CPU backend, with its own
//! backward pass, and must agree with the composed one to rounding. An operation takes the fused form where all its tensors
//! are `f32` on that backend, and the composed one elsewhere. The forms of [`composed`] are there to compare with.
//!
//! For GPUs there are kernels (feature `cube`): of [`sum_rows`], through which goes what moves rows in a layer, there and back, and of what has no
//! fused form: [`exact_product`], and, without a gradient, [`adamw_step`], [`touched_rows`] and [`ordered_sum`].
//!
//! Results do not depend on how many threads compute them: what is divided among threads are rows that know nothing of one
//! another, and sums have a fixed order.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use moelt_kernels::{Activation, StackedExperts, expert_feed_forward};
//!
//! let device = Device::flex();
//! let experts = StackedExperts {
//!     w_in: Tensor::ones([3, 4, 5], &device),
//!     b_in: Tensor::zeros([3, 5], &device),
//!     w_out: Tensor::ones([3, 5, 4], &device),
//!     b_out: Tensor::zeros([3, 4], &device),
//!     gate: None,
//!     activation: Activation::Relu,
//! };
//! // Two tokens, two experts each, weighted alike.
//! let weights = Tensor::full([2, 2], 0.5, &device);
//! let output = expert_feed_forward(Tensor::ones([2, 4], &device), &[0, 2, 2, 1], weights, experts);
//! assert_eq!(output.y.dims(), [2, 4]);
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

use burn::tensor::{Device, Int, Tensor, TensorData};

mod adamw_step;
#[cfg(feature = "cube")]
mod cube;
mod exact_product;
#[cfg(feature = "flex")]
mod exp;
#[cfg(feature = "flex")]
mod extension;
mod feed_forward;
#[cfg(feature = "cube")]
mod lanes;
mod layer_norm;
#[cfg(feature = "flex")]
mod matrix;
mod max_rows;
mod ordered_sum;
#[cfg(feature = "flex")]
mod rows;
mod self_attention;
mod stretches;
mod sum_rows;
mod touched_rows;

pub use adamw_step::{AdamWConstants, AdamWRows, AdamWValues, adamw_step};
pub use exact_product::exact_product;
pub use feed_forward::{ExpertGate, ExpertOutput, StackedExperts, expert_feed_forward, hidden_units};
pub use layer_norm::layer_norm;
pub use max_rows::max_rows;
pub use moelt_schema::Activation;
pub use ordered_sum::ordered_sum;
pub use self_attention::self_attention;
pub use sum_rows::sum_rows;
pub use touched_rows::touched_rows;

/// The forms that run on every backend.
pub mod composed {
    pub use crate::{
        adamw_step::composed::adamw_step, feed_forward::composed::expert_feed_forward,
        layer_norm::composed::layer_norm, max_rows::composed::max_rows,
        self_attention::composed::self_attention, sum_rows::composed::sum_rows,
    };
}

/// Host indices as a tensor.
pub fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}
