//! The network.

use serde::{Deserialize, Serialize};

mod encoder;
pub(super) mod pretrained;
mod routing;
pub(super) mod vectors;

pub use self::{
    encoder::{
        ConvConfig, EncoderConfig, ExpertBlockRule, ExpertBlocks, NormPlacement, Positions, TransformerConfig,
    },
    pretrained::{PretrainedFiles, UpcycleConfig, other_files},
    routing::{AssignedBy, RoutingConfig},
    vectors::VectorFiles,
};
use super::{
    Activation, ConfigFault,
    bounds::{MAX_EXPERTS, MAX_UNITS, at_least_zero, at_most, count, fraction, positive},
    choice::choice,
};
use crate::{Digest, LayerId, LayerKind, Layout};

/// The network: embedding → encoder → MoE layers → pooling → classifier, or pooling before the layers. A transformer has
/// attention before each layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Width of a token's vector.
    pub d_model: usize,
    /// Hidden units of one expert. A dense layer has `top_k × d_ff`: the same active parameters. With `swiglu` a unit has half as many
    /// parameters again, those of its gate.
    pub d_ff: usize,
    /// What hidden units make of their sums: `relu`, `gelu` or `swiglu`.
    pub activation: Activation,
    /// Folder of a pretrained encoder with `config.json`, `model.safetensors` and `tokenizer.json`, as Hugging Face writes them:
    /// weights begin as those there. Its sizes take the place of whatever this section says, and its tokenizer that of `[text]`.
    pub pretrained: Option<String>,
    /// Hash of those files ([`PretrainedFiles::digest`]), noted when a config is loaded.
    pub pretrained_digest: Option<Digest>,
    /// File of word vectors that somebody has trained, `d_model` wide: a text file with a word and its numbers on each line (GloVe,
    /// word2vec, fastText), or a folder with `tokenizer.json` and `model.safetensors` (model2vec). Words of training texts that have one there
    /// begin with it. With `optim.embedding_lr_scale = 0` they stay as they are, and so do the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<String>,
    /// Hash of it ([`VectorFiles::digest`]), noted when a config is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors_digest: Option<Digest>,
    /// Dense layers that become experts before the first step.
    pub upcycle: Option<UpcycleConfig>,
    /// How tokens (or sequences) get to experts.
    #[serde(deserialize_with = "choice")]
    pub routing: RoutingConfig,
    /// Experts per token under top-k routing. A dense layer is as wide as so many experts together, and so has the
    /// same active parameters; under top-any routing thresholds decide instead.
    pub top_k: usize,
    /// Hidden units of the shared expert of a layer, a feed-forward network that every token goes through beside its routed
    /// experts (DeepSeekMoE, Dai et al. 2024). 0: none. Where `routing` makes layers dense they have none, nor when they are upcycled.
    pub shared_d_ff: usize,
    /// Of training alone: an expert behind a top-k router takes at most `⌈capacity_factor · tokens · top_k / n_experts⌉` tokens of a
    /// batch, in their order; for it those beyond have weight 0 (Switch Transformers, Fedus et al. 2021). None: any number.
    pub capacity_factor: Option<f64>,
    /// Of training alone: experts behind a top-k router choose tokens, and not tokens experts. Each takes the
    /// `⌈tokens · top_k / n_experts⌉` tokens of a batch to which its router gives it the largest probability, so that all have as
    /// many; a token may have any number of experts, or none (expert choice, Zhou et al. 2022). Whatever else is asked of the model has
    /// tokens choose, as what is said of a text must not depend on the texts beside it. Either way a pair counts by its probability,
    /// which is not renormalised.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expert_choice: bool,
    /// MoE (or dense) layers; blocks of a transformer.
    pub n_layers: usize,
    /// What is routed: tokens before pooling, or sequences after it.
    pub unit: Unit,
    /// What a router sees of a token.
    pub router_input: RouterInput,
    /// In training every number that a router sees is multiplied by another one from `U(1 − router_jitter, 1 + router_jitter)` (Switch
    /// Transformers, Fedus et al. 2021).
    pub router_jitter: f64,
    /// How tokens get to know of one another before they are pooled.
    #[serde(deserialize_with = "choice")]
    pub encoder: EncoderConfig,
    /// How tokens become one vector.
    pub pooling: Pooling,
    /// LayerNorm on embeddings, before expert layers and before the classifier. Without it the network
    /// around the experts is linear in the pooled vector, so that only experts can tell domains apart.
    pub layer_norm: bool,
    /// Added to the variance in LayerNorm.
    pub norm_epsilon: f64,
    /// Standard deviation of initial embeddings.
    pub embedding_std: f64,
    /// Dropout on embeddings.
    pub input_dropout: f64,
    /// Dropout before the classifier.
    pub output_dropout: f64,
    /// Probability that a row of a token (its word's, or that of a part) is left out in training.
    pub row_dropout: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            d_model: 64,
            d_ff: 64,
            activation: Activation::Relu,
            pretrained: None,
            pretrained_digest: None,
            vectors: None,
            vectors_digest: None,
            upcycle: None,
            routing: RoutingConfig::default(),
            top_k: 2,
            shared_d_ff: 0,
            capacity_factor: None,
            expert_choice: false,
            n_layers: 1,
            unit: Unit::Token,
            router_input: RouterInput::Token,
            router_jitter: 0.0,
            encoder: EncoderConfig::Bag {},
            pooling: Pooling::Mean,
            layer_norm: true,
            norm_epsilon: 1e-5,
            embedding_std: 0.02,
            input_dropout: 0.0,
            output_dropout: 0.0,
            row_dropout: 0.0,
        }
    }
}

impl ModelConfig {
    /// The experts a run starts with.
    pub fn initial_layout(&self) -> Layout {
        Layout::of_kinds((0..self.n_layers).map(|layer| self.layer_kind(layer)), self.routing.n_experts())
    }

    /// Whether a layout has the experts a run starts with. It may be of any size: nothing is made to compare with.
    pub(crate) fn starts_with(&self, layout: &Layout) -> bool {
        layout.layers().len() == self.n_layers
            && layout.is_of_kinds(|layer| self.layer_kind(layer), self.routing.n_experts())
    }

    /// Hidden units of an expert of a layer. Where a token has one expert, in a dense layer and where experts are assigned,
    /// that is `top_k` times as wide, and stays so when a dense layer is upcycled.
    pub fn expert_width(&self, layer: LayerId) -> usize {
        match self.layer_kind(layer.0 as usize) {
            // Numbers from a checkpoint may be of any size.
            LayerKind::Dense | LayerKind::Assigned => self.d_ff.saturating_mul(self.top_k),
            LayerKind::TopK { .. } | LayerKind::TopAny => self.d_ff,
        }
    }

    /// Hidden units of the shared expert of a layer; 0: it has none.
    pub fn shared_width(&self, layer: LayerId) -> usize {
        if self.layer_kind(layer.0 as usize) == LayerKind::Dense { 0 } else { self.shared_d_ff }
    }

    /// Width of the vector that is classified.
    pub fn pooled_width(&self) -> usize {
        self.pooling.width(self.d_model)
    }

    /// Width of what a layer routes: that of a token or of a pooled sequence.
    pub fn routed_width(&self) -> usize {
        match self.unit {
            Unit::Token => self.d_model,
            Unit::Sequence => self.pooled_width(),
        }
    }

    /// What a layer is when a run starts. In a transformer only some blocks may have experts.
    fn layer_kind(&self, layer: usize) -> LayerKind {
        match self.routing {
            _ if !self.encoder.has_experts_in(layer) => LayerKind::Dense,
            RoutingConfig::Dense {} => LayerKind::Dense,
            RoutingConfig::TopK { .. } => LayerKind::TopK { k: self.top_k },
            RoutingConfig::TopAny { .. } => LayerKind::TopAny,
            RoutingConfig::Assigned { .. } => LayerKind::Assigned,
        }
    }

    /// Refuses values that no network can have.
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        count("d_model", self.d_model as u64, 1_000_000)?;
        count("d_ff", self.d_ff as u64, MAX_UNITS)?;
        self.routing.check().map_err(|fault| fault.within("routing"))?;
        count("top_k", self.top_k as u64, MAX_EXPERTS)?;
        at_most("shared_d_ff", self.shared_d_ff as u64, MAX_UNITS)?;
        self.capacity_factor.iter().try_for_each(|factor| positive("capacity_factor", *factor))?;
        if self.expert_choice && self.capacity_factor.is_some() {
            let message = "is set, but with model.expert_choice every expert takes as many tokens as the next; remove one of the two";
            return Err(ConfigFault::new("capacity_factor", message));
        }
        fraction("router_jitter", self.router_jitter)?;
        count("n_layers", self.n_layers as u64, 1_000)?;
        self.encoder.check(self).map_err(|fault| fault.within("encoder"))?;
        if self.encoder.transformer().is_some() {
            self.check_around_transformer()?;
        }
        positive("norm_epsilon", self.norm_epsilon)?;
        self.check_start()?;
        at_least_zero("embedding_std", self.embedding_std)?;
        fraction("input_dropout", self.input_dropout)?;
        fraction("output_dropout", self.output_dropout)?;
        fraction("row_dropout", self.row_dropout)
    }

    /// Weights that are there already are those of dense layers.
    fn check_start(&self) -> Result<(), ConfigFault> {
        if self.vectors.is_some() && self.pretrained.is_some() {
            let message = "names vectors of words, but model.pretrained brings tokens and vectors of its own; remove one of the two";
            return Err(ConfigFault::new("vectors", message));
        }
        if self.pretrained.is_some() && self.activation.is_gated() {
            let message = "is \"swiglu\", but the hidden units of the encoder that model.pretrained names have no gates; remove one of the two";
            return Err(ConfigFault::new("activation", message));
        }
        let key = if self.upcycle.is_some() { "upcycle" } else { "pretrained" };
        let needs_dense = self.upcycle.is_some() || self.pretrained.is_some();
        if needs_dense && self.routing != (RoutingConfig::Dense {}) {
            let message = format!(
                "is not \"dense\", but model.{key} starts from dense layers; set it to \"dense\", and model.upcycle for experts"
            );
            return Err(ConfigFault::new("routing", message));
        }
        self.upcycle
            .iter()
            .try_for_each(|upcycle| upcycle.check(self).map_err(|fault| fault.within("upcycle")))
    }

    fn check_around_transformer(&self) -> Result<(), ConfigFault> {
        if self.unit == Unit::Sequence {
            let message =
                "is \"sequence\", but a transformer is made of layers of tokens; set it to \"token\"";
            return Err(ConfigFault::new("unit", message));
        }
        if !self.layer_norm {
            return Err(ConfigFault::new(
                "layer_norm",
                "is false, but no transformer trains without; set it to true",
            ));
        }
        Ok(())
    }
}

/// What a router decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Each token; pooling comes after the experts.
    Token,
    /// Each sequence; pooling comes before the experts.
    Sequence,
}

/// What a router sees of a token. Experts always see the token itself. A routed sequence is seen as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouterInput {
    /// The token.
    Token,
    /// The mean of the tokens of its sequence: all of them go the same way (sentence-level routing, Kudugunta et al. 2021).
    Sequence,
    /// The sum of both.
    TokenAndSequence,
}

/// How the tokens of a sequence become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over tokens: `d_model` wide.
    Mean,
    /// Greatest value over tokens: `d_model` wide.
    Max,
    /// `[sum / √n ; max]`: `2 · d_model` wide.
    SumMax,
    /// The first token alone, such as BERT's `[CLS]`: `d_model` wide.
    First,
    /// Mean over tokens, each weighted by the softmax of its product with a learned query (Yang et al. 2016): `d_model` wide.
    Attention,
}

impl Pooling {
    /// Width of the vector that tokens `d_model` wide become.
    pub fn width(self, d_model: usize) -> usize {
        match self {
            Self::Mean | Self::Max | Self::First | Self::Attention => d_model,
            Self::SumMax => d_model.saturating_mul(2),
        }
    }
}
