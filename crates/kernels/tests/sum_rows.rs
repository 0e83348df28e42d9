//! Sums of rows against plain loops in `f64`: both forms, there and back.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::{Device, Tensor};
use common::{
    assert_close, assert_same_bits_on_any_threads, exact, finite_differences, host, rng, scattered, tensor,
    weighted,
};
use moelt_kernels::{composed, sum_rows};
use proptest::prelude::*;
use rand::RngExt;

type Form = fn(Tensor<2>, &[u32], &[u32], usize) -> Tensor<2>;

#[derive(Debug)]
struct Case {
    rows: usize,
    width: usize,
    n_sums: usize,
    from: Vec<u32>,
    into: Vec<u32>,
    x: Vec<f32>,
    weights: Vec<f32>,
}

impl Case {
    fn new([rows, width, n_sums, n_pairs]: [usize; 4], seed: u64) -> Self {
        let mut rng = rng(seed);
        let mut any = |n: usize| (0..n_pairs).map(|_| rng.random_range(0..n as u32)).collect();
        let (from, into) = (any(rows), any(n_sums));
        let (x, weights) = (scattered(rows * width, &mut rng), scattered(n_sums * width, &mut rng));
        Self { rows, width, n_sums, from, into, x, weights }
    }

    /// Sums and the gradient of `x`.
    fn run(&self, form: Form) -> [Vec<f32>; 2] {
        let device = Device::flex().autodiff();
        let x = tensor(&self.x, [self.rows, self.width], &device).require_grad();
        let y = form(x.clone(), &self.from, &self.into, self.n_sums);
        let gradients = (y.clone() * tensor(&self.weights, y.dims(), &device)).sum().backward();
        [host(y.inner()), host(x.grad(&gradients).unwrap())]
    }

    fn sums(&self, x: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.n_sums * self.width];
        for (from, into) in self.from.iter().zip(&self.into) {
            for i in 0..self.width {
                sums[*into as usize * self.width + i] += x[*from as usize * self.width + i];
            }
        }
        sums
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sums_and_gradients_are_those_of_plain_loops(
        rows in 1..6usize, width in 1..5usize, n_sums in 1..6usize, n_pairs in 1..12usize, seed: u64,
    ) {
        let case = Case::new([rows, width, n_sums, n_pairs], seed);
        let loss = |inputs: &[Vec<f64>; 1]| weighted(&case.sums(&inputs[0]), &case.weights);
        let [gradient] = finite_differences([exact(&case.x)], loss);
        for form in [sum_rows as Form, composed::sum_rows] {
            let [y, x] = case.run(form);
            assert_close("y", &y, &case.sums(&exact(&case.x)));
            assert_close("x", &x, &gradient);
        }
    }
}

/// Sums are added up in the same order, so that not even the last bit differs.
#[test]
fn forms_agree_to_the_bit_where_work_is_divided() {
    let case = Case::new([300, 7, 500, 2000], 3);
    assert_eq!(case.run(sum_rows), case.run(composed::sum_rows));
    assert_same_bits_on_any_threads(|| case.run(sum_rows));
}

#[test]
fn without_a_graph_the_sums_are_the_same() {
    let case = Case::new([9, 3, 5, 20], 1);
    let x = tensor(&case.x, [9, 3], &Device::flex());
    assert_eq!(host(sum_rows(x, &case.from, &case.into, 5)), case.run(sum_rows)[0]);
}

#[test]
fn sums_of_nothing_are_zero() {
    for form in [sum_rows as Form, composed::sum_rows] {
        assert_eq!(host(form(Tensor::ones([2, 3], &Device::flex()), &[], &[], 2)), [0.0; 6]);
        assert_eq!(form(Tensor::ones([2, 3], &Device::flex()), &[], &[], 0).dims(), [0, 3]);
    }
}

#[test]
#[should_panic(expected = "row 2 of 2")]
fn a_row_that_is_not_there_is_refused() {
    sum_rows(Tensor::ones([2, 3], &Device::flex()), &[2], &[0], 1);
}

#[test]
#[should_panic(expected = "sum 1 of 1")]
fn a_sum_that_is_not_there_is_refused() {
    sum_rows(Tensor::ones([2, 3], &Device::flex()), &[1], &[1], 1);
}
