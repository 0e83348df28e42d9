//! Hand-worked gates of one layer of three experts, in runs of 100 steps.

use moelt_schema::{LayerKind, LayerSums, Layout};

use super::*;
use crate::Action;

const LAYER: LayerId = LayerId(0);

fn layout() -> Layout {
    Layout::uniform(1, LayerKind::TopK { k: 1 }, 3)
}

fn gates(log_alphas: &[f64]) -> L0Gates {
    let gate = |(expert, log_alpha): (u64, &f64)| GateState {
        layer: LAYER,
        expert: ExpertId(expert),
        log_alpha: *log_alpha,
        first: 0.0,
        second: 0.0,
    };
    let gates = (0..).zip(log_alphas).map(gate).collect();
    let state =
        PolicyState { gates: Some(GatesState { gates, ..GatesState::default() }), ..PolicyState::default() };
    let edits = EditsConfig { every: 10, ..EditsConfig::default() };
    L0Gates::new(L0GatesConfig::default(), edits, 1, 100, state)
}

fn decide(policy: &mut L0Gates, step: u64) -> Decision {
    let sums = [LayerSums { tokens: 1.0, tokens_per_expert: vec![1.0; 3], ..LayerSums::zeros(3) }];
    let window = StatsWindow { step, total_steps: 100, sums: &sums, loss: 1.0, ramping_in: &[] };
    assert_eq!(policy.is_due(step), Some(true));
    policy.decide(&window, &layout())
}

fn prunes(experts: &[u64]) -> Vec<Edit> {
    experts.iter().map(|id| Edit::Prune { layer: LAYER, expert: ExpertId(*id) }).collect()
}

#[test]
fn gates_are_there_in_their_period_and_depend_on_seed_and_step() {
    let policy = gates(&[]);
    let there: Vec<u64> = (0..100).filter(|step| !policy.step_biases(*step, &layout()).is_empty()).collect();
    assert_eq!(there, (5..60).collect::<Vec<u64>>());
    let due: Vec<u64> = (0..100).filter(|step| policy.is_due(*step) == Some(true)).collect();
    assert_eq!(due, [10, 20, 30, 40, 50, 60]);
    assert_eq!(policy.step_biases(9, &layout()), policy.step_biases(9, &layout()));
    let even = gates(&[0.0; 3]);
    assert_ne!(even.step_biases(9, &layout()), even.step_biases(10, &layout()));
    let other = L0Gates { streams: Streams::new(2), ..gates(&[0.0; 3]) };
    assert_ne!(even.step_biases(9, &layout()), other.step_biases(9, &layout()));
}

#[test]
fn a_bias_is_the_logarithm_of_a_gate_and_one_expert_is_always_open() {
    assert_eq!(gates(&[50.0, -50.0, 50.0]).step_biases(9, &layout())[&LAYER], [0.0, CLOSED, 0.0]);
    assert_eq!(gates(&[-60.0, -50.0, -70.0]).step_biases(9, &layout())[&LAYER], [CLOSED, 0.0, CLOSED]);
    let policy = gates(&[0.0; 3]);
    let [OfLayer { drawn, .. }] = &policy.drawn(9, &layout())[..] else { panic!("one layer") };
    let biases = policy.step_biases(9, &layout()).remove(&LAYER).unwrap();
    for (drawn, bias) in drawn.iter().zip(biases) {
        assert!((f64::from(bias.exp()) - drawn.z).abs() < 1e-6);
    }
}

#[test]
fn gates_learn_from_the_gradient_and_from_the_price() {
    let mut policy = gates(&[0.0, 50.0, 0.0]);
    let [OfLayer { drawn, .. }] = &policy.drawn(9, &layout())[..] else { panic!("one layer") };
    let drawn = drawn.clone();
    policy.learn_biases(9, &layout(), &StepBiases::from([(LAYER, vec![0.3, 0.3, f32::NAN])]));
    let GatesState { gates, updates, .. } = policy.memory().clone();
    // The first step of Adam is the learning rate, in the direction of the gradient.
    let open = 0.831_822;
    let by_price = 0.008 * open * (1.0 - open);
    let gradient = f64::from(0.3f32) / drawn[0].z.max(1e-3) * drawn[0].slope + by_price;
    assert!(gradient > 0.0 && (gates[0].log_alpha + 0.05).abs() < 1e-6, "{gates:?}");
    assert!((gates[0].first - 0.1 * gradient).abs() < 1e-7);
    assert!((gates[0].second - 0.001 * gradient * gradient).abs() < 1e-7);
    // Wide open the gate has no slope, and the price no effect: 0.008 · e⁻⁵¹ is less than Adam's eps.
    assert!((gates[1].log_alpha - 50.0).abs() < 1e-6);
    assert_eq!((gates[2].log_alpha, updates), (0.0, 1), "what is no number moves no gate");
}

/// Chances to be open: σ(log α + 1.5986).
#[test]
fn gates_that_are_hardly_open_go_and_at_the_end_those_that_are_closed() {
    // 0.083 and 0.52 and 0.99.
    let mut policy = gates(&[-4.0, -1.5, 3.0]);
    let decision = decide(&mut policy, 20);
    assert_eq!(decision.action, Action::Apply(prunes(&[0])));
    let numbers = &decision.evidence.layers[0].numbers;
    assert!((numbers["expert 1: chance to be open"] - 0.524_629).abs() < 1e-3, "{numbers:?}");
    assert_eq!(policy.memory().gates.len(), 2, "a gate goes with its expert");
    // σ(−3) · 1.2 − 0.1 is below 0, though the gate is open with a chance of 0.2.
    assert_eq!(decide(&mut gates(&[-3.0, -1.5, 3.0]), 20).action, Action::Keep);
    let mut over = gates(&[-3.0, -1.5, 3.0]);
    assert!(!over.is_settled());
    assert_eq!(decide(&mut over, 60).action, Action::Apply(prunes(&[0])));
    assert!(over.is_settled() && over.is_due(60) == Some(false));
    // One expert is left at least, the one that is most open.
    assert_eq!(decide(&mut gates(&[-9.0, -5.0, -7.0]), 20).action, Action::Apply(prunes(&[0, 2])));
}
