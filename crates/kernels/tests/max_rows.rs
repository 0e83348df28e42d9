//! Largest values against plain loops: both forms, there and back.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::{Device, Tensor};
use common::{
    assert_close, assert_same_bits_on_any_threads, exact, finite_differences, host, rng, scattered, tensor,
    weighted,
};
use moelt_kernels::{composed, max_rows};
use proptest::prelude::*;

type Form = fn(Tensor<2>, &[usize]) -> Tensor<2>;

#[derive(Debug)]
struct Case {
    lengths: Vec<usize>,
    width: usize,
    x: Vec<f32>,
    weights: Vec<f32>,
}

impl Case {
    fn new(lengths: Vec<usize>, width: usize, seed: u64) -> Self {
        let mut rng = rng(seed);
        let x = scattered(lengths.iter().sum::<usize>() * width, &mut rng);
        let weights = scattered(lengths.len() * width, &mut rng);
        Self { lengths, width, x, weights }
    }

    /// Largest values and the gradient of `x`.
    fn run(&self, form: Form) -> [Vec<f32>; 2] {
        let device = Device::flex().autodiff();
        let rows = self.lengths.iter().sum();
        let x = tensor(&self.x, [rows, self.width], &device).require_grad();
        let y = form(x.clone(), &self.lengths);
        let gradients = (y.clone() * tensor(&self.weights, y.dims(), &device)).sum().backward();
        [host(y.inner()), host(x.grad(&gradients).unwrap())]
    }

    fn largest(&self, x: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NEG_INFINITY; self.lengths.len() * self.width];
        let of_rows = self.lengths.iter().enumerate().flat_map(|(at, n)| std::iter::repeat_n(at, *n));
        for (row, stretch) in of_rows.enumerate() {
            for i in 0..self.width {
                let y = &mut y[stretch * self.width + i];
                *y = y.max(x[row * self.width + i]);
            }
        }
        y
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn values_and_gradients_are_those_of_plain_loops(
        lengths in prop::collection::vec(1..5usize, 1..5), width in 1..6usize, seed: u64,
    ) {
        let case = Case::new(lengths, width, seed);
        let loss = |inputs: &[Vec<f64>; 1]| weighted(&case.largest(&inputs[0]), &case.weights);
        let [gradient] = finite_differences([exact(&case.x)], loss);
        for form in [max_rows as Form, composed::max_rows] {
            let [y, x] = case.run(form);
            assert_close("y", &y, &case.largest(&exact(&case.x)));
            assert_close("x", &x, &gradient);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let case = Case::new((0..300).map(|i| 1 + i * 7 % 11).collect(), 13, 3);
    assert_same_bits_on_any_threads(|| case.run(max_rows));
}

#[test]
fn the_first_of_equals_has_the_gradient_and_a_nan_wins() {
    let mut case = Case::new(vec![3], 1, 1);
    (case.x, case.weights) = (vec![1.0, 2.0, 2.0], vec![5.0]);
    for form in [max_rows as Form, composed::max_rows] {
        assert_eq!(case.run(form), [vec![2.0], vec![0.0, 5.0, 0.0]]);
    }
    case.x[1] = f32::NAN;
    assert!(case.run(max_rows)[0][0].is_nan());
}

#[test]
fn no_rows_give_no_values() {
    for form in [max_rows as Form, composed::max_rows] {
        assert_eq!(form(Tensor::zeros([0, 3], &Device::flex()), &[]).dims(), [0, 3]);
    }
}

#[test]
#[should_panic(expected = "stretches of 3 rows in a tensor of 2")]
fn stretches_of_other_rows_are_refused() {
    max_rows(Tensor::ones([2, 3], &Device::flex()), &[3]);
}
