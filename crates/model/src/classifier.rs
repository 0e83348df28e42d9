//! The whole network.

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear},
    tensor::{Device, Tensor},
};
use moelt_schema::{
    Flops, LayerId, LayerLayout, LayerSums, Layout, ModelConfig, Pooling, RouterInput, Streams, Unit, uniform,
};

use crate::{
    AuxLosses, LayerContext, Mode, ModelInput, MoeLayer, MoeLayerConfig, Router, TokenConv, TokenEmbedding,
    init::{SharedPart, param, shared_rng},
    layer::normalise,
    pool,
    pooling::mean_of_sequence,
};

/// Everything that determines the shape of a [`Classifier`].
#[derive(Clone, Debug)]
pub struct ClassifierConfig {
    /// Sizes and rates.
    pub model: ModelConfig,
    /// The experts, which may differ from the config's initial ones.
    pub layout: Layout,
    /// Rows of the embedding table.
    pub n_rows: usize,
    /// Classes.
    pub n_classes: usize,
}

/// A text classifier with expert layers.
#[derive(Module, Debug)]
pub struct Classifier {
    embedding: TokenEmbedding,
    input_norm: Option<LayerNorm>,
    pub(crate) conv: Option<TokenConv>,
    pub(crate) layers: Vec<MoeLayer>,
    output_norm: Option<LayerNorm>,
    pub(crate) head: Linear,
    #[module(skip)]
    pub(crate) rates: Rates,
}

/// The parts of the config that a forward pass needs.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    pub(crate) unit: Unit,
    router_input: RouterInput,
    pooling: Pooling,
    input_dropout: f64,
    output_dropout: f64,
    row_dropout: f64,
}

/// What a forward pass gives back. Losses are returned, unweighted, never kept.
#[derive(Debug)]
pub struct ModelOutput {
    /// `[batch, n_classes]`
    pub logits: Tensor<2>,
    /// Each auxiliary loss, unweighted, averaged over the layers that have it.
    pub aux_losses: AuxLosses,
    /// The sum of a layer's auxiliary losses, averaged over MoE layers, `[1]`: what is trained on, times a coefficient.
    /// None in a dense model.
    pub aux_loss: Option<Tensor<1>>,
    /// Routing sums of each MoE layer; padding is never counted.
    pub routing: Vec<LayerSums>,
    /// Live router probabilities of each layer with top-k routing, `[tokens, n_experts]`.
    pub router_probs: Vec<(LayerId, Tensor<2>)>,
    /// What the pass took.
    pub flops: Flops,
}

/// What the expert layers give back beside their tokens, layer by layer.
#[derive(Default)]
struct LayerOutputs {
    aux_losses: Vec<AuxLosses>,
    routing: Vec<LayerSums>,
    router_probs: Vec<(LayerId, Tensor<2>)>,
    flops: Flops,
}

impl ClassifierConfig {
    /// A network with initial weights.
    pub fn init(&self, streams: &Streams, device: &Device) -> Classifier {
        let model = &self.model;
        let (width, layer_width) = (model.pooled_width(), model.routed_width());
        let layer = |(index, layout): (u32, &LayerLayout)| {
            let config = MoeLayerConfig::new(layer_width, model.expert_width());
            let config = config.with_layer_norm(model.layer_norm).with_layer(index);
            config.init_with(layout, streams, device)
        };
        let norm = |width| model.layer_norm.then(|| LayerNormConfig::new(width).init(device));
        Classifier {
            embedding: TokenEmbedding::new(self.n_rows, model.d_model, model.embedding_std, streams, device),
            input_norm: norm(model.d_model),
            conv: (model.conv_width > 0)
                .then(|| TokenConv::new(model.conv_width, model.d_model, streams, device)),
            layers: (0..).zip(self.layout.layers()).map(layer).collect(),
            output_norm: norm(width),
            head: linear(width, self.n_classes, streams, device),
            rates: Rates {
                unit: model.unit,
                router_input: model.router_input,
                pooling: model.pooling,
                input_dropout: model.input_dropout,
                output_dropout: model.output_dropout,
                row_dropout: model.row_dropout,
            },
        }
    }
}

/// What a router sees in place of tokens.
///
/// # Shapes
/// - x: `[n_tokens, d_model]`, sequences of `lengths` tokens end to end
/// - output: the same
fn seen_by_routers(x: &Tensor<2>, lengths: &[usize], router_input: RouterInput) -> Option<Tensor<2>> {
    match router_input {
        RouterInput::Token => None,
        RouterInput::Sequence => Some(mean_of_sequence(x, lengths)),
        RouterInput::TokenAndSequence => Some(x.clone() + mean_of_sequence(x, lengths)),
    }
}

/// A linear map from `U(±1/√d_input)`.
fn linear(d_input: usize, d_output: usize, streams: &Streams, device: &Device) -> Linear {
    let mut rng = shared_rng(streams, SharedPart::Head);
    Linear {
        weight: param(uniform(d_input, d_input * d_output, &mut rng), [d_input, d_output], device),
        bias: Some(param(uniform(d_input, d_output, &mut rng), [d_output], device)),
    }
}

impl Classifier {
    /// What the network says of a batch.
    ///
    /// # Shapes
    /// - logits: `[input.batch(), n_classes]`
    ///
    /// # Panics
    /// When a token has a row that is not in the embedding table.
    pub fn forward(&self, input: &ModelInput, mut mode: Mode<'_>) -> ModelOutput {
        let x = self.encode(input, &mut mode);
        let pooled = |x| pool(x, input.lengths(), self.rates.pooling);
        let (x, layers) = match self.rates.unit {
            Unit::Token => {
                let seen = |x: &Tensor<2>| seen_by_routers(x, input.lengths(), self.rates.router_input);
                let (x, layers) = self.expert_layers(x, &input.groups_of_tokens(), seen);
                (pooled(x), layers)
            }
            Unit::Sequence => self.expert_layers(pooled(x), &input.groups_of_sequences(), |_| None),
        };
        let x = mode.dropout(normalise(&self.output_norm, x), self.rates.output_dropout);
        let totals: Vec<Tensor<1>> = layers.aux_losses.iter().filter_map(AuxLosses::total).collect();
        ModelOutput {
            logits: self.head.forward(x),
            aux_loss: (!totals.is_empty()).then(|| Tensor::cat(totals, 0).mean()),
            aux_losses: AuxLosses::mean(&layers.aux_losses),
            routing: layers.routing,
            router_probs: layers.router_probs,
            flops: layers.flops + self.shared_flops(input),
        }
    }

    /// Tokens in context, `[n_tokens, d_model]`.
    fn encode(&self, input: &ModelInput, mode: &mut Mode<'_>) -> Tensor<2> {
        let x = self.embedding.forward(input, self.rates.row_dropout, mode);
        let x = mode.dropout(normalise(&self.input_norm, x), self.rates.input_dropout);
        match &self.conv {
            Some(conv) => conv.forward(x, input.lengths()),
            None => x,
        }
    }

    /// `groups` of each routed token; none where experts are not assigned by them. `seen` of a layer's tokens: what its router
    /// sees in their place.
    fn expert_layers(
        &self,
        mut x: Tensor<2>,
        groups: &[&[u32]],
        seen: impl Fn(&Tensor<2>) -> Option<Tensor<2>>,
    ) -> (Tensor<2>, LayerOutputs) {
        let mut outputs = LayerOutputs::default();
        for (id, layer) in (0..).map(LayerId).zip(&self.layers) {
            let learns = layer.router.as_ref().is_some_and(|router| router.weight().is_some());
            let router_input = if learns { seen(&x) } else { None };
            let output = layer.forward_in(x, LayerContext { groups, router_input });
            x = output.x;
            outputs.aux_losses.push(output.aux_losses);
            outputs.routing.extend(output.routing);
            outputs.router_probs.extend(output.router_probs.map(|probs| (id, probs)));
            outputs.flops += output.flops;
        }
        (x, outputs)
    }

    /// Values that are trained: every parameter but the router biases.
    pub fn n_params(&self) -> usize {
        let biases = |layer: &MoeLayer| match &layer.router {
            Some(Router::TopK(router)) => router.bias.num_params(),
            Some(Router::TopAny(_) | Router::Assigned(_)) | None => 0,
        };
        self.num_params() - self.layers.iter().map(biases).sum::<usize>()
    }

    /// Trained values that take part in the arithmetic for one token: everything but the embedding table (a
    /// look-up) and the experts that the token is not sent to. With top-any routing a token may be sent to
    /// every expert.
    pub fn n_active_params(&self, layout: &Layout) -> usize {
        let idle = |(layer, layout): (&MoeLayer, &LayerLayout)| {
            let n_experts = layout.n_experts();
            layer.experts.num_params() / n_experts * (n_experts - layout.effective_top_k())
        };
        let idle: usize = self.layers.iter().zip(layout.layers()).map(idle).sum();
        self.n_params() - self.embedding.num_params() - idle
    }
}
