//! Initial weights, drawn on the host from named streams: the same on every backend and in every
//! arm that shares a shape.

use burn::{
    module::Param,
    tensor::{Device, Tensor, TensorData},
};
use moelt_schema::{ExpertId, LayerId, Stream, Streams};
use rand::Rng;
use rand_distr::{Distribution, Normal, Uniform};

/// `n` values from `U(−1/√fan_in, 1/√fan_in)`: what keeps variance through a linear map.
pub(crate) fn uniform(fan_in: usize, n: usize, rng: &mut impl Rng) -> Vec<f32> {
    let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
    let uniform = Uniform::new_inclusive(-bound, bound).expect("the bound is finite and above 0");
    uniform.sample_iter(rng).take(n).collect()
}

/// `n` values from `N(0, std)`.
pub(crate) fn normal(std: f64, n: usize, rng: &mut impl Rng) -> Vec<f32> {
    let normal = Normal::new(0.0, std as f32).expect("a checked config has a finite std");
    normal.sample_iter(rng).take(n).collect()
}

/// A parameter from host values.
pub(crate) fn param<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// The parts of the model that are not experts, each with its own place in [`Stream::InitShared`].
#[derive(Clone, Copy)]
pub(crate) enum SharedPart {
    Embedding,
    Conv,
    Head,
}

/// The generator for a shared part.
pub(crate) fn shared_rng(streams: &Streams, part: SharedPart) -> impl Rng + use<> {
    streams.rng(Stream::InitShared, part as u64)
}

/// The parts of an expert, each with its own place in [`Stream::InitExpert`].
#[derive(Clone, Copy)]
pub(crate) enum ExpertPart {
    WIn,
    BIn,
    WOut,
    BOut,
    Router,
}

/// The generator for one part of one expert. It depends on the expert's id, not on its position or
/// on how many experts there are: models of different size share the experts they have in common.
pub(crate) fn expert_rng(
    streams: &Streams,
    layer: LayerId,
    expert: ExpertId,
    part: ExpertPart,
) -> impl Rng + use<> {
    let index = u64::from(layer.0) << 48 | expert.0 << 8 | part as u64;
    streams.rng(Stream::InitExpert, index)
}
