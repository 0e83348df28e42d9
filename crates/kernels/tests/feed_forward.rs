//! The expert feed-forward against plain loops in `f64`: outputs, gradients by finite differences, both forms, and bits that
//! do not depend on the number of threads.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::{Device, Tensor};
use common::{
    assert_close, assert_same_bits_on_any_threads, exact, finite_differences, host, rng, scattered, tensor,
    weighted,
};
use moelt_kernels::{Activation, ExpertGate, ExpertOutput, StackedExperts, composed, expert_feed_forward};
use proptest::prelude::*;
use rand::RngExt;

/// Either form.
type Form = fn(Tensor<2>, &[u32], Tensor<2>, StackedExperts) -> ExpertOutput;

const ACTIVATIONS: [Activation; 3] = [Activation::Relu, Activation::Gelu, Activation::Swiglu];

/// Sizes and choices, and values in the order of [`NAMES`], from `x` on.
#[derive(Clone, Debug)]
struct Case {
    tokens: usize,
    n_experts: usize,
    d_model: usize,
    d_ff: usize,
    activation: Activation,
    expert_indices: Vec<u32>,
    /// The last two are empty without gates.
    values: [Vec<f32>; 8],
    /// What is multiplied with the outputs and summed: the loss whose gradients are compared.
    weights: Vec<f32>,
}

/// Which experts may be chosen.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// Any, without one twice for a token.
    Any,
    /// The first `top_k`, so that all others have no tokens.
    First,
    /// The first `top_k` but for the last token, which goes to the last `top_k`.
    LastTokenElsewhere,
}

impl Case {
    /// With ReLU.
    fn new([tokens, n_experts, top_k, d_model, d_ff]: [usize; 5], choice: Choice, seed: u64) -> Self {
        let mut rng = rng(seed);
        let mut expert_indices: Vec<u32> = Vec::new();
        for token in 0..tokens {
            let mut experts: Vec<u32> = (0..n_experts as u32).collect();
            match choice {
                Choice::Any => experts.sort_by_cached_key(|_| rng.random::<u32>()),
                Choice::LastTokenElsewhere if token + 1 == tokens => experts.reverse(),
                Choice::First | Choice::LastTokenElsewhere => {}
            }
            expert_indices.extend(&experts[..top_k]);
        }
        let mut values = |n: usize| scattered(n, &mut rng);
        let weight = n_experts * d_model * d_ff;
        let lengths =
            [tokens * d_model, tokens * top_k, weight, n_experts * d_ff, weight, n_experts * d_model, 0, 0];
        let (values, weights) = (lengths.map(&mut values), values(tokens * d_model));
        let activation = Activation::Relu;
        Self { tokens, n_experts, d_model, d_ff, activation, expert_indices, values, weights }
    }

    fn with(mut self, activation: Activation) -> Self {
        let mut rng = rng(2 * self.tokens as u64 + 1);
        let n = if activation.is_gated() { self.n_experts * self.d_ff } else { 0 };
        self.values[6] = scattered(self.d_model * n, &mut rng);
        self.values[7] = scattered(n, &mut rng);
        Self { activation, ..self }
    }

    fn top_k(&self) -> usize {
        self.expert_indices.len() / self.tokens
    }

    fn experts(&self, device: &Device) -> StackedExperts {
        let ([e, d, f], tracked) = ([self.n_experts, self.d_model, self.d_ff], device.is_autodiff());
        let [_, _, w_in, b_in, w_out, b_out, w_gate, b_gate] = &self.values;
        let gate = || ExpertGate {
            w_gate: tensor(w_gate, [e, d, f], device).set_require_grad(tracked),
            b_gate: tensor(b_gate, [e, f], device).set_require_grad(tracked),
        };
        StackedExperts {
            w_in: tensor(w_in, [e, d, f], device).set_require_grad(tracked),
            b_in: tensor(b_in, [e, f], device).set_require_grad(tracked),
            w_out: tensor(w_out, [e, f, d], device).set_require_grad(tracked),
            b_out: tensor(b_out, [e, d], device).set_require_grad(tracked),
            gate: self.activation.is_gated().then(gate),
            activation: self.activation,
        }
    }

    /// Outputs, their norms before they are weighted, and the gradients of all inputs.
    fn run(&self, form: Form) -> [Vec<f32>; 10] {
        let device = Device::flex().autodiff();
        let [x, expert_weights, ..] = &self.values;
        let expert_weights = tensor(expert_weights, [self.tokens, self.top_k()], &device).require_grad();
        let x = tensor(x, [self.tokens, self.d_model], &device).require_grad();
        let experts = self.experts(&device);
        let output = form(x.clone(), &self.expert_indices, expert_weights.clone(), experts.clone());
        let ExpertOutput { y, norms } = output;
        let gradients = (y.clone() * tensor(&self.weights, y.dims(), &device)).sum().backward();
        let StackedExperts { w_in, b_in, w_out, b_out, gate, .. } = experts;
        let of_gate = gate.map(|ExpertGate { w_gate, b_gate }| {
            [host(w_gate.grad(&gradients).unwrap()), host(b_gate.grad(&gradients).unwrap())]
        });
        let [w_gate, b_gate] = of_gate.unwrap_or_default();
        [
            host(y.inner()),
            host(norms),
            host(x.grad(&gradients).unwrap()),
            host(expert_weights.grad(&gradients).unwrap()),
            host(w_in.grad(&gradients).unwrap()),
            host(b_in.grad(&gradients).unwrap()),
            host(w_out.grad(&gradients).unwrap()),
            host(b_out.grad(&gradients).unwrap()),
            w_gate,
            b_gate,
        ]
    }

    fn exact_values(&self) -> [Vec<f64>; 8] {
        self.values.each_ref().map(|values| exact(values))
    }

    /// Outputs by plain loops, and the norms of what goes into them.
    fn outputs(&self, values: &[Vec<f64>; 8]) -> [Vec<f64>; 2] {
        let [x, expert_weights, w_in, b_in, w_out, b_out, w_gate, b_gate] = values;
        let (d, f, top_k) = (self.d_model, self.d_ff, self.top_k());
        let (mut y, mut norms) = (vec![0.0; self.tokens * d], Vec::new());
        for (pair, expert) in self.expert_indices.iter().enumerate() {
            let (expert, token) = (*expert as usize, pair / top_k);
            let sum = |weight: &[f64], bias: &[f64], unit: usize| {
                let sum: f64 = (0..d).map(|i| x[token * d + i] * weight[(expert * d + i) * f + unit]).sum();
                sum + bias[expert * f + unit]
            };
            let unit = |unit: usize| {
                let x = sum(w_in, b_in, unit);
                match self.activation {
                    Activation::Relu => x.max(0.0),
                    Activation::Gelu => x * normal_distribution(x),
                    Activation::Swiglu => {
                        let gate = sum(w_gate, b_gate, unit);
                        x * gate / (1.0 + (-gate).exp())
                    }
                }
            };
            let hidden: Vec<f64> = (0..f).map(unit).collect();
            let out = |i: usize| {
                let sum: f64 = (0..f).map(|unit| hidden[unit] * w_out[(expert * f + unit) * d + i]).sum();
                sum + b_out[expert * d + i]
            };
            let out: Vec<f64> = (0..d).map(out).collect();
            norms.push(out.iter().map(|value| value * value).sum::<f64>().sqrt());
            for (i, value) in out.iter().enumerate() {
                y[token * d + i] += expert_weights[pair] * value;
            }
        }
        [y, norms]
    }
}

/// Φ by a series of positive terms: `½ + φ(x) Σ x²ⁿ⁺¹ / (1 · 3 ⋯ (2n + 1))`.
fn normal_distribution(x: f64) -> f64 {
    let (mut term, mut sum) = (x, 0.0);
    for n in 1..200 {
        sum += term;
        term *= x * x / f64::from(2 * n + 1);
    }
    0.5 + (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum
}

const NAMES: [&str; 10] =
    ["y", "norms", "x", "expert_weights", "w_in", "b_in", "w_out", "b_out", "w_gate", "b_gate"];

fn assert_agree(case: &Case) {
    let (fused, composed) = (case.run(expert_feed_forward), case.run(composed::expert_feed_forward));
    for ((name, fused), composed) in NAMES.iter().zip(&fused).zip(&composed) {
        assert_close(name, fused, &exact(composed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn outputs_and_gradients_are_those_of_plain_loops(
        tokens in 1..7usize,
        (n_experts, top_k) in (1..5usize).prop_flat_map(|n| (Just(n), 1..=n)),
        (d_model, d_ff) in (1..5usize, 1..6usize),
        choice in prop_oneof![Just(Choice::Any), Just(Choice::First), Just(Choice::LastTokenElsewhere)],
        activation in proptest::sample::select(&ACTIVATIONS[..]),
        seed: u64,
    ) {
        let case = Case::new([tokens, n_experts, top_k, d_model, d_ff], choice, seed).with(activation);
        let [y, norms, gradients @ ..] = case.run(expert_feed_forward);
        let loss = |inputs: &[Vec<f64>; 8]| weighted(&case.outputs(inputs)[0], &case.weights);
        let expected = finite_differences(case.exact_values(), loss);
        for (is, expected) in [y, norms].iter().zip(case.outputs(&case.exact_values())) {
            assert_close("outputs", is, &expected);
        }
        for ((name, is), expected) in NAMES[2..].iter().zip(gradients).zip(expected) {
            assert_close(name, &is, &expected);
        }
        assert_agree(&case);
    }
}

/// Sizes at which queues are divided and weights have more rows than a task.
#[test]
fn forms_agree_where_work_is_divided() {
    for (sizes, choice) in [
        ([700, 8, 2, 72, 130], Choice::Any),
        ([600, 3, 1, 65, 1], Choice::First),
        ([513, 4, 2, 3, 70], Choice::LastTokenElsewhere),
        ([1, 64, 64, 16, 32], Choice::Any),
    ] {
        let case = Case::new(sizes, choice, 7);
        ACTIVATIONS.into_iter().for_each(|activation| assert_agree(&case.clone().with(activation)));
    }
}

#[test]
fn threads_change_no_bit() {
    let case = Case::new([1500, 4, 2, 40, 150], Choice::LastTokenElsewhere, 3);
    assert_same_bits_on_any_threads(|| case.run(expert_feed_forward));
    // One expert, whose products are divided.
    for activation in [Activation::Gelu, Activation::Swiglu] {
        let case = Case::new([600, 1, 1, 140, 300], Choice::First, 3).with(activation);
        assert_same_bits_on_any_threads(|| case.run(expert_feed_forward));
    }
}

#[test]
fn an_expert_without_tokens_has_gradients_of_zero() {
    for activation in ACTIVATIONS {
        let case = Case::new([5, 3, 1, 4, 6], Choice::First, 1).with(activation);
        let [_, _, _, _, of_experts @ ..] = case.run(expert_feed_forward);
        let there = if activation.is_gated() { 6 } else { 4 };
        for gradient in &of_experts[..there] {
            let (first, others) = gradient.split_at(gradient.len() / 3);
            assert!(first.iter().any(|value| *value != 0.0) && others.iter().all(|value| *value == 0.0));
        }
    }
}

/// Two experts with two hidden units. Token (1, 2): expert 0 has units (1·1 + 2·1, 1·0 + 2·(−1)) + (0, 1) → (3, 0) and
/// gives 3 · (2, 1) + (0, 1) = (6, 4). Expert 1 passes ReLU(1 + 2 − 4) = 0 on in both units and gives its bias, (5, 5).
/// With weights 2 and −1 that is (7, 3).
#[test]
fn hand_worked_outputs_and_gradients() {
    let device = Device::flex().autodiff();
    let experts = StackedExperts {
        w_in: Tensor::from_data([[[1.0, 0.0], [1.0, -1.0]], [[1.0, 1.0], [1.0, 1.0]]], &device)
            .require_grad(),
        b_in: Tensor::from_data([[0.0, 1.0], [-4.0, -4.0]], &device).require_grad(),
        w_out: Tensor::from_data([[[2.0, 1.0], [7.0, 7.0]], [[1.0, 1.0], [1.0, 1.0]]], &device)
            .require_grad(),
        b_out: Tensor::from_data([[0.0, 1.0], [5.0, 5.0]], &device).require_grad(),
        gate: None,
        activation: Activation::Relu,
    };
    let x = Tensor::<2>::from_data([[1.0, 2.0]], &device).require_grad();
    let weights = Tensor::<2>::from_data([[2.0, -1.0]], &device).require_grad();
    let ExpertOutput { y, norms } = expert_feed_forward(x.clone(), &[0, 1], weights.clone(), experts.clone());
    assert_eq!(host(y.clone().inner()), [7.0, 3.0]);
    assert_eq!(host(norms), [52f32.sqrt(), 50f32.sqrt()]);
    let gradients = y.sum().backward();
    assert_eq!(host(weights.grad(&gradients).unwrap()), [10.0, 10.0]);
    // Only the first unit of expert 0 fires. Its gradient is 2 · (2 + 1).
    assert_eq!(host(x.grad(&gradients).unwrap()), [6.0, 6.0]);
    let b_in = host(experts.b_in.grad(&gradients).unwrap());
    assert_eq!(b_in, [6.0, 0.0, 0.0, 0.0]);
    let w_in = host(experts.w_in.grad(&gradients).unwrap());
    assert_eq!(w_in, [6.0, 0.0, 12.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let w_out = host(experts.w_out.grad(&gradients).unwrap());
    assert_eq!(w_out, [6.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(host(experts.b_out.grad(&gradients).unwrap()), [2.0, 2.0, -1.0, -1.0]);
}

/// One expert with one hidden unit and weights of 1 is the activation itself. Slopes are Φ(x) + x φ(x) from tables of the
/// normal distribution: Φ(1) = 0.8413447, φ(1) = 0.2419707, Φ(3) = 0.9986501, φ(3) = 0.0044318.
#[test]
fn hand_worked_gelu() {
    let device = Device::flex().autodiff();
    for form in [expert_feed_forward as Form, composed::expert_feed_forward] {
        let experts = StackedExperts {
            w_in: Tensor::ones([1, 1, 1], &device),
            b_in: Tensor::zeros([1, 1], &device),
            w_out: Tensor::ones([1, 1, 1], &device),
            b_out: Tensor::zeros([1, 1], &device),
            gate: None,
            activation: Activation::Gelu,
        };
        let x = Tensor::<2>::from_data([[1.0], [-1.0], [3.0], [0.0]], &device).require_grad();
        let y = form(x.clone(), &[0; 4], Tensor::ones([4, 1], &device), experts).y;
        assert_close("y", &host(y.clone().inner()), &[0.841_344_7, -0.158_655_26, 2.995_950_2, 0.0]);
        let slopes = [1.083_315_4, -0.083_315_4, 1.011_945_5, 0.5];
        assert_close("x", &host(x.grad(&y.sum().backward()).unwrap()), &slopes);
    }
}

/// One expert with one hidden unit of weight 1, its gate of weight ½ and bias 1: `x silu(x / 2 + 1)`. With x = 2 and σ(2) = 0.8807971 that
/// is 2 · 1.7615942, and the slope 1.7615942 + 2 · ½ · (σ(2) + 2 σ(2) (1 − σ(2))); with x = −2 the gate's sum is 0: silu 0, slope ½.
#[test]
fn hand_worked_swiglu() {
    let device = Device::flex().autodiff();
    for form in [expert_feed_forward as Form, composed::expert_feed_forward] {
        let gate = ExpertGate {
            w_gate: Tensor::full([1, 1, 1], 0.5, &device).require_grad(),
            b_gate: Tensor::ones([1, 1], &device).require_grad(),
        };
        let experts = StackedExperts {
            w_in: Tensor::ones([1, 1, 1], &device),
            b_in: Tensor::zeros([1, 1], &device),
            w_out: Tensor::ones([1, 1, 1], &device),
            b_out: Tensor::zeros([1, 1], &device),
            gate: Some(gate.clone()),
            activation: Activation::Swiglu,
        };
        let x = Tensor::<2>::from_data([[2.0], [-2.0]], &device).require_grad();
        let y = form(x.clone(), &[0; 2], Tensor::ones([2, 1], &device), experts).y;
        assert_close("y", &host(y.clone().inner()), &[3.523_188_3, 0.0]);
        let gradients = y.sum().backward();
        assert_close("x", &host(x.grad(&gradients).unwrap()), &[2.852_378_4, -0.5]);
        // x times the slope: 2 · 1.0907842 − 2 · ½, and for the weight each times x once more.
        assert_close("b_gate", &host(gate.b_gate.grad(&gradients).unwrap()), &[1.181_568_5]);
        assert_close("w_gate", &host(gate.w_gate.grad(&gradients).unwrap()), &[6.363_137_0]);
    }
}

#[test]
#[should_panic(expected = "Swiglu needs a gate")]
fn an_activation_whose_gate_is_missing_is_refused() {
    let experts = Case::new([2, 2, 1, 3, 4], Choice::Any, 1).experts(&Device::flex());
    let experts = StackedExperts { activation: Activation::Swiglu, ..experts };
    experts.forward(Tensor::ones([2, 5, 3], &Device::flex()));
}

#[test]
fn no_tokens_give_no_outputs() {
    let device = Device::flex();
    let experts = Case::new([1, 2, 1, 3, 4], Choice::Any, 1).with(Activation::Swiglu).experts(&device);
    for form in [expert_feed_forward as Form, composed::expert_feed_forward] {
        let (none, weights) = (tensor(&[], [0, 3], &device), tensor(&[], [0, 1], &device));
        let ExpertOutput { y, norms } = form(none, &[], weights, experts.clone());
        assert_eq!((y.dims(), norms.dims()), ([0, 3], [0]));
    }
}

/// As through Burn's activations: it is the loss that reports it.
#[test]
fn a_nan_reaches_the_outputs_of_its_token_alone() {
    for activation in ACTIVATIONS {
        let mut case = Case::new([2, 2, 1, 3, 4], Choice::First, 1).with(activation);
        case.values[0][0] = f32::NAN;
        let [y, ..] = case.run(expert_feed_forward);
        assert!(y[..3].iter().all(|value| value.is_nan()) && y[3..].iter().all(|value| value.is_finite()));
    }
}

#[test]
fn without_a_graph_the_outputs_are_the_same() {
    let device = Device::flex();
    for activation in ACTIVATIONS {
        let case = Case::new([300, 4, 2, 8, 16], Choice::Any, 5).with(activation);
        let [x, expert_weights, ..] = &case.values;
        let (x, weights) = (tensor(x, [300, 8], &device), tensor(expert_weights, [300, 2], &device));
        let ExpertOutput { y, norms } =
            expert_feed_forward(x, &case.expert_indices, weights, case.experts(&device));
        assert_eq!([host(y), host(norms)], case.run(expert_feed_forward)[..2]);
    }
}

#[test]
#[should_panic(expected = "a token for expert 2 of 2")]
fn an_expert_that_is_not_there_is_refused() {
    let mut case = Case::new([2, 2, 1, 3, 4], Choice::Any, 1);
    case.expert_indices[1] = 2;
    case.run(expert_feed_forward);
}

#[test]
#[should_panic(expected = "3 choices for 2 tokens with 1 weights each")]
fn other_choices_than_weights_are_refused() {
    let device = Device::flex();
    let experts = Case::new([2, 2, 1, 3, 4], Choice::Any, 1).experts(&device);
    let (x, weights) = (Tensor::ones([2, 3], &device), Tensor::ones([2, 1], &device));
    expert_feed_forward(x, &[0, 1, 0], weights, experts);
}
