//! How the tokens of a text get to know of one another.

use serde::{Deserialize, Serialize};

use super::ModelConfig;
use crate::config::{
    ConfigFault,
    bounds::{at_most, count, fraction},
    choice::choice,
};

/// How the tokens of a text get to know of one another before they are pooled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EncoderConfig {
    /// Not at all: a text is a bag of tokens.
    Bag {},
    /// By a residual convolution before the first layer.
    Conv(ConvConfig),
    /// By self-attention before every layer, which then is the feed-forward part of a transformer block.
    Transformer(TransformerConfig),
}

/// A residual convolution over tokens (Kim 2014).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvConfig {
    /// Tokens that a token sees, itself in the middle; odd.
    pub width: usize,
}

/// Blocks of self-attention and feed-forward networks (Vaswani et al. 2017), `model.n_layers` of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformerConfig {
    /// Attention heads, which share `model.d_model` evenly.
    pub n_heads: usize,
    /// How a token knows where it stands.
    #[serde(deserialize_with = "choice")]
    pub positions: Positions,
    /// Where a block normalises.
    pub norm: NormPlacement,
    /// Which blocks have experts, of the kind `model.routing` says; the others are dense.
    pub experts_in: ExpertBlocks,
    /// Dropout on what attention and feed-forward networks add to a token.
    pub dropout: f64,
}

/// How a token knows where in its text it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Positions {
    /// Queries and keys are turned by an angle that grows with the position (RoPE, Su et al. 2021).
    Rotary {},
    /// A vector of its own for each position is added to the token.
    Learned {
        /// Positions that have one; `text.max_tokens` may not be larger.
        n_positions: usize,
    },
}

/// Where a block normalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPlacement {
    /// What goes into attention and feed-forward networks: `x + f(LayerNorm(x))` (Xiong et al. 2020).
    Pre,
    /// What comes out with what went in: `LayerNorm(x + f(x))`, as in BERT. There is no norm before the classifier then.
    Post,
}

/// Which blocks of a transformer have experts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "`\"every\"`, `\"every_second\"` or a list of blocks, such as [1, 3]")]
pub enum ExpertBlocks {
    /// By a rule.
    Rule(ExpertBlockRule),
    /// By their numbers, from 0.
    Listed(Vec<usize>),
}

/// A rule by which blocks have experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpertBlockRule {
    /// All of them.
    Every,
    /// Those with odd numbers, as in GShard (Lepikhin et al. 2020).
    EverySecond,
}

impl Default for ConvConfig {
    fn default() -> Self {
        Self { width: 3 }
    }
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            n_heads: 4,
            positions: Positions::Rotary {},
            norm: NormPlacement::Pre,
            experts_in: ExpertBlocks::Rule(ExpertBlockRule::Every),
            dropout: 0.0,
        }
    }
}

impl EncoderConfig {
    /// The convolution, if it is one.
    pub fn conv(&self) -> Option<&ConvConfig> {
        match self {
            Self::Conv(conv) => Some(conv),
            Self::Bag {} | Self::Transformer(_) => None,
        }
    }

    /// The convolution, to be changed.
    pub fn conv_mut(&mut self) -> Option<&mut ConvConfig> {
        match self {
            Self::Conv(conv) => Some(conv),
            Self::Bag {} | Self::Transformer(_) => None,
        }
    }

    /// The transformer, if it is one.
    pub fn transformer(&self) -> Option<&TransformerConfig> {
        match self {
            Self::Transformer(transformer) => Some(transformer),
            Self::Bag {} | Self::Conv(_) => None,
        }
    }

    /// Where layers normalise.
    pub fn norm_placement(&self) -> NormPlacement {
        self.transformer().map_or(NormPlacement::Pre, |transformer| transformer.norm)
    }

    /// Whether a layer has what `model.routing` says; any other is dense.
    pub(super) fn has_experts_in(&self, layer: usize) -> bool {
        self.transformer().is_none_or(|transformer| transformer.experts_in.contains(layer))
    }

    pub(super) fn check(&self, model: &ModelConfig) -> Result<(), ConfigFault> {
        match self {
            Self::Bag {} => Ok(()),
            Self::Conv(conv) => conv.check().map_err(|fault| fault.within("conv")),
            Self::Transformer(transformer) => {
                transformer.check(model).map_err(|fault| fault.within("transformer"))
            }
        }
    }
}

impl ExpertBlocks {
    /// Refuses blocks that are not there.
    pub(super) fn check(&self, key: &str, n_blocks: usize) -> Result<(), ConfigFault> {
        let Self::Listed(blocks) = self else { return Ok(()) };
        match blocks.iter().find(|block| **block >= n_blocks) {
            None => at_most(key, blocks.len() as u64, n_blocks as u64),
            Some(beyond) => {
                let message = format!("has {beyond}; they are 0 to {}", n_blocks.saturating_sub(1));
                Err(ConfigFault::new(key, message))
            }
        }
    }

    /// Whether a block has experts.
    pub fn contains(&self, block: usize) -> bool {
        match self {
            Self::Rule(ExpertBlockRule::Every) => true,
            Self::Rule(ExpertBlockRule::EverySecond) => block % 2 == 1,
            Self::Listed(blocks) => blocks.contains(&block),
        }
    }
}

impl ConvConfig {
    fn check(&self) -> Result<(), ConfigFault> {
        count("width", self.width as u64, 9_999)?;
        if self.width.is_multiple_of(2) {
            return Err(ConfigFault::new(
                "width",
                "must be odd, so that a token is in the middle of what it sees",
            ));
        }
        Ok(())
    }
}

impl TransformerConfig {
    fn check(&self, model: &ModelConfig) -> Result<(), ConfigFault> {
        count("n_heads", self.n_heads as u64, 1_000)?;
        if !model.d_model.is_multiple_of(self.n_heads) {
            let message =
                format!("is {}, which does not divide model.d_model = {}", self.n_heads, model.d_model);
            return Err(ConfigFault::new("n_heads", message));
        }
        match self.positions {
            Positions::Learned { n_positions } => {
                count("positions.learned.n_positions", n_positions as u64, 1_000_000)?;
            }
            Positions::Rotary {} if !(model.d_model / self.n_heads).is_multiple_of(2) => {
                let message = "turns pairs of numbers: model.d_model / n_heads must be even";
                return Err(ConfigFault::new("positions.rotary", message));
            }
            Positions::Rotary {} => {}
        }
        self.experts_in.check("experts_in", model.n_layers)?;
        fraction("dropout", self.dropout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerKind, RoutingConfig, Unit};

    fn model(experts_in: ExpertBlocks) -> ModelConfig {
        let transformer = TransformerConfig { experts_in, ..TransformerConfig::default() };
        ModelConfig {
            n_layers: 4,
            routing: RoutingConfig::TopK { n_experts: 3 },
            encoder: EncoderConfig::Transformer(transformer),
            ..ModelConfig::default()
        }
    }

    #[test]
    fn blocks_without_experts_are_dense_and_as_wide_as_the_experts_of_a_token() {
        for (experts_in, expected) in [
            (ExpertBlocks::Rule(ExpertBlockRule::Every), [3, 3, 3, 3]),
            (ExpertBlocks::Rule(ExpertBlockRule::EverySecond), [1, 3, 1, 3]),
            (ExpertBlocks::Listed(vec![0]), [3, 1, 1, 1]),
        ] {
            let model = model(experts_in);
            assert_eq!(model.check(), Ok(()));
            let layout = model.initial_layout();
            assert!(model.starts_with(&layout));
            let numbers: Vec<usize> = layout.layers().iter().map(|layer| layer.n_experts()).collect();
            assert_eq!(numbers, expected);
            for (at, layer) in (0..).map(crate::LayerId).zip(layout.layers()) {
                let width = if layer.kind == LayerKind::Dense { 128 } else { 64 };
                assert_eq!(model.expert_width(at), width);
            }
        }
    }

    #[test]
    fn what_no_transformer_can_have_is_refused_by_key() {
        let refused = |change: fn(&mut ModelConfig, &mut TransformerConfig)| {
            let (mut model, mut transformer) =
                (model(ExpertBlocks::Listed(vec![])), TransformerConfig::default());
            change(&mut model, &mut transformer);
            model.encoder = EncoderConfig::Transformer(transformer);
            model.check().unwrap_err().key
        };
        assert_eq!(refused(|_, t| t.n_heads = 3), "encoder.transformer.n_heads");
        assert_eq!(refused(|_, t| t.n_heads = 64), "encoder.transformer.positions.rotary");
        assert_eq!(refused(|_, t| t.dropout = 1.0), "encoder.transformer.dropout");
        assert_eq!(
            refused(|_, t| t.experts_in = ExpertBlocks::Listed(vec![4])),
            "encoder.transformer.experts_in"
        );
        assert_eq!(refused(|m, _| m.unit = Unit::Sequence), "unit");
        assert_eq!(refused(|m, _| m.layer_norm = false), "layer_norm");
    }
}
