//! Layer normalisation against plain loops in `f64`: both forms, there and back.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::{Device, Tensor};
use common::{
    assert_close, assert_same_bits_on_any_threads, exact, finite_differences, host, rng, scattered, tensor,
    weighted,
};
use moelt_kernels::{composed, layer_norm};
use proptest::prelude::*;

type Form = fn(Tensor<2>, Tensor<1>, Tensor<1>, f64) -> Tensor<2>;

/// Large beside the variance of some rows, so that it matters.
const EPSILON: f64 = 1e-2;

/// Sizes, and values in the order `x`, `gamma`, `beta`.
#[derive(Debug)]
struct Case {
    rows: usize,
    width: usize,
    values: [Vec<f32>; 3],
    weights: Vec<f32>,
}

impl Case {
    fn new(rows: usize, width: usize, seed: u64) -> Self {
        let mut rng = rng(seed);
        let values = [rows * width, width, width].map(|n| scattered(n, &mut rng));
        Self { rows, width, values, weights: scattered(rows * width, &mut rng) }
    }

    /// Outputs and the gradients of `x`, `gamma` and `beta`.
    fn run(&self, form: Form) -> [Vec<f32>; 4] {
        let device = Device::flex().autodiff();
        let [x, gamma, beta] = &self.values;
        let x = tensor(x, [self.rows, self.width], &device).require_grad();
        let [gamma, beta] = [gamma, beta].map(|values| tensor(values, [self.width], &device).require_grad());
        let y = form(x.clone(), gamma.clone(), beta.clone(), EPSILON);
        let gradients = (y.clone() * tensor(&self.weights, y.dims(), &device)).sum().backward();
        let [gamma, beta] = [gamma, beta].map(|vector| host(vector.grad(&gradients).unwrap()));
        [host(y.inner()), host(x.grad(&gradients).unwrap()), gamma, beta]
    }

    fn outputs(&self, [x, gamma, beta]: &[Vec<f64>; 3]) -> Vec<f64> {
        let n = self.width as f64;
        let of_row = |row: &[f64]| {
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
            let scale = (variance + EPSILON).sqrt();
            let value = |i: usize| (row[i] - mean) / scale * gamma[i] + beta[i];
            (0..row.len()).map(value).collect::<Vec<_>>()
        };
        x.chunks_exact(self.width).flat_map(of_row).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn outputs_and_gradients_are_those_of_plain_loops(rows in 1..6usize, width in 1..40usize, seed: u64) {
        let case = Case::new(rows, width, seed);
        let inputs = case.values.each_ref().map(|values| exact(values));
        let gradients = finite_differences(inputs.clone(), |inputs| weighted(&case.outputs(inputs), &case.weights));
        for form in [layer_norm as Form, composed::layer_norm] {
            let [y, is @ ..] = case.run(form);
            assert_close("y", &y, &case.outputs(&inputs));
            for ((name, is), expected) in ["x", "gamma", "beta"].iter().zip(&is).zip(&gradients) {
                assert_close(name, is, expected);
            }
        }
    }
}

#[test]
fn forms_agree_where_work_is_divided_and_threads_change_no_bit() {
    let case = Case::new(333, 21, 5);
    for (is, expected) in case.run(layer_norm).iter().zip(case.run(composed::layer_norm)) {
        assert_close("", is, &exact(&expected));
    }
    assert_same_bits_on_any_threads(|| case.run(layer_norm));
}

#[test]
fn a_nan_reaches_its_row_alone() {
    let mut case = Case::new(2, 3, 1);
    case.values[0][0] = f32::NAN;
    let [y, ..] = case.run(layer_norm);
    assert!(y[..3].iter().all(|value| value.is_nan()) && y[3..].iter().all(|value| value.is_finite()));
}

#[test]
fn no_rows_give_no_rows() {
    let device = Device::flex();
    let (none, vector) = (Tensor::zeros([0, 3], &device), Tensor::ones([3], &device));
    assert_eq!(layer_norm(none, vector.clone(), vector, EPSILON).dims(), [0, 3]);
}
