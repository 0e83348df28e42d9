//! What a router may be told beside the number of experts per token: jitter, a shared expert, capacity.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::{
    module::Param,
    tensor::{Device, Tensor},
};
use common::{TOP_K, input, params};
use moelt_model::{Classifier, ClassifierConfig, LayerContext, Mode, MoeLayerConfig};
use moelt_schema::{Activation, LayerId, LayerKind, ModelConfig, Stream, Streams};

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

/// Routed experts that add nothing: `(1, 1)` has `relu(1 · 1 + 2 · 1 + ½) = 3½`, and `3½ · (3, −1) + (¼, 0)` is added to it.
#[test]
fn a_shared_expert_adds_its_part_to_every_token() {
    let device = Device::flex();
    for kind in [LayerKind::TopK { k: 1 }, LayerKind::TopAny] {
        let config = MoeLayerConfig::new(2, 1).with_n_experts(2).with_kind(kind).with_layer_norm(false);
        let mut layer = config.with_shared_d_ff(1).init(&device);
        layer.experts.w_out = Param::from_tensor(Tensor::zeros([2, 1, 2], &device));
        layer.experts.b_out = Param::from_tensor(Tensor::zeros([2, 2], &device));
        let shared = layer.shared.as_mut().unwrap();
        shared.w_in = Param::from_data([[[1.0], [2.0]]], &device);
        shared.b_in = Param::from_data([[0.5]], &device);
        shared.w_out = Param::from_data([[[3.0, -1.0]]], &device);
        shared.b_out = Param::from_data([[0.25, 0.0]], &device);
        let x = Tensor::<2>::from_data([[1.0, 1.0], [-1.0, 0.0]], &device);
        assert_eq!(values(layer.forward(x).x), [11.75, -2.5, -0.75, 0.0]);
    }
}

/// `(1, 1)` has the unit 3½ and the gate ½ · 4 − 2 = 0 or 1: silu(0) = 0, and silu(1) = σ(1).
#[test]
fn a_shared_expert_has_gates_as_the_others_do() {
    let device = Device::flex();
    let config = MoeLayerConfig::new(2, 1).with_n_experts(2).with_layer_norm(false).with_shared_d_ff(1);
    let mut layer = config.with_activation(Activation::Swiglu).init(&device);
    layer.experts.w_out = Param::from_tensor(Tensor::zeros([2, 1, 2], &device));
    layer.experts.b_out = Param::from_tensor(Tensor::zeros([2, 2], &device));
    for (bias, open) in [(-2.0, 0.0), (-1.0, 1.0 / (1.0 + (-1f32).exp()))] {
        let shared = layer.shared.as_mut().unwrap();
        shared.w_in = Param::from_data([[[1.0], [2.0]]], &device);
        shared.b_in = Param::from_data([[0.5]], &device);
        shared.w_gate = Some(Param::from_data([[[0.5], [1.5]]], &device));
        shared.b_gate = Some(Param::from_data([[bias]], &device));
        shared.w_out = Param::from_data([[[3.0, -1.0]]], &device);
        shared.b_out = Param::from_data([[0.25, 0.0]], &device);
        let x = values(layer.forward(Tensor::from_data([[1.0, 1.0]], &device)).x);
        let expected = [1.25 + 3.0 * 3.5 * open, 1.0 - 3.5 * open];
        assert!(
            x.iter().zip(expected).all(|(is, expected)| (is - expected).abs() < 1e-5),
            "{x:?} {expected:?}"
        );
    }
}

#[test]
fn a_shared_expert_begins_with_weights_of_its_own_and_changes_no_others() {
    let (without, with) = (params(&model(|_| {}), None), params(&model(|model| model.shared_d_ff = 4), None));
    let more: Vec<&str> =
        with.keys().filter(|path| !without.contains_key(*path)).map(String::as_str).collect();
    let parts = ["b_in", "b_out", "w_in", "w_out"];
    assert_eq!(more, [0, 1].map(|layer| parts.map(|part| format!("layers.{layer}.shared.{part}"))).concat());
    assert!(without.iter().all(|(path, seen)| with[path] == *seen));
    assert_eq!(with["layers.0.shared.w_in"].shape, [1, 5, 4]);
    assert_ne!(with["layers.0.shared.w_in"].values, with["layers.1.shared.w_in"].values);
    let gated = params(&model(|model| (model.shared_d_ff, model.activation) = (4, Activation::Swiglu)), None);
    assert!(with.iter().all(|(path, seen)| gated[path] == *seen));
    assert_eq!(gated["layers.1.shared.w_gate"].shape, [1, 5, 4]);
}

#[test]
fn balance_biases_send_tokens_elsewhere_and_leave_the_probabilities() {
    let plain = model(|model| model.n_layers = 1);
    let balanced = plain.clone().with_balance_biases(LayerId(0), &[9.0, 9.0, -9.0, -9.0]);
    let [plain, balanced] = [plain, balanced].map(|model| model.forward(&input(), Mode::Eval));
    assert_eq!(balanced.routing[0].tokens_per_expert, [5.0, 5.0, 0.0, 0.0]);
    assert_eq!(balanced.routing[0].mass, plain.routing[0].mass);
    assert_eq!(balanced.routing[0].entropy, plain.routing[0].entropy);
}

#[test]
fn capacity_is_of_training_alone() {
    let (plain, narrow) = (model(|_| {}), model(|model| model.capacity_factor = Some(0.5)));
    assert_eq!(
        values(plain.forward(&input(), Mode::Eval).logits),
        values(narrow.forward(&input(), Mode::Eval).logits)
    );
    let mut rng = Streams::new(1).rng(Stream::Dropout, 1);
    let output = narrow.forward(&input(), Mode::Train(&mut rng));
    // ⌈0.5 · 5 · 2 / 4⌉ = 2 places of each of four experts, for ten pairs.
    assert!(output.routing.iter().all(|sums| sums.dropped >= 2.0));
    assert!(plain.forward(&input(), Mode::Eval).routing.iter().all(|sums| sums.dropped == 0.0));
}

#[test]
fn expert_choice_is_of_training_alone_and_gives_all_experts_as_many_tokens() {
    let (plain, chosen) = (model(|_| {}), model(|model| model.expert_choice = true));
    let evaluated = |model: &Classifier| model.forward(&input(), Mode::Eval);
    // The same experts, with probabilities as they are for weights: they add less than when they sum to 1.
    let (of_plain, of_chosen) = (evaluated(&plain).routing, evaluated(&chosen).routing);
    assert_eq!(of_plain[0].tokens_per_expert, of_chosen[0].tokens_per_expert);
    assert!((of_plain[0].expert_weight.iter().sum::<f64>() - 5.0).abs() < 1e-5);
    assert!(of_chosen[0].expert_weight.iter().sum::<f64>() < 4.9);
    let mut rng = Streams::new(1).rng(Stream::Dropout, 1);
    let output = chosen.forward(&input(), Mode::Train(&mut rng));
    for sums in &output.routing {
        // ⌈5 · 2 / 4⌉ of five tokens.
        assert_eq!(sums.tokens_per_expert, [3.0; 4]);
        assert_eq!(sums.tokens, 5.0);
        assert!((sums.mass.iter().sum::<f64>() - 5.0).abs() < 1e-5);
    }
    assert!(output.aux_loss.is_none() && output.routed.is_empty());
    // Twelve pairs in each layer, as was foretold.
    assert_eq!(output.flops.unpadded, chosen.unpadded_forward_flops(&input()));
    assert!(plain.forward(&input(), Mode::Eval).routing.iter().all(|sums| sums.unrouted.tokens == 0.0));
}
