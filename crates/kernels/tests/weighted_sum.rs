//! Weighted sums against plain loops in `f64`: both forms, there and back.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::{Device, Tensor};
use common::{
    assert_close, assert_same_bits_on_any_threads, exact, finite_differences, host, rng, scattered, tensor,
    weighted,
};
use moelt_kernels::{composed, weighted_sum};
use proptest::prelude::*;

type Form = fn(Tensor<2>, Tensor<2>) -> Tensor<2>;

/// Sizes, and values in the order `outputs`, `weights`.
#[derive(Debug)]
struct Case {
    tokens: usize,
    top_k: usize,
    d_model: usize,
    values: [Vec<f32>; 2],
    weights: Vec<f32>,
}

impl Case {
    fn new([tokens, top_k, d_model]: [usize; 3], seed: u64) -> Self {
        let mut rng = rng(seed);
        let values = [tokens * top_k * d_model, tokens * top_k].map(|n| scattered(n, &mut rng));
        Self { tokens, top_k, d_model, values, weights: scattered(tokens * d_model, &mut rng) }
    }

    /// Sums and the gradients of outputs and weights.
    fn run(&self, form: Form) -> [Vec<f32>; 3] {
        let device = Device::flex().autodiff();
        let [outputs, weights] = &self.values;
        let outputs = tensor(outputs, [self.tokens * self.top_k, self.d_model], &device).require_grad();
        let weights = tensor(weights, [self.tokens, self.top_k], &device).require_grad();
        let y = form(outputs.clone(), weights.clone());
        let gradients = (y.clone() * tensor(&self.weights, y.dims(), &device)).sum().backward();
        let gradient = |x: Tensor<2>| host(x.grad(&gradients).unwrap());
        [host(y.inner()), gradient(outputs), gradient(weights)]
    }

    fn sums(&self, [outputs, weights]: &[Vec<f64>; 2]) -> Vec<f64> {
        let value = |token: usize, i: usize| -> f64 {
            let pairs = token * self.top_k..(token + 1) * self.top_k;
            pairs.map(|pair| weights[pair] * outputs[pair * self.d_model + i]).sum()
        };
        (0..self.tokens)
            .flat_map(|token| (0..self.d_model).map(move |i| (token, i)))
            .map(|(token, i)| value(token, i))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sums_and_gradients_are_those_of_plain_loops(
        tokens in 1..6usize, top_k in 1..4usize, d_model in 1..36usize, seed: u64,
    ) {
        let case = Case::new([tokens, top_k, d_model], seed);
        let inputs = case.values.each_ref().map(|values| exact(values));
        let gradients = finite_differences(inputs.clone(), |inputs| weighted(&case.sums(inputs), &case.weights));
        for form in [weighted_sum as Form, composed::weighted_sum] {
            let [y, is @ ..] = case.run(form);
            assert_close("y", &y, &case.sums(&inputs));
            for ((name, is), expected) in ["outputs", "weights"].iter().zip(&is).zip(&gradients) {
                assert_close(name, is, expected);
            }
        }
    }
}

#[test]
fn forms_agree_where_work_is_divided_and_threads_change_no_bit() {
    let case = Case::new([333, 2, 21], 5);
    for (is, expected) in case.run(weighted_sum).iter().zip(case.run(composed::weighted_sum)) {
        assert_close("", is, &exact(&expected));
    }
    assert_same_bits_on_any_threads(|| case.run(weighted_sum));
}

#[test]
#[should_panic(expected = "expected 4, got 3")]
fn outputs_of_other_pairs_are_refused() {
    let device = Device::flex();
    weighted_sum(Tensor::ones([3, 5], &device), Tensor::ones([2, 2], &device));
}
