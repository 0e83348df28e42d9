//! What the classifier says about its expert axes is what it does, and its layers change size and kind.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::Device;
use common::{DENSE, Seen, TOP_ANY, TOP_K, input, model, model_with, params, resized};
use moelt_model::{Classifier, Mode};
use moelt_schema::{
    Activation, ExpertAxes, ExpertAxis, ExpertRole, LayerId, LayerKind, Layout, ModelConfig, RoutingConfig,
    RowInit, Stream, Streams, uniform,
};

const ROUTINGS: [RoutingConfig; 3] = [DENSE, TOP_K, TOP_ANY];

/// Models of every kind of routing, without gates and with them.
fn models() -> impl Iterator<Item = (RoutingConfig, Classifier)> {
    ROUTINGS.into_iter().flat_map(|routing| {
        [Activation::Relu, Activation::Swiglu]
            .map(|activation| (routing, model_with(activation, routing, &Device::flex())))
    })
}

fn axis_paths(axes: &[ExpertAxis]) -> Vec<&str> {
    axes.iter().map(|axis| axis.param.as_str()).collect()
}

type Expected = (&'static str, Option<usize>, ExpertRole, RowInit);

#[track_caller]
fn assert_first_axes(axes: &[ExpertAxis], expected: &[Expected]) {
    let axis = |&(param, hidden, role, init): &Expected| {
        let (param, layer) = (format!("layers.0.{param}"), LayerId(0));
        ExpertAxis { param, layer, axis: 0, hidden, role, init }
    };
    assert_eq!(axes[..expected.len()], expected.iter().map(axis).collect::<Vec<_>>());
}

#[test]
fn the_axes_of_a_layer() {
    let uniform = |fan_in, stream| RowInit::Uniform { fan_in, stream };
    let axes = model(TOP_K, &Device::flex()).expert_axes();
    let expected = [
        ("router.weight", None, ExpertRole::Router, uniform(5, 4)),
        ("router.bias", None, ExpertRole::RouterBias, RowInit::Zeros),
        ("experts.w_in", Some(2), ExpertRole::Input, uniform(5, 0)),
        ("experts.b_in", Some(1), ExpertRole::Input, uniform(5, 1)),
        ("experts.w_out", Some(1), ExpertRole::Output, uniform(3, 2)),
        ("experts.b_out", None, ExpertRole::Output, uniform(3, 3)),
        ("router.balance_bias", None, ExpertRole::BalanceBias, RowInit::Zeros),
    ];
    assert_first_axes(&axes, &expected);
    assert!(axes[7..].iter().all(|axis| axis.layer == LayerId(1) && axis.param.starts_with("layers.1.")));
    let top_any = [
        ("router.weight", None, ExpertRole::Router, uniform(5, 4)),
        ("router.threshold", None, ExpertRole::Other, RowInit::Zeros),
    ];
    assert_first_axes(&model(TOP_ANY, &Device::flex()).expert_axes(), &top_any);
    let gate = [
        ("experts.w_gate", Some(2), ExpertRole::Input, uniform(5, 5)),
        ("experts.b_gate", Some(1), ExpertRole::Input, uniform(5, 6)),
    ];
    let gated = model_with(Activation::Swiglu, TOP_K, &Device::flex()).expert_axes();
    assert_first_axes(&gated, &[&expected[..], &gate].concat());
}

#[test]
fn a_row_drawn_as_its_axis_says_is_the_models_own_initial_row() {
    for (routing, model) in models() {
        let params = params(&model, None);
        let layout = ModelConfig { routing, n_layers: 2, ..ModelConfig::default() }.initial_layout();
        for axis in model.expert_axes() {
            let Seen { shape, values, .. } = &params[&axis.param];
            let experts = &layout.layer(axis.layer).unwrap().experts;
            assert_eq!(shape[axis.axis], experts.len(), "{}", axis.param);
            assert!(axis.hidden.is_none_or(|at| shape[at] == if experts.len() == 1 { 6 } else { 3 }));
            let n = values.len() / experts.len();
            for (row, expert) in values.chunks_exact(n).zip(experts) {
                let drawn = match axis.init {
                    RowInit::Zeros => vec![0.0; n],
                    RowInit::ByShape => panic!("{} says how it is drawn", axis.param),
                    RowInit::Uniform { fan_in, stream } => {
                        let streams = Streams::new(3);
                        let mut rng = streams.expert(Stream::InitExpert, axis.layer, *expert, stream);
                        uniform(fan_in, n, &mut rng)
                    }
                };
                assert_eq!(row, drawn, "{} of {expert:?}", axis.param);
            }
        }
    }
}

#[test]
fn every_parameter_of_a_layer_with_an_expert_axis_is_named() {
    for (_, model) in models() {
        let axes = model.expert_axes();
        let params = params(&model, None);
        let in_layers = params.keys().filter(|path| path.starts_with("layers.") && !path.contains(".norm."));
        let mut named = axis_paths(&axes);
        named.sort_unstable();
        assert_eq!(named, in_layers.collect::<Vec<_>>());
    }
}

/// Whoever has no gates begins as ever.
#[test]
fn gates_are_more_parameters_and_change_no_others() {
    for routing in ROUTINGS {
        let [without, with] = [Activation::Relu, Activation::Swiglu]
            .map(|activation| params(&model_with(activation, routing, &Device::flex()), None));
        let more = with.keys().filter(|path| !without.contains_key(*path)).map(String::as_str);
        let expected =
            [0, 1].map(|layer| ["b", "w"].map(|part| format!("layers.{layer}.experts.{part}_gate")));
        assert_eq!(more.collect::<Vec<_>>(), expected.concat());
        assert!(without.iter().all(|(path, seen)| with[path] == *seen));
        assert_ne!(with["layers.0.experts.w_gate"].values, with["layers.0.experts.w_in"].values);
    }
}

#[test]
fn a_dense_model_gets_routers_and_loses_them_again() {
    let device = Device::flex().autodiff();
    let dense = model(DENSE, &device);
    let before = params(&dense, None);
    for kind in [LayerKind::TopK { k: 2 }, LayerKind::TopAny] {
        // Surgery has not moved rows yet: there is one expert, whatever the layout says.
        let routed = dense.clone().with_parts_of(&Layout::uniform(2, kind, 4));
        let axes = routed.expert_axes();
        assert_eq!(axis_paths(&axes)[0], "layers.0.router.weight");
        assert_eq!(params(&routed, None)[&axes[0].param].shape, [1, 5]);
        assert_eq!(routed.forward(&input(), Mode::Eval).routing.len(), 2);
        let back = routed.with_parts_of(&Layout::uniform(2, LayerKind::Dense, 1));
        assert_eq!(params(&back, None), before);
        assert_eq!(back.expert_axes(), dense.expert_axes());
    }
}

#[test]
fn parts_that_are_there_are_not_touched() {
    for (kind, layer) in [(TOP_K, LayerKind::TopK { k: 2 }), (TOP_ANY, LayerKind::TopAny)] {
        let model = model(kind, &Device::flex());
        let before = params(&model, None);
        assert_eq!(params(&model.with_parts_of(&Layout::uniform(2, layer, 4)), None), before);
    }
}

#[test]
fn the_number_of_experts_changes_under_the_layer_and_top_k_comes_back() {
    let device = Device::flex().autodiff();
    let tokens = |model: &Classifier| -> f64 {
        model.forward(&input(), Mode::Eval).routing[0].tokens_per_expert.iter().sum()
    };
    let four = model(TOP_K, &device);
    let one = resized(four.clone(), 1);
    let six = resized(one.clone(), 6);
    assert_eq!([&four, &one, &six].map(tokens), [10.0, 5.0, 10.0], "top-2 of 5 tokens, if there are two");
    assert_eq!(six.biases(LayerId(0)), [0.0; 6]);
}
