//! The expert layer: router and experts, or one dense expert.

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig},
    tensor::{Device, Tensor},
};
use moelt_schema::{LayerId, LayerKind, LayerLayout, LayerSums, Streams};

use crate::{Experts, Router, load_balancing_loss, router::Routed};

/// A pre-norm residual expert layer: `x + Σⱼ gateⱼ FFNⱼ(LayerNorm(x))` over the chosen experts, or
/// `x + FFN(LayerNorm(x))` when dense. A dense layer is the same layer without a router; LayerNorm may
/// be left out.
#[derive(Module, Debug)]
pub struct MoeLayer {
    /// Before router and experts.
    pub norm: Option<LayerNorm>,
    /// None: dense.
    pub router: Option<Router>,
    /// The experts.
    pub experts: Experts,
    #[module(skip)]
    top_k: usize,
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
    /// The unweighted load-balancing loss `[1]` and the routing sums; none when dense.
    pub routing: Option<(Tensor<1>, LayerSums)>,
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
        let router = match layout.kind {
            LayerKind::Dense => None,
            LayerKind::Moe { .. } => Some(Router::new(id, &layout.experts, d_model, streams, device)),
        };
        Self {
            norm: layer_norm.then(|| LayerNormConfig::new(d_model).init(device)),
            router,
            experts: Experts::new(id, &layout.experts, d_model, d_ff, streams, device),
            top_k: layout.effective_top_k(),
        }
    }

    /// # Shapes
    /// - x: `[rows, d_model]`; rows that are padding must not be there
    /// - output: the same
    pub fn forward(&self, x: Tensor<2>) -> MoeOutput {
        let [rows, d_model] = x.dims();
        let y = normalise(&self.norm, x.clone());
        let Some(router) = &self.router else {
            let y = self.experts.forward(y.unsqueeze()).reshape([rows, d_model]);
            return MoeOutput { x: x + y, routing: None };
        };
        let routed = router.forward(y.clone(), self.top_k);
        let outputs = self.experts.forward_sparse(y, &routed.dispatch);
        let top_k = routed.dispatch.k();
        let sums = routing_sums(&routed, outputs.clone().inner());
        let gates = routed.expert_weights.reshape([rows, top_k, 1]);
        let y = (outputs.reshape([rows, top_k, d_model]) * gates).sum_dim(1).reshape([rows, d_model]);
        let loss = load_balancing_loss(routed.router_probs, &routed.dispatch);
        MoeOutput { x: x + y, routing: Some((loss, sums)) }
    }
}

/// `x`, normalised if there is a norm.
pub(crate) fn normalise(norm: &Option<LayerNorm>, x: Tensor<2>) -> Tensor<2> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

/// The sums behind [`moelt_schema::RoutingStats`]; `outputs` is `[rows · top_k, d_model]`.
fn routing_sums(routed: &Routed, outputs: Tensor<2>) -> LayerSums {
    let host =
        |x: Tensor<2>| -> Vec<f32> { x.try_into_vec_as().expect("activations are f32 on every backend") };
    let gates = host(routed.expert_weights.clone().inner());
    let norms = host(outputs.square().sum_dim(1).sqrt());
    let dispatch = &routed.dispatch;
    let mut sums = LayerSums::zeros(dispatch.loads().len());
    sums.rows = (dispatch.n_pairs() / dispatch.k()) as f64;
    sums.entropy = routed.entropy;
    sums.tokens = dispatch.loads().iter().map(|n| f64::from(*n)).collect();
    for ((expert, gate), norm) in dispatch.experts().iter().zip(gates).zip(norms) {
        sums.gate[*expert as usize] += f64::from(gate);
        sums.gate_norm[*expert as usize] += f64::from(gate * norm);
    }
    sums
}
