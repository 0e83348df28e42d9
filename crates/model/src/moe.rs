//! The expert layer: a router and experts, or one dense expert.

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig},
    tensor::{Device, Tensor},
};
use moelt_schema::{Flops, LayerId, LayerKind, LayerLayout, LayerSums, Streams};

use crate::{Experts, Router, TopAnyRouter, flops::ExpertRows, mixture};

/// A pre-norm residual expert layer: `x + Σⱼ gateⱼ FFNⱼ(LayerNorm(x))` over the chosen experts, or
/// `x + FFN(LayerNorm(x))` when dense. A dense layer is the same layer without a router; LayerNorm may
/// be left out. How many experts there are is nowhere written down but in the sizes of the tensors.
#[derive(Module, Debug)]
pub struct MoeLayer {
    /// Before router and experts.
    pub norm: Option<LayerNorm>,
    /// Top-k routing. At most one of `router` and `top_any` is there; neither: dense.
    pub router: Option<Router>,
    /// Top-any routing.
    pub top_any: Option<TopAnyRouter>,
    /// The experts.
    pub experts: Experts,
}

/// Sizes of a [`MoeLayer`].
#[derive(Clone, Copy, Debug)]
pub struct MoeLayerConfig {
    /// Width of a row.
    pub d_model: usize,
    /// Hidden units of an expert.
    pub d_ff: usize,
    /// Whether rows are normalised before router and experts.
    pub layer_norm: bool,
}

/// What a layer gives back.
#[derive(Debug)]
pub struct MoeOutput {
    /// `[rows, d_model]`
    pub x: Tensor<2>,
    /// What the router did; none when dense.
    pub routing: Option<LayerRouting>,
    /// What the pass took.
    pub flops: Flops,
}

/// What a layer's router did.
#[derive(Debug)]
pub struct LayerRouting {
    /// The unweighted auxiliary loss, `[1]`: load balancing with top-k, diversity and simplicity with top-any.
    pub aux_loss: Tensor<1>,
    /// Routing sums.
    pub sums: LayerSums,
    /// Live router probabilities, `[rows, n_experts]`; none with top-any, which has none.
    pub router_probs: Option<Tensor<2>>,
}

impl MoeLayer {
    /// The layer of a layout.
    pub fn new(
        id: LayerId,
        layout: &LayerLayout,
        config: &MoeLayerConfig,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let MoeLayerConfig { d_model, d_ff, layer_norm } = *config;
        let experts = &layout.experts;
        let router = |top_k| Router::new(id, experts, d_model, top_k, streams, device);
        let top_any = || TopAnyRouter::new(id, experts, d_model, streams, device);
        Self {
            norm: layer_norm.then(|| LayerNormConfig::new(d_model).init(device)),
            router: top_k(layout.kind).map(router),
            top_any: (layout.kind == LayerKind::TopAny).then(top_any),
            experts: Experts::new(id, experts, d_model, d_ff, streams, device),
        }
    }

    /// The layer with the router its kind has, and no other. Rows that are there stay; a new
    /// router has a row of zeros for every expert that is there now.
    pub fn with_kind(self, kind: LayerKind) -> Self {
        let Self { norm, router, top_any, experts } = self;
        let (device, [n_experts, d_model, _]) = (experts.w_in.device(), experts.w_in.dims());
        let (zeros, shape) = (vec![0.0; n_experts * d_model], [n_experts, d_model]);
        let router = top_k(kind).map(|top_k| match router {
            Some(router) => Router { top_k, ..router },
            None => Router::from_rows(zeros.clone(), shape, top_k, &device),
        });
        let top_any = (kind == LayerKind::TopAny)
            .then(|| top_any.unwrap_or_else(|| TopAnyRouter::from_rows(zeros, shape, &device)));
        Self { norm, router, top_any, experts }
    }

    /// # Shapes
    /// - x: `[rows, d_model]`; rows that are padding must not be there
    /// - output: the same
    pub fn forward(&self, x: Tensor<2>) -> MoeOutput {
        let [rows, d_model] = x.dims();
        let y = normalise(&self.norm, x.clone());
        let mixture = match (&self.router, &self.top_any) {
            (Some(router), _) => mixture::top_k(router, &self.experts, y),
            (None, Some(router)) => mixture::top_any(router, &self.experts, y),
            (None, None) => {
                let y = self.experts.forward(y.unsqueeze()).reshape([rows, d_model]);
                let flops = self.flops(rows, ExpertRows::unpadded(rows));
                return MoeOutput { x: x + y, routing: None, flops };
            }
        };
        let flops = self.flops(rows, mixture.expert_rows);
        MoeOutput { x: x + mixture.y, routing: Some(mixture.routing), flops }
    }
}

/// Experts asked for per row, with top-k routing.
fn top_k(kind: LayerKind) -> Option<usize> {
    match kind {
        LayerKind::Moe { top_k } => Some(top_k),
        LayerKind::Dense | LayerKind::TopAny => None,
    }
}

/// `x`, normalised if there is a norm.
pub(crate) fn normalise(norm: &Option<LayerNorm>, x: Tensor<2>) -> Tensor<2> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}
