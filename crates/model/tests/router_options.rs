//! What a router may be told beside the number of experts per token: jitter.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::{Device, Tensor};
use common::{TOP_K, input};
use moelt_model::{Classifier, ClassifierConfig, LayerContext, Mode, MoeLayerConfig};
use moelt_schema::{ModelConfig, Stream, Streams};

fn model(change: impl Fn(&mut ModelConfig)) -> Classifier {
    let mut model =
        ModelConfig { d_model: 5, d_ff: 3, routing: TOP_K, n_layers: 2, ..ModelConfig::default() };
    change(&mut model);
    let config = ClassifierConfig { layout: model.initial_layout(), model, n_rows: 9, n_classes: 3 };
    config.init(&Streams::new(3), &Device::flex())
}

fn values(x: Tensor<2>) -> Vec<f32> {
    x.try_into_vec_as().unwrap()
}

/// Logits in the training of a step.
fn trained(model: &Classifier, step: u64) -> Vec<f32> {
    let mut rng = Streams::new(1).rng(Stream::Dropout, step);
    values(model.forward(&input(), Mode::Train(&mut rng)).logits)
}

#[test]
fn jitter_is_of_training_alone_and_repeats_with_its_stream() {
    let (plain, jittered) = (model(|_| {}), model(|model| model.router_jitter = 0.5));
    let evaluated = |model: &Classifier| values(model.forward(&input(), Mode::Eval).logits);
    assert_eq!(evaluated(&plain), evaluated(&jittered));
    assert_eq!(trained(&plain, 1), evaluated(&plain), "without jitter nothing is drawn");
    assert_eq!(trained(&jittered, 1), trained(&jittered, 1));
    assert_ne!(trained(&jittered, 1), trained(&jittered, 2));
    assert_ne!(trained(&jittered, 1), trained(&plain, 1));
}

#[test]
fn jitter_is_seen_by_the_router_alone() {
    let device = Device::flex();
    let layer = MoeLayerConfig::new(2, 3).with_n_experts(3).with_layer_norm(false).init(&device);
    let x = Tensor::<2>::from_data([[1.0, -2.0], [0.5, 4.0]], &device);
    let jitter = Tensor::<2>::from_data([[1.25, 0.75], [1.0, 1.5]], &device);
    let context = LayerContext { router_jitter: Some(jitter), ..LayerContext::default() };
    let routed = layer.forward_in(x.clone(), context).routed.unwrap();
    assert_eq!(values(routed.seen), [1.25, -1.5, 0.5, 6.0]);
    assert_eq!(values(routed.inputs), values(x));
}
