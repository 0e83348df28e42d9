//! Initial weights, drawn on the host from named streams: the same on every backend and in every
//! arm that shares a shape.

use burn::{
    module::Param,
    tensor::{Device, Tensor, TensorData},
};
use moelt_schema::{ExpertId, LayerId, RowInit, Stream, Streams, uniform};
use rand::Rng;
use rand_distr::{Distribution, Normal};

/// `n` values from `N(0, std)`.
pub(crate) fn normal(std: f64, n: usize, rng: &mut impl Rng) -> Vec<f32> {
    let normal = Normal::new(0.0, std as f32).expect("a checked config has a finite std");
    normal.sample_iter(rng).take(n).collect()
}

/// A trained parameter from host values.
pub(crate) fn param<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// A parameter of zeros that has no gradient and is not trained.
pub(crate) fn fixed_zeros(n: usize, device: &Device) -> Param<Tensor<1>> {
    param(vec![0.0; n], [n], device).set_require_grad(false)
}

/// The parts of the model that are not experts, each with its own place in [`Stream::InitShared`].
#[derive(Clone, Copy)]
pub(crate) enum SharedPart {
    Embedding,
    Conv,
    Head,
    Positions,
    /// That of a block, from 0.
    Attention(u32),
    /// That of a layer, from 0.
    SharedExpert(u32),
}

impl SharedPart {
    fn place(self) -> u64 {
        match self {
            Self::Embedding => 0,
            Self::Conv => 1,
            Self::Head => 2,
            Self::Positions => 3,
            Self::Attention(block) => 4 + u64::from(block),
            // Beyond every block.
            Self::SharedExpert(layer) => (1 << 33) + u64::from(layer),
        }
    }
}

/// The generator for a shared part.
pub(crate) fn shared_rng(streams: &Streams, part: SharedPart) -> impl Rng + use<> {
    streams.rng(Stream::InitShared, part.place())
}

/// The parts of an expert that are drawn, each with its own place in [`Stream::InitExpert`].
#[derive(Clone, Copy)]
pub(crate) enum ExpertPart {
    WIn,
    BIn,
    WOut,
    BOut,
    Router,
    WGate,
    BGate,
}

impl ExpertPart {
    /// How the part of a new expert is drawn: when the model is made, and whenever one is added.
    pub(crate) fn init(self, fan_in: usize) -> RowInit {
        RowInit::Uniform { fan_in, stream: self as u8 }
    }
}

/// Rows of `n` values of a part, one for each expert, end to end.
pub(crate) fn expert_rows(
    part: ExpertPart,
    fan_in: usize,
    n: usize,
    layer: LayerId,
    experts: &[ExpertId],
    streams: &Streams,
) -> Vec<f32> {
    let rng = |id: &ExpertId| streams.expert(Stream::InitExpert, layer, *id, part as u8);
    experts.iter().flat_map(|id| uniform(fan_in, n, &mut rng(id))).collect()
}
