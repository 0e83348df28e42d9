//! The network.

use serde::{Deserialize, Serialize};

use super::{
    ConfigFault,
    bounds::{MAX_EXPERTS, at_least_zero, at_most, count, fraction},
    choice::choice,
};
use crate::{LayerKind, Layout};

/// The network: embedding → convolution → MoE layers → pooling → classifier, or pooling first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Width of a token's vector.
    pub d_model: usize,
    /// Hidden units of one expert. A dense layer has `top_k × d_ff`: the same active parameters.
    pub d_ff: usize,
    /// How tokens (or sequences) get to experts.
    #[serde(deserialize_with = "choice")]
    pub routing: RoutingConfig,
    /// Experts per token under top-k routing. A dense layer is as wide as so many experts together, and so has the
    /// same active parameters; under top-any routing thresholds decide instead.
    pub top_k: usize,
    /// MoE (or dense) layers.
    pub n_layers: usize,
    /// What is routed: tokens before pooling, or sequences after it.
    pub unit: Unit,
    /// What a router sees of a token.
    pub router_input: RouterInput,
    /// Width of the residual convolution over tokens; odd, or 0 for none.
    pub conv_width: usize,
    /// How tokens become one vector.
    pub pooling: Pooling,
    /// LayerNorm on embeddings, before expert layers and before the classifier. Without it the network
    /// around the experts is linear in the pooled vector, so that only experts can tell domains apart.
    pub layer_norm: bool,
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
            routing: RoutingConfig::default(),
            top_k: 2,
            n_layers: 1,
            unit: Unit::Token,
            router_input: RouterInput::Token,
            conv_width: 0,
            pooling: Pooling::Mean,
            layer_norm: true,
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
        Layout::uniform(self.n_layers, self.layer_kind(), self.routing.n_experts())
    }

    /// Hidden units of an expert. Where a token has one expert, in a dense layer and where experts are assigned, that is
    /// `top_k` times as wide, and stays so when a dense layer is upcycled.
    pub fn expert_width(&self) -> usize {
        match self.routing {
            // Numbers from a checkpoint may be of any size.
            RoutingConfig::Dense {} | RoutingConfig::Assigned { .. } => self.d_ff.saturating_mul(self.top_k),
            RoutingConfig::TopK { .. } | RoutingConfig::TopAny { .. } => self.d_ff,
        }
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

    /// What kind of layer a run starts with.
    pub(crate) fn layer_kind(&self) -> LayerKind {
        match self.routing {
            RoutingConfig::Dense {} => LayerKind::Dense,
            RoutingConfig::TopK { .. } => LayerKind::TopK { k: self.top_k },
            RoutingConfig::TopAny { .. } => LayerKind::TopAny,
            RoutingConfig::Assigned { .. } => LayerKind::Assigned,
        }
    }

    /// Refuses values that no network can have.
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        count("d_model", self.d_model as u64, 1_000_000)?;
        count("d_ff", self.d_ff as u64, 100_000_000)?;
        self.routing.check().map_err(|fault| fault.within("routing"))?;
        count("top_k", self.top_k as u64, MAX_EXPERTS)?;
        count("n_layers", self.n_layers as u64, 1_000)?;
        at_most("conv_width", self.conv_width as u64, 9_999)?;
        if self.conv_width != 0 && self.conv_width.is_multiple_of(2) {
            return Err(ConfigFault::new("conv_width", "must be odd, or 0 for no convolution"));
        }
        at_least_zero("embedding_std", self.embedding_std)?;
        fraction("input_dropout", self.input_dropout)?;
        fraction("output_dropout", self.output_dropout)?;
        fraction("row_dropout", self.row_dropout)
    }
}

/// How tokens (or sequences) get to experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RoutingConfig {
    /// No router: one feed-forward network, as wide as `model.top_k` experts.
    Dense {},
    /// Each goes to the `model.top_k` experts with the highest router probability.
    TopK {
        /// Experts per layer, at the start.
        #[serde(default = "four")]
        n_experts: usize,
    },
    /// Each goes to every expert whose threshold it passes (DynMoE, Guo et al. 2024).
    TopAny {
        /// Experts per layer, at the start.
        #[serde(default = "four")]
        n_experts: usize,
    },
    /// Each goes to the one expert of its text's group; no router learns where. Expert `i` serves group `i`.
    Assigned {
        /// What the group of a text is.
        by: AssignedBy,
        /// Experts per layer, at the start.
        #[serde(default = "four")]
        n_experts: usize,
    },
}

/// What the group of a text is, where experts are assigned by groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignedBy {
    /// Its domain; of a text without one, what naive Bayes over n-grams of characters makes of it.
    Domain,
    /// Its domain in training; of held-out and new texts what naive Bayes over n-grams of characters makes of them, among the domains that
    /// have an expert.
    GuessedDomain,
    /// The cluster it lies in: as many as there are experts at the start, balanced, of the training texts' n-grams of
    /// characters (c-BTM, Gururangan et al. 2023). No label and no domain is looked at.
    Clusters,
}

/// Experts of a layer where nothing else is said.
fn four() -> usize {
    4
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self::TopK { n_experts: four() }
    }
}

impl RoutingConfig {
    /// What texts are assigned by, where no router learns it.
    pub fn assigned_by(&self) -> Option<AssignedBy> {
        match *self {
            Self::Assigned { by, .. } => Some(by),
            Self::Dense {} | Self::TopK { .. } | Self::TopAny { .. } => None,
        }
    }

    /// Experts per layer, at the start: one of a dense layer.
    pub fn n_experts(&self) -> usize {
        match *self {
            Self::Dense {} => 1,
            Self::TopK { n_experts } | Self::TopAny { n_experts } | Self::Assigned { n_experts, .. } => {
                n_experts
            }
        }
    }

    /// The same with so many experts; a dense layer has one.
    #[must_use]
    pub fn with_experts(self, n_experts: usize) -> Self {
        match self {
            Self::Dense {} => self,
            Self::TopK { .. } => Self::TopK { n_experts },
            Self::TopAny { .. } => Self::TopAny { n_experts },
            Self::Assigned { by, .. } => Self::Assigned { by, n_experts },
        }
    }

    fn check(&self) -> Result<(), ConfigFault> {
        match *self {
            Self::Dense {} => Ok(()),
            Self::TopK { n_experts } => count("top_k.n_experts", n_experts as u64, MAX_EXPERTS),
            Self::TopAny { n_experts } => count("top_any.n_experts", n_experts as u64, MAX_EXPERTS),
            Self::Assigned { n_experts, .. } => count("assigned.n_experts", n_experts as u64, MAX_EXPERTS),
        }
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
    /// `[sum / √n ; max]`: `2 · d_model` wide.
    SumMax,
}

impl Pooling {
    /// Width of the vector that tokens `d_model` wide become.
    pub fn width(self, d_model: usize) -> usize {
        match self {
            Self::Mean => d_model,
            Self::SumMax => d_model.saturating_mul(2),
        }
    }
}
