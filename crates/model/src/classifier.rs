//! The whole network.

use burn::{
    module::Module,
    nn::{LayerNorm, LayerNormConfig, Linear},
    tensor::{Device, Tensor},
};
use moelt_schema::{Flops, LayerId, LayerSums, Layout, ModelConfig, Pooling, Streams, Unit, uniform};

use crate::{
    LayerRouting, Mode, ModelInput, MoeLayer, MoeLayerConfig, TokenConv, TokenEmbedding,
    init::{SharedPart, param, shared_rng},
    moe::normalise,
    pool,
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
    /// Mean unweighted load-balancing loss over MoE layers, `[1]`; none in a dense model. A layer with
    /// top-any routing gives its diversity and simplicity loss in its place.
    pub load_balancing_loss: Option<Tensor<1>>,
    /// Routing sums of each MoE layer; padding is never counted.
    pub routing: Vec<LayerSums>,
    /// Live router probabilities of each layer with top-k routing, `[rows, n_experts]`.
    pub router_probs: Vec<(LayerId, Tensor<2>)>,
    /// What the pass took.
    pub flops: Flops,
}

impl ClassifierConfig {
    /// A network with initial weights.
    pub fn init(&self, streams: &Streams, device: &Device) -> Classifier {
        let model = &self.model;
        let (width, layer_width) = (model.pooled_width(), model.row_width());
        let layer = |(index, layout): (usize, &moelt_schema::LayerLayout)| {
            let sizes = MoeLayerConfig {
                d_model: layer_width,
                d_ff: model.expert_width(),
                layer_norm: model.layer_norm,
            };
            MoeLayer::new(LayerId(index as u32), layout, &sizes, streams, device)
        };
        let norm = |width| model.layer_norm.then(|| LayerNormConfig::new(width).init(device));
        Classifier {
            embedding: TokenEmbedding::new(self.n_rows, model.d_model, model.embedding_std, streams, device),
            input_norm: norm(model.d_model),
            conv: (model.conv_width > 0)
                .then(|| TokenConv::new(model.conv_width, model.d_model, streams, device)),
            layers: self.layout.layers().iter().enumerate().map(layer).collect(),
            output_norm: norm(width),
            head: linear(width, self.n_classes, streams, device),
            rates: Rates {
                unit: model.unit,
                pooling: model.pooling,
                input_dropout: model.input_dropout,
                output_dropout: model.output_dropout,
                row_dropout: model.row_dropout,
            },
        }
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
    /// # Shapes
    /// - logits: `[input.batch(), n_classes]`
    pub fn forward(&self, input: &ModelInput, mut mode: Mode<'_>) -> ModelOutput {
        let x = self.encode(input, &mut mode);
        let (x, routing, flops) = match self.rates.unit {
            Unit::Token => {
                let (x, routing, flops) = self.expert_layers(x);
                (pool(x, input.lengths(), self.rates.pooling), routing, flops)
            }
            Unit::Sequence => self.expert_layers(pool(x, input.lengths(), self.rates.pooling)),
        };
        let x = mode.dropout(normalise(&self.output_norm, x), self.rates.output_dropout);
        let (mut losses, mut sums, mut router_probs) = (Vec::new(), Vec::new(), Vec::new());
        for (layer, routing) in routing {
            losses.push(routing.aux_loss);
            sums.push(routing.sums);
            router_probs.extend(routing.router_probs.map(|probs| (layer, probs)));
        }
        let load_balancing_loss = (!losses.is_empty()).then(|| Tensor::cat(losses, 0).mean());
        let (logits, flops) = (self.head.forward(x), flops + self.shared_flops(input));
        ModelOutput { logits, load_balancing_loss, routing: sums, router_probs, flops }
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

    fn expert_layers(&self, mut x: Tensor<2>) -> (Tensor<2>, Vec<(LayerId, LayerRouting)>, Flops) {
        let (mut routing, mut flops) = (Vec::new(), Flops::default());
        for (id, layer) in (0..).map(LayerId).zip(&self.layers) {
            let out = layer.forward(x);
            x = out.x;
            flops += out.flops;
            routing.extend(out.routing.map(|routing| (id, routing)));
        }
        (x, routing, flops)
    }

    /// Values that are trained: every parameter but the router offsets.
    pub fn n_params(&self) -> usize {
        let routers = self.layers.iter().filter_map(|layer| layer.router.as_ref());
        self.num_params() - routers.map(|router| router.offset.num_params()).sum::<usize>()
    }

    /// Trained values that take part in the arithmetic for one row: everything but the embedding table (a
    /// look-up) and the experts that the row is not sent to. With top-any routing a row may be sent to
    /// every expert.
    pub fn n_active_params(&self, layout: &Layout) -> usize {
        let idle = |(layer, layout): (&MoeLayer, &moelt_schema::LayerLayout)| {
            let n_experts = layout.n_experts();
            layer.experts.num_params() / n_experts * (n_experts - layout.effective_top_k())
        };
        let idle: usize = self.layers.iter().zip(layout.layers()).map(idle).sum();
        self.n_params() - self.embedding.num_params() - idle
    }
}
