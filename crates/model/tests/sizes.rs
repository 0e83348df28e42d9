//! What is said of a model's size before it is made is true of the model.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use std::collections::BTreeMap;

use burn::tensor::Device;
use moelt_model::ClassifierConfig;
use moelt_schema::{
    Activation, ConvConfig, EncoderConfig, ExpertBlocks, ModelConfig, NormPlacement, Pooling, Positions,
    Streams, TransformerConfig, Unit,
};

use crate::common::{DENSE, TOP_ANY, TOP_K, params};

/// Every combination of what decides which parameters there are, and how large.
fn variants() -> impl Iterator<Item = ClassifierConfig> {
    let routings = [DENSE, TOP_K, TOP_ANY].map(|routing| routing.with_experts(3));
    let around = (0..24).map(|i: usize| ModelConfig {
        unit: [Unit::Token, Unit::Sequence][i % 2],
        encoder: [EncoderConfig::Bag {}, EncoderConfig::Conv(ConvConfig { width: 3 })][i / 2 % 2].clone(),
        activation: [Activation::Gelu, Activation::Swiglu][(i + i / 4) % 2],
        layer_norm: (i / 4).is_multiple_of(2),
        pooling: [Pooling::Mean, Pooling::SumMax, Pooling::Attention][i / 8],
        ..ModelConfig::default()
    });
    let transformers = (0..4).map(|i: usize| ModelConfig {
        encoder: EncoderConfig::Transformer(TransformerConfig {
            n_heads: 2,
            positions: [Positions::Rotary {}, Positions::Learned { n_positions: 5 }][i % 2].clone(),
            norm: [NormPlacement::Pre, NormPlacement::Post][i / 2],
            experts_in: ExpertBlocks::Listed(vec![1]),
            ..TransformerConfig::default()
        }),
        ..ModelConfig::default()
    });
    around.chain(transformers).flat_map(move |model| {
        routings.map(|routing| {
            let model = ModelConfig { d_model: 8, d_ff: 4, top_k: 2, n_layers: 2, routing, ..model.clone() };
            let model = ModelConfig { shared_d_ff: if model.layer_norm { 3 } else { 0 }, ..model };
            ClassifierConfig { layout: model.initial_layout(), model, n_rows: 7, n_classes: 3 }
        })
    })
}

#[test]
fn parameters_foretold_are_those_of_the_model() {
    for config in variants() {
        let made = params(&config.init(&Streams::new(1), &Device::flex()), None);
        let made: BTreeMap<_, _> = made.into_iter().map(|(path, seen)| (path, seen.shape)).collect();
        let foretold: BTreeMap<_, _> = config.parameters().collect();
        assert_eq!(foretold, made, "{:?}", config.model);
        let values: usize = made.values().map(|shape| shape.iter().product::<usize>()).sum();
        assert_eq!(config.n_values(), values as u128);
    }
}
