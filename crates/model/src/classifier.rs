//! The whole network.

use std::ops::Range;

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor},
};
use moelt_schema::{
    Flops, LayerId, LayerLayout, LayerSums, Layout, ModelConfig, NormPlacement, Positions, RouterInput,
    Streams, Unit, uniform,
};

use crate::{
    AuxLosses, Choice, LayerContext, LayerNorm, Mode, ModelInput, MoeLayer, MoeLayerConfig, Pool,
    PositionEmbedding, RoutedTokens, Router, SelfAttention, TokenConv, TokenEmbedding,
    init::{SharedPart, param, shared_rng},
    norm::normalise,
    pooling::mean_of_sequence,
};

mod rerouting;

pub use self::rerouting::Rerouting;

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
    pub(crate) embedding: TokenEmbedding,
    pub(crate) positions: Option<PositionEmbedding>,
    pub(crate) input_norm: Option<LayerNorm>,
    pub(crate) conv: Option<TokenConv>,
    /// Before each layer, in a transformer; nowhere else.
    pub(crate) attention: Vec<SelfAttention>,
    pub(crate) layers: Vec<MoeLayer>,
    /// Behind the layers or, where they route sequences, before them.
    pub(crate) pool: Pool,
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
    router_jitter: f64,
    capacity_factor: Option<f64>,
    expert_choice: bool,
    input_dropout: f64,
    block_dropout: f64,
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
    /// Where each token went, in each layer with top-k routing.
    pub routed: Vec<(LayerId, RoutedTokens)>,
    /// What the pass took.
    pub flops: Flops,
}

/// What the expert layers give back beside their tokens, layer by layer.
#[derive(Default)]
struct LayerOutputs {
    aux_losses: Vec<AuxLosses>,
    routing: Vec<LayerSums>,
    router_probs: Vec<(LayerId, Tensor<2>)>,
    routed: Vec<(LayerId, RoutedTokens)>,
    flops: Flops,
}

impl ClassifierConfig {
    /// A network with initial weights.
    pub fn init(&self, streams: &Streams, device: &Device) -> Classifier {
        let model = &self.model;
        let layer = |(at, layout): (u32, &LayerLayout)| {
            self.layer_config(LayerId(at)).init_with(layout, streams, device)
        };
        let transformer = model.encoder.transformer();
        let attention = |block| {
            let transformer = transformer?;
            Some(SelfAttention::new(transformer, model.d_model, model.norm_epsilon, block, streams, device))
        };
        let norm = |width| LayerNorm::new(width, model.norm_epsilon, device);
        let conv = |width| TokenConv::new(width, model.d_model, streams, device);
        Classifier {
            embedding: TokenEmbedding::new(self.n_rows, model.d_model, model.embedding_std, streams, device),
            positions: self.n_positions().map(|n_positions| {
                PositionEmbedding::new(n_positions, model.d_model, model.embedding_std, streams, device)
            }),
            input_norm: model.layer_norm.then(|| norm(model.d_model)),
            conv: model.encoder.conv().map(|config| conv(config.width)),
            attention: (0..model.n_layers as u32).map_while(attention).collect(),
            layers: (0..).zip(self.layout.layers()).map(layer).collect(),
            pool: Pool::new(model.pooling, model.d_model, device),
            output_norm: self.has_output_norm().then(|| norm(model.pooled_width())),
            head: linear(model.pooled_width(), self.n_classes, streams, device),
            rates: Rates {
                unit: model.unit,
                router_input: model.router_input,
                router_jitter: model.router_jitter,
                capacity_factor: model.capacity_factor,
                expert_choice: model.expert_choice,
                input_dropout: model.input_dropout,
                block_dropout: transformer.map_or(0.0, |transformer| transformer.dropout),
                output_dropout: model.output_dropout,
                row_dropout: model.row_dropout,
            },
        }
    }

    fn layer_config(&self, layer: LayerId) -> MoeLayerConfig {
        let model = &self.model;
        MoeLayerConfig::new(model.routed_width(), model.expert_width(layer))
            .with_layer(layer.0)
            .with_shared_d_ff(model.shared_width(layer))
            .with_layer_norm(model.layer_norm)
            .with_norm_placement(model.encoder.norm_placement())
            .with_norm_epsilon(model.norm_epsilon)
            .with_activation(model.activation)
    }

    /// Positions that have a vector of their own, if any has.
    pub(crate) fn n_positions(&self) -> Option<usize> {
        match self.model.encoder.transformer()?.positions {
            Positions::Learned { n_positions } => Some(n_positions),
            Positions::Rotary {} => None,
        }
    }

    /// Whether there is a norm before the classifier: not where the last block has one at its end.
    pub(crate) fn has_output_norm(&self) -> bool {
        self.model.layer_norm && self.model.encoder.norm_placement() == NormPlacement::Pre
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
        let x = self.before_layers(input, &mut mode);
        let (x, layers) = self.expert_layers(x, input, 0..self.layers.len(), &mut mode);
        let totals: Vec<Tensor<1>> = layers.aux_losses.iter().filter_map(AuxLosses::total).collect();
        ModelOutput {
            logits: self.after_layers(x, input, &mut mode),
            aux_loss: (!totals.is_empty()).then(|| Tensor::cat(totals, 0).mean()),
            aux_losses: AuxLosses::mean(&layers.aux_losses),
            routing: layers.routing,
            router_probs: layers.router_probs,
            routed: layers.routed,
            flops: layers.flops + self.shared_flops(input),
        }
    }

    /// The same network with the rows of the embedding table that a batch uses and no others, the batch as it is told by their
    /// places, and which rows they are. What the two say of each other is what this network says of the batch; on an autodiff
    /// device the gradient of the table is that of these rows alone, however large the vocabulary.
    ///
    /// # Panics
    /// When a token has a row that is not in the embedding table.
    pub fn with_used_rows(&self, input: &ModelInput) -> (Self, ModelInput, Vec<u32>) {
        let [n_rows, _] = self.embedding.table.dims();
        let (input, rows) = input.by_used_rows(n_rows);
        (Self { embedding: self.embedding.with_rows(&rows), ..self.clone() }, input, rows)
    }

    /// The table of token vectors.
    pub fn embedding(&self) -> &TokenEmbedding {
        &self.embedding
    }

    /// An expert layer.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn layer(&self, layer: LayerId) -> &MoeLayer {
        &self.layers[layer.0 as usize]
    }

    /// The gradient of an objective of the logits at a layer's output; of a model with autodiff.
    ///
    /// # Shapes
    /// - output: `[tokens, d_model]`, and where the layer sent its tokens; none where it has no top-k router
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn gradient_at(
        &self,
        input: &ModelInput,
        layer: LayerId,
        objective: impl FnOnce(Tensor<2>) -> Tensor<1>,
    ) -> Option<(Tensor<2>, RoutedTokens, Flops)> {
        let after = layer.0 as usize + 1;
        let x = self.before_layers(input, &mut Mode::Eval);
        let (x, before) = self.expert_layers(x, input, 0..after, &mut Mode::Eval);
        let routed = before.routed.into_iter().find(|(id, _)| *id == layer)?.1;
        let output = x.detach().require_grad();
        let rest = after..self.layers.len();
        let (x, later) = self.expert_layers(output.clone(), input, rest, &mut Mode::Eval);
        let logits = self.after_layers(x, input, &mut Mode::Eval);
        let gradient = output.grad(&objective(logits).backward())?;
        // Back is twice as far as there.
        let flops = before.flops + (later.flops + self.flops_after(input)) * 3 + self.flops_before(input);
        Some((gradient, routed, flops))
    }

    /// What is routed: tokens in context or, where sequences are routed, those pooled.
    fn before_layers(&self, input: &ModelInput, mode: &mut Mode<'_>) -> Tensor<2> {
        let x = self.encode(input, mode);
        match self.rates.unit {
            Unit::Token => x,
            Unit::Sequence => self.pool.forward(x, input.lengths()),
        }
    }

    /// Logits of what the last layer gave.
    fn after_layers(&self, x: Tensor<2>, input: &ModelInput, mode: &mut Mode<'_>) -> Tensor<2> {
        let x = match self.rates.unit {
            Unit::Token => self.pool.forward(x, input.lengths()),
            Unit::Sequence => x,
        };
        self.head.forward(mode.dropout(normalise(&self.output_norm, x), self.rates.output_dropout))
    }

    /// What routers see in place of what is routed.
    fn router_input(&self, x: &Tensor<2>, input: &ModelInput) -> Option<Tensor<2>> {
        match self.rates.unit {
            Unit::Token => seen_by_routers(x, input.lengths(), self.rates.router_input),
            Unit::Sequence => None,
        }
    }

    /// Tokens as the first layer sees them, `[n_tokens, d_model]`.
    fn encode(&self, input: &ModelInput, mode: &mut Mode<'_>) -> Tensor<2> {
        let x = self.embedding.forward(input, self.rates.row_dropout, mode);
        let x = match &self.positions {
            Some(positions) => x + positions.forward(input.lengths()),
            None => x,
        };
        let x = mode.dropout(normalise(&self.input_norm, x), self.rates.input_dropout);
        match &self.conv {
            Some(conv) => conv.forward(x, input.lengths()),
            None => x,
        }
    }

    /// What goes into a layer: tokens that have seen one another, in a transformer; and what that took.
    fn attended(
        &self,
        at: usize,
        x: Tensor<2>,
        input: &ModelInput,
        mode: &mut Mode<'_>,
    ) -> (Tensor<2>, Flops) {
        match self.attention.get(at) {
            Some(attention) => {
                (attention.forward(x, input.lengths(), mode), attention.flops(input.lengths()))
            }
            None => (x, Flops::default()),
        }
    }

    /// Some of the layers, one after the other.
    fn expert_layers(
        &self,
        mut x: Tensor<2>,
        input: &ModelInput,
        which: Range<usize>,
        mode: &mut Mode<'_>,
    ) -> (Tensor<2>, LayerOutputs) {
        let mut outputs = LayerOutputs::default();
        let groups = match self.rates.unit {
            Unit::Token => input.groups_of_tokens(),
            Unit::Sequence => input.groups_of_sequences(),
        };
        for at in which {
            let (id, layer) = (LayerId(at as u32), &self.layers[at]);
            let attention;
            (x, attention) = self.attended(at, x, input, mode);
            let learns = layer.router.as_ref().is_some_and(|router| router.weight().is_some());
            let (shape, device) = (x.dims(), x.device());
            let context = LayerContext {
                groups: &groups,
                router_input: learns.then(|| self.router_input(&x, input)).flatten(),
                mask: mode.dropout_mask(self.rates.block_dropout, shape, &device),
                router_jitter: learns
                    .then(|| mode.jitter(self.rates.router_jitter, shape, &device))
                    .flatten(),
                capacity_factor: mode.is_training().then_some(self.rates.capacity_factor).flatten(),
                choice: self.choice(mode.is_training()),
            };
            let output = layer.forward_in(x, context);
            x = output.x;
            outputs.aux_losses.push(output.aux_losses);
            outputs.routing.extend(output.routing);
            outputs.router_probs.extend(output.router_probs.map(|probs| (id, probs)));
            outputs.routed.extend(output.routed.map(|routed| (id, routed)));
            outputs.flops += attention + output.flops;
        }
        (x, outputs)
    }

    /// Who chooses behind top-k routers.
    pub(crate) fn choice(&self, training: bool) -> Choice {
        match (self.rates.expert_choice, training) {
            (false, _) => Choice::Tokens,
            (true, true) => Choice::Experts,
            (true, false) => Choice::TokensAfterExperts,
        }
    }

    /// Values that are trained: every parameter but the biases of routers.
    pub fn n_params(&self) -> usize {
        let biases = |layer: &MoeLayer| match &layer.router {
            Some(Router::TopK(router)) => router.bias.num_params() + router.balance_bias.num_params(),
            Some(Router::TopAny(_) | Router::Assigned(_)) | None => 0,
        };
        self.num_params() - self.layers.iter().map(biases).sum::<usize>()
    }

    /// Trained values that take part in the arithmetic for one token: everything but what is looked up (the tables of tokens
    /// and of positions) and the experts that the token is not sent to. With top-any routing a token may be sent to
    /// every expert.
    pub fn n_active_params(&self, layout: &Layout) -> usize {
        let idle = |(layer, layout): (&MoeLayer, &LayerLayout)| {
            let n_experts = layout.n_experts();
            layer.experts.num_params() / n_experts * (n_experts - layout.effective_top_k())
        };
        let idle: usize = self.layers.iter().zip(layout.layers()).map(idle).sum();
        let looked_up = self.embedding.num_params() + self.positions.num_params();
        self.n_params() - looked_up - idle
    }
}
