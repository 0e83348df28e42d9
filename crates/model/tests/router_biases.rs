//! Router biases: they move the routing, training leaves them alone, nobody counts them.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::{module::Module, tensor::Device};
use common::{DENSE, TOP_K, input, model, params, resized};
use moelt_model::{Classifier, Mode};
use moelt_schema::{ExpertAxes, LayerId, LayerKind, Layout};

const OFFSETS: [&str; 4] = [
    "layers.0.router.balance_bias",
    "layers.0.router.bias",
    "layers.1.router.balance_bias",
    "layers.1.router.bias",
];

/// Whether the biases of both layers, and nothing else, are left alone by training.
fn only_biases_are_untrained(model: &Classifier) -> bool {
    let params = params(model, None);
    let untracked = params.iter().filter(|(_, param)| !param.tracked);
    untracked.map(|(path, _)| path.as_str()).eq(OFFSETS)
}

#[test]
fn biases_are_never_trained() {
    let device = Device::flex().autodiff();
    let moe = model(TOP_K, &device);
    let set = moe.clone().with_biases(LayerId(1), &[0.0, 0.5, -0.5, 1.0]);
    let set = set.with_balance_biases(LayerId(0), &[0.25, 0.0, 0.5, -0.75]);
    let mapped = resized(set.clone(), 4);
    let layout = Layout::uniform(2, LayerKind::TopK { k: 2 }, 4);
    let upcycled = model(DENSE, &device).with_parts_of(&layout);
    for model in [moe, set.valid().train(), set.clone(), mapped.valid().train(), mapped, upcycled] {
        assert!(only_biases_are_untrained(&model));
    }
    let again = set.valid().train();
    assert_eq!(again.biases(LayerId(1)), [0.0, 0.5, -0.5, 1.0]);
    assert_eq!(again.balance_biases(LayerId(0)), [0.25, 0.0, 0.5, -0.75]);
    assert_eq!(again.balance_biases(LayerId(1)), [0.0; 4]);
    let plain = model(TOP_K, &Device::flex());
    assert!(only_biases_are_untrained(&plain.train()), "made on a device without gradients");
}

#[test]
fn biases_move_the_routing_and_get_no_gradient() {
    let device = Device::flex().autodiff();
    let model = model(TOP_K, &device).with_biases(LayerId(0), &[9.0, 9.0, -9.0, -9.0]);
    let output = model.forward(&input(), Mode::Eval);
    let sums = &output.routing[0];
    assert_eq!(sums.tokens_per_expert, [5.0, 5.0, 0.0, 0.0]);
    assert!(sums.mass[0] + sums.mass[1] > 4.9);
    assert_eq!(sums.unrouted.tokens, 0.0);
    let loss = output.logits.sum() + output.aux_loss.unwrap();
    let params = params(&model, Some(loss.backward()));
    let without = params.iter().filter(|(_, param)| !param.has_gradient);
    assert!(without.map(|(path, _)| path.as_str()).eq(OFFSETS));
}

#[test]
fn biases_are_not_counted_as_parameters() {
    let [dense, moe] = [DENSE, TOP_K].map(|routing| model(routing, &Device::flex()));
    assert_eq!(dense.n_params(), dense.num_params());
    assert_eq!(moe.n_params(), moe.num_params() - 16);
    assert!(dense.biases(LayerId(0)).is_empty() && dense.balance_biases(LayerId(0)).is_empty());
}

#[test]
#[should_panic(expected = "biases of layer 1 must be [4]")]
fn biases_of_another_number_of_experts_are_refused() {
    let _ = model(TOP_K, &Device::flex()).with_biases(LayerId(1), &[0.0; 3]);
}
