//! The expert layer: a router and experts, or one dense expert. All of it lies in this folder, and nothing in it knows
//! of texts: it is a Burn module like any other.

use burn::{
    config::Config,
    module::Module,
    tensor::{Device, Tensor, assert_shape},
};
use moelt_schema::{
    Activation, Flops, LayerId, LayerKind, LayerLayout, LayerSums, Layout, NormPlacement, Streams,
};

use crate::{
    norm::{LayerNorm, after, before},
    rows::rows_of,
};

mod activation;
mod axes;
mod combine;
mod dispatch;
mod expert_choice;
mod experts;
mod flops;
mod losses;
mod rerouting;
mod router;
mod top_any;
mod top_k;

pub use dispatch::{Dispatch, TopAnyDispatch};
pub use experts::Experts;
pub(crate) use flops::{ExpertTokens, product};
pub use losses::{
    AuxLosses, diversity_loss, load_balancing_loss, mean_entropy, router_z_loss, routing_entropy,
    simplicity_loss,
};
pub use rerouting::DensePass;
pub use router::{AssignedRouter, Router};
pub use top_any::{RoutedTopAny, TopAnyRouter};
pub use top_k::{RoutedTopK, RouterProbabilities, TopKRouter};

/// Configuration to create a [`MoeLayer`] with its [`init`](Self::init).
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use moelt_model::MoeLayerConfig;
/// use moelt_schema::LayerKind;
///
/// let device = Device::flex();
/// let config = MoeLayerConfig::new(16, 32).with_n_experts(4).with_kind(LayerKind::TopK { k: 1 });
/// let output = config.init(&device).forward(Tensor::<2>::ones([10, 16], &device));
/// assert_eq!(output.x.dims(), [10, 16]);
/// assert_eq!(output.routing.unwrap().tokens_per_expert.iter().sum::<f64>(), 10.0);
/// assert!(output.aux_losses.load_balancing.is_some());
/// ```
#[derive(Config, Debug)]
pub struct MoeLayerConfig {
    /// Width of a token.
    pub d_model: usize,
    /// Hidden units of an expert.
    pub d_ff: usize,
    /// Experts to begin with; a dense layer has one. Default: 8
    #[config(default = 8)]
    pub n_experts: usize,
    /// Dense, top-k, top-any or assigned. Default: top-2
    #[config(default = "LayerKind::TopK { k: 2 }")]
    pub kind: LayerKind,
    /// Whether there is a norm. Default: true
    #[config(default = true)]
    pub layer_norm: bool,
    /// Whether it is tokens that are normalised, or what becomes of them. Default: before router and experts
    #[config(default = "NormPlacement::Pre")]
    pub norm_placement: NormPlacement,
    /// Added to the variance. Default: 1e-5
    #[config(default = 1e-5)]
    pub norm_epsilon: f64,
    /// Hidden units of a feed-forward network that every token goes through beside the routed experts; 0: there is none. Default: 0
    #[config(default = 0)]
    pub shared_d_ff: usize,
    /// What hidden units make of their sums. Default: ReLU
    #[config(default = "Activation::Relu")]
    pub activation: Activation,
    /// Number of the layer in its network, from 0: layers of one network begin with weights of their own. Default: 0
    #[config(default = 0)]
    pub layer: u32,
    /// Seed of the initial weights. Default: 0
    #[config(default = 0)]
    pub seed: u64,
}

/// A residual expert layer: `x + Σⱼ wⱼ FFNⱼ(LayerNorm(x))` over the chosen experts, or
/// `x + FFN(LayerNorm(x))` when dense. A dense layer is the same layer without a router. A shared expert adds its part to every
/// token (DeepSeekMoE, Dai et al. 2024); no layout has it and no edit touches it. LayerNorm may be left out, or come
/// after the sum ([`NormPlacement`]). How many experts there are is nowhere written down but in the sizes of the tensors, so that edits may
/// change it.
///
/// Should be created with [`MoeLayerConfig`].
#[derive(Module, Debug)]
pub struct MoeLayer {
    /// Before router and experts, or after the sum.
    pub norm: Option<LayerNorm>,
    /// None: dense.
    pub router: Option<Router>,
    /// The experts.
    pub experts: Experts,
    /// One that every token goes through, beside those.
    pub shared: Option<Experts>,
    /// Where the norm stands.
    #[module(skip)]
    pub norm_placement: NormPlacement,
}

/// What may be known of a layer's tokens beside their vectors.
#[derive(Clone, Debug, Default)]
pub struct LayerContext<'a> {
    /// The groups of each token, the likeliest first, by which experts are assigned ([`Dispatch::assigned`]): one list per
    /// token. Any other layer does not look at them.
    pub groups: &'a [&'a [u32]],
    /// What a learned router sees in place of the tokens, normalised as they are: `[tokens, d_model]`.
    pub router_input: Option<Tensor<2>>,
    /// What is multiplied with what a learned router sees, normalised: `[tokens, d_model]`.
    pub router_jitter: Option<Tensor<2>>,
    /// How many tokens an expert behind a top-k router takes, as a multiple of the even load ([`Dispatch::within_capacity`]); none:
    /// all that come.
    pub capacity_factor: Option<f64>,
    /// Who chooses behind a top-k router.
    pub choice: Choice,
    /// What is multiplied with what experts add to tokens, as dropout does: `[tokens, d_model]`.
    pub mask: Option<Tensor<2>>,
}

/// Who chooses behind a top-k router, and what a pair of a token and an expert counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Each token its `top_k` best experts. Their probabilities, renormalised to sum to 1 for two or more.
    #[default]
    Tokens,
    /// Each expert its `⌈tokens · top_k / n_experts⌉` best tokens (Zhou et al. 2022). The probability.
    Experts,
    /// Each token, in a network that was trained with experts that choose: the probability, as there.
    TokensAfterExperts,
}

/// What a layer gives back. Nothing of it is kept in the layer.
#[derive(Debug)]
pub struct MoeOutput {
    /// `[tokens, d_model]`
    pub x: Tensor<2>,
    /// Auxiliary losses, unweighted; none of them in a dense layer.
    pub aux_losses: AuxLosses,
    /// Routing sums; none in a dense layer.
    pub routing: Option<LayerSums>,
    /// Live router probabilities, `[tokens, n_experts]`; with top-k routing only.
    pub router_probs: Option<Tensor<2>>,
    /// Where each token went, and by what; with top-k routing only, where tokens choose.
    pub routed: Option<RoutedTokens>,
    /// What the pass took.
    pub flops: Flops,
}

/// Where tokens went, and by what.
#[derive(Clone, Debug)]
pub struct RoutedTokens {
    /// What experts saw: `[tokens, d_model]`.
    pub inputs: Tensor<2>,
    /// What the router saw: `[tokens, d_model]`, most often the same.
    pub seen: Tensor<2>,
    /// The experts of each token.
    pub dispatch: Dispatch,
    /// What the output of each of them is multiplied by: `[tokens, top_k]`.
    pub expert_weights: Tensor<2>,
}

impl RoutedTokens {
    /// What experts saw of some tokens: `[tokens.len(), d_model]`.
    ///
    /// # Panics
    /// When there is no such token.
    pub fn inputs_of(&self, tokens: &[u32]) -> Tensor<2> {
        rows_of(&self.inputs, tokens)
    }
}

impl MoeLayerConfig {
    /// A layer with experts 0 to `n_experts - 1` and initial weights: router rows and experts from `U(±1/√fan_in)`.
    pub fn init(&self, device: &Device) -> MoeLayer {
        let layout = Layout::uniform(1, self.kind, self.n_experts);
        self.init_with(&layout.layers()[0], &Streams::new(self.seed), device)
    }

    /// A layer with the kind and the experts of a layout, drawn from these streams in place of the config's own.
    pub fn init_with(&self, layout: &LayerLayout, streams: &Streams, device: &Device) -> MoeLayer {
        let (layer, d_model) = (LayerId(self.layer), self.d_model);
        MoeLayer {
            norm: self.layer_norm.then(|| LayerNorm::new(d_model, self.norm_epsilon, device)),
            router: Router::new(layer, layout, d_model, streams, device),
            experts: Experts::new(
                layer,
                &layout.experts,
                [d_model, self.d_ff],
                self.activation,
                streams,
                device,
            ),
            shared: (self.shared_d_ff > 0).then(|| {
                Experts::shared(layer, [d_model, self.shared_d_ff], self.activation, streams, device)
            }),
            norm_placement: self.norm_placement,
        }
    }
}

impl MoeLayer {
    /// The layer with the router its kind has, and no other. Rows that are there stay; a new
    /// router has a row of zeros for every expert that is there now.
    pub fn with_kind(self, kind: LayerKind) -> Self {
        let (device, [n_experts, d_model, _]) = (self.experts.w_in.device(), self.experts.w_in.dims());
        let router = Router::of_kind(kind, self.router, [n_experts, d_model], &device);
        Self { router, ..self }
    }

    /// Sends each token through its experts. Tokens that are padding must not be there: they would be routed and counted.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    /// - output: the same
    ///
    /// # Panics
    /// When a token has another width, or experts are assigned by groups.
    pub fn forward(&self, x: Tensor<2>) -> MoeOutput {
        self.forward_in(x, LayerContext::default())
    }

    /// The same with what is known of the tokens beside their vectors.
    ///
    /// # Panics
    /// When a token has another width, or experts are assigned and there is not one list of groups per token.
    pub fn forward_in(&self, x: Tensor<2>, context: LayerContext<'_>) -> MoeOutput {
        let [_, d_model, _] = self.experts.w_in.dims();
        assert_shape!(x, [.., d_model]);
        let [tokens, _] = x.dims();
        let y = before(&self.norm, self.norm_placement, x.clone());
        let shared = self.shared.as_ref().map(|shared| shared.forward_only(y.clone()));
        let added = |y: Tensor<2>, mask: Option<Tensor<2>>| {
            let y = match shared {
                Some(shared) => y + shared,
                None => y,
            };
            let y = match mask {
                Some(mask) => y * mask,
                None => y,
            };
            after(&self.norm, self.norm_placement, x + y)
        };
        match &self.router {
            Some(router) => {
                let seen = self.seen_by_router(&y, context.router_input.clone());
                let seen = match &context.router_jitter {
                    Some(jitter) => seen * jitter.clone(),
                    None => seen,
                };
                let combined = combine::combined(router, &self.experts, y, seen, &context);
                MoeOutput {
                    x: added(combined.y, context.mask),
                    aux_losses: combined.aux_losses,
                    routing: Some(combined.sums),
                    router_probs: combined.router_probs,
                    routed: combined.routed,
                    flops: self.flops(tokens, combined.expert_tokens),
                }
            }
            None => MoeOutput {
                x: added(self.experts.forward_only(y), context.mask),
                aux_losses: AuxLosses::default(),
                routing: None,
                router_probs: None,
                routed: None,
                flops: self.flops(tokens, ExpertTokens::unpadded(tokens)),
            },
        }
    }

    /// What the router sees: what experts see, or what was given in its place.
    pub(crate) fn seen_by_router(&self, y: &Tensor<2>, router_input: Option<Tensor<2>>) -> Tensor<2> {
        router_input.map_or_else(|| y.clone(), |seen| before(&self.norm, self.norm_placement, seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "axis 1 expected 4, got 3")]
    fn rows_of_another_width_are_refused() {
        let device = Device::flex();
        MoeLayerConfig::new(4, 2).init(&device).forward(Tensor::ones([2, 3], &device));
    }

    #[test]
    fn layers_of_one_network_begin_with_weights_of_their_own() {
        let weights = |layer| {
            let moe = MoeLayerConfig::new(4, 2).with_layer(layer).init(&Device::flex());
            moe.experts.w_in.val().try_into_vec_as::<f32>().unwrap()
        };
        assert_eq!(weights(0), weights(0));
        assert_ne!(weights(0), weights(1));
    }
}
