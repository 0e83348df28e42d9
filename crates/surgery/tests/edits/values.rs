//! Small edits with every value written out.

use std::collections::BTreeMap;

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use moelt_surgery::{
    Trainable, apply,
    optim::{AdamW, AverageState, HostTensor, Optimizer, ParamGroup, ParamState, WeightAverage, export},
    schema::{Edit, Evidence, ExpertAxes, ExpertAxis, ExpertInit, LayerKind, Layout, Plan, RowInit},
};

use crate::{
    support::{copy, grow, merge, prune, reorder, split},
    toy::param,
};

/// Three experts of two hidden units each, d_model = 1.
#[derive(Module, Debug)]
struct Trio {
    /// `[n_experts, d_model, d_ff]`
    w_in: Param<Tensor<3>>,
    /// `[d_ff, n_experts, d_model]`: experts on axis 1.
    w_out: Param<Tensor<3>>,
    /// `[n_experts, d_model]`
    router: Param<Tensor<2>>,
    /// `[n_experts]`
    offset: Param<Tensor<1>>,
}

impl Trio {
    fn new() -> Self {
        let device = Device::flex();
        Self {
            w_in: param(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [3, 1, 2], &device),
            w_out: param(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [2, 3, 1], &device),
            router: param(vec![10.0, 20.0, 30.0], [3, 1], &device),
            offset: param(vec![0.0, -1.0, -2.0], [3], &device).set_require_grad(false),
        }
    }
}

impl ExpertAxes for Trio {
    fn expert_axes(&self) -> Vec<ExpertAxis> {
        let axes = [
            ExpertAxis::input("w_in"),
            ExpertAxis::output("w_out").on_axis(1).with_hidden(0),
            ExpertAxis::router("router"),
            ExpertAxis::router_bias("offset"),
        ];
        axes.map(|axis| axis.with_init(RowInit::Zeros)).to_vec()
    }
}

/// Moments 1, 2, 3, … and 7, 8, 9, …, steps 5, 6, 7 in `w_out`; no other parameter had a gradient yet.
fn optimizer() -> Optimizer {
    let iota = |from: usize| (from..from + 6).map(|value| value as f32).collect();
    let state =
        ParamState { shape: vec![2, 3, 1], moment_1: iota(1), moment_2: iota(7), steps: vec![5, 6, 7] };
    Optimizer::new(AdamW::default(), ParamGroup::default())
        .with_state(BTreeMap::from([("w_out".to_owned(), state)]))
}

/// Averages that are 100 more than the weights, after 2, 3 and 4 updates.
fn average(trio: &Trio) -> WeightAverage {
    let of_param = |(path, HostTensor { shape, data }): (String, HostTensor)| {
        let data = data.into_iter().map(|value| value + 100.0).collect();
        let row_axis = Some(usize::from(path == "w_out"));
        let state = AverageState { weights: HostTensor { shape, data }, row_axis, updates: vec![2, 3, 4] };
        (path, state)
    };
    WeightAverage::with_state(export(trio).into_iter().map(of_param).collect(), 0.9, 1)
}

pub(crate) struct Edited {
    pub(crate) weights: BTreeMap<String, HostTensor>,
    pub(crate) state: ParamState,
    pub(crate) average: BTreeMap<String, AverageState>,
}

impl Edited {
    pub(crate) fn by(edits: Vec<Edit>) -> Self {
        let trio = Trio::new();
        let layout = Layout::uniform(1, LayerKind::TopK { k: 2 }, 3);
        let plan = Plan { step: 7, edits, reason: "values".into(), evidence: Evidence::default() };
        let plan = plan.check(&layout, 1..).unwrap();
        let average = Some(average(&trio));
        let trainable = Trainable { average, ..Trainable::new(trio, optimizer()) };
        let Trainable { module, optimizer, average } = apply(&trainable, &plan, 0).unwrap().trainable;
        assert_eq!(optimizer.state().keys().collect::<Vec<_>>(), ["w_out"]);
        let state = optimizer.state()["w_out"].clone();
        Self { weights: export(&module), state, average: average.unwrap().state().clone() }
    }

    #[track_caller]
    pub(crate) fn assert_weights<const N: usize>(&self, param: &str, shape: &[usize], data: [f32; N]) {
        assert_eq!(self.weights[param].shape, shape, "{param}");
        assert_eq!(self.weights[param].data, data, "{param}");
    }
}

#[test]
fn a_copy_is_its_parent_without_what_the_optimizer_remembers() {
    let edited = Edited::by(vec![grow(0, 3, copy(1, 0.0))]);
    edited.assert_weights("w_in", &[4, 1, 2], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 2.0, 3.0]);
    edited.assert_weights("w_out", &[2, 4, 1], [0.0, 1.0, 2.0, 1.0, 3.0, 4.0, 5.0, 4.0]);
    edited.assert_weights("router", &[4, 1], [10.0, 20.0, 30.0, 20.0]);
    edited.assert_weights("offset", &[4], [0.0, -1.0, -2.0, -1.0]);
    assert_eq!(edited.state.moment_1, [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0]);
    assert_eq!(edited.state.moment_2, [7.0, 8.0, 9.0, 0.0, 10.0, 11.0, 12.0, 0.0]);
    assert_eq!(edited.state.steps, [5, 6, 7, 0]);
    let average = &edited.average["w_out"];
    assert_eq!(average.weights.data, [100.0, 101.0, 102.0, 101.0, 103.0, 104.0, 105.0, 104.0]);
    assert_eq!((&average.updates[..], average.row_axis), (&[2, 3, 4, 3][..], Some(1)));
}

#[test]
fn a_fresh_expert_begins_as_its_axes_say_and_an_aimed_one_in_its_direction() {
    let aimed = ExpertInit::Aimed { direction: vec![7.0] };
    let edited = Edited::by(vec![grow(0, 3, ExpertInit::Fresh), grow(0, 4, aimed)]);
    edited.assert_weights("w_out", &[2, 5, 1], [0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 5.0, 0.0, 0.0]);
    edited.assert_weights("router", &[5, 1], [10.0, 20.0, 30.0, 0.0, 7.0]);
    assert_eq!(edited.state.steps, [5, 6, 7, 0, 0]);
    assert_eq!(edited.average["router"].weights.data, [110.0, 120.0, 130.0, 0.0, 7.0]);
    assert_eq!(edited.average["router"].updates, [2, 3, 4, 0, 0]);
}

#[test]
fn a_pruned_expert_takes_everything_with_it() {
    let edited = Edited::by(vec![prune(0, 1)]);
    edited.assert_weights("w_in", &[2, 1, 2], [0.0, 1.0, 4.0, 5.0]);
    edited.assert_weights("w_out", &[2, 2, 1], [0.0, 2.0, 3.0, 5.0]);
    edited.assert_weights("router", &[2, 1], [10.0, 30.0]);
    edited.assert_weights("offset", &[2], [0.0, -2.0]);
    assert_eq!(edited.state.moment_1, [1.0, 3.0, 4.0, 6.0]);
    assert_eq!(edited.state.steps, [5, 7]);
    assert_eq!(edited.average["w_out"].weights.data, [100.0, 102.0, 103.0, 105.0]);
    assert_eq!(edited.average["w_out"].updates, [2, 4]);
}

/// Units of expert 0 are (in 0, out 0) and (1, 3), of expert 2 (4, 2) and (5, 5). As they are, their inner
/// products sum to 0 + 20; crossed, to 0 + 10. So unit goes to unit, and a quarter of expert 2 comes in.
#[test]
fn a_merged_expert_is_the_weighted_mean_and_new_to_the_optimizer() {
    let edited = Edited::by(vec![merge(0, 2, 0, 0.25)]);
    edited.assert_weights("w_in", &[2, 1, 2], [1.0, 2.0, 2.0, 3.0]);
    edited.assert_weights("w_out", &[2, 2, 1], [0.5, 1.0, 3.5, 4.0]);
    edited.assert_weights("router", &[2, 1], [15.0, 20.0]);
    edited.assert_weights("offset", &[2], [-0.5, -1.0]);
    assert_eq!(edited.state.moment_1, [0.0, 2.0, 0.0, 5.0]);
    assert_eq!(edited.state.steps, [0, 6]);
    assert_eq!(edited.average["w_out"].weights.data, [100.5, 101.0, 103.5, 104.0]);
    assert_eq!(edited.average["w_out"].updates, [2, 3]);
}

/// Only offsets change in the parent, which keeps its past, its average too.
#[test]
fn the_halves_of_a_split_share_offset_and_weights() {
    let edited = Edited::by(vec![grow(0, 3, split(1))]);
    edited.assert_weights("w_out", &[2, 4, 1], [0.0, 1.0, 2.0, 1.0, 3.0, 4.0, 5.0, 4.0]);
    let half = -1.0 - std::f32::consts::LN_2;
    edited.assert_weights("offset", &[4], [0.0, half, -2.0, half]);
    assert_eq!(edited.state.steps, [5, 6, 7, 0]);
    assert_eq!(
        edited.average["w_out"].weights.data,
        [100.0, 101.0, 102.0, 101.0, 103.0, 104.0, 105.0, 104.0]
    );
    assert_eq!(edited.average["w_out"].updates, [2, 3, 4, 3]);
}

/// All refer to the experts before the plan, wherever they stand in it.
#[test]
fn several_edits_at_once() {
    let edited = Edited::by(vec![grow(0, 3, copy(2, 0.0)), prune(0, 1), grow(0, 4, ExpertInit::Fresh)]);
    edited.assert_weights("router", &[4, 1], [10.0, 30.0, 30.0, 0.0]);
    edited.assert_weights("w_out", &[2, 4, 1], [0.0, 2.0, 2.0, 0.0, 3.0, 5.0, 5.0, 0.0]);
    assert_eq!(edited.state.steps, [5, 7, 0, 0]);
}

#[test]
fn another_order() {
    let edited = Edited::by(vec![reorder(0, &[2, 0, 1])]);
    edited.assert_weights("router", &[3, 1], [30.0, 10.0, 20.0]);
    edited.assert_weights("w_out", &[2, 3, 1], [2.0, 0.0, 1.0, 5.0, 3.0, 4.0]);
    assert_eq!(edited.state.moment_2, [9.0, 7.0, 8.0, 12.0, 10.0, 11.0]);
    assert_eq!(edited.state.steps, [7, 5, 6]);
}
