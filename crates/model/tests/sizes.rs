//! What is said of a model's size before it is made is true of the model.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use std::collections::BTreeMap;

use burn::tensor::Device;
use moelt_model::ClassifierConfig;
use moelt_schema::{ModelConfig, Pooling, Streams, Unit};

use crate::common::{DENSE, TOP_ANY, TOP_K, params};

/// Every combination of what decides which parameters there are, and how large.
fn variants() -> impl Iterator<Item = ClassifierConfig> {
    let routings = [DENSE, TOP_K, TOP_ANY].map(|routing| routing.with_experts(3));
    let units = [Unit::Token, Unit::Sequence];
    let poolings = [Pooling::Mean, Pooling::SumMax];
    (0..48).map(move |i: usize| {
        let model = ModelConfig {
            d_model: 5,
            d_ff: 4,
            top_k: 2,
            n_layers: 2,
            routing: routings[i % 3],
            unit: units[i / 3 % 2],
            pooling: poolings[i / 6 % 2],
            conv_width: [0, 3][i / 12 % 2],
            layer_norm: i / 24 == 0,
            ..ModelConfig::default()
        };
        ClassifierConfig { layout: model.initial_layout(), model, n_rows: 7, n_classes: 3 }
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
