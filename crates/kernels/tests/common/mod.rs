//! What the tests of all operations need: values, plain loops in `f64` to compare with, and threads.

#![allow(dead_code)] // no test needs all of it

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A generator of its own for each case.
pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Values between −1 and 1.
pub(crate) fn scattered(n: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

pub(crate) fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

pub(crate) fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

/// To a few roundings of the largest value.
pub(crate) fn assert_close(name: &str, is: &[f32], expected: &[f64]) {
    assert_eq!(is.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
    for (at, (is, expected)) in is.iter().zip(expected).enumerate() {
        assert!((f64::from(*is) - expected).abs() < 1e-5 * scale, "{name}[{at}]: {is}, not {expected}");
    }
}

/// The gradient of every input of a loss by central differences.
pub(crate) fn finite_differences<const N: usize>(
    mut inputs: [Vec<f64>; N],
    loss: impl Fn(&[Vec<f64>; N]) -> f64,
) -> [Vec<f64>; N] {
    const STEP: f64 = 1e-6;
    let lengths = inputs.each_ref().map(Vec::len);
    std::array::from_fn(|input| {
        let slope = |at: usize| {
            let value = inputs[input][at];
            let mut loss_at = |value| {
                inputs[input][at] = value;
                loss(&inputs)
            };
            let slope = (loss_at(value + STEP) - loss_at(value - STEP)) / (2.0 * STEP);
            inputs[input][at] = value;
            slope
        };
        (0..lengths[input]).map(slope).collect()
    })
}

/// `Σ outputs · weights`: the loss whose gradients are compared.
pub(crate) fn weighted(outputs: &[f64], weights: &[f32]) -> f64 {
    outputs.iter().zip(weights).map(|(output, weight)| output * f64::from(*weight)).sum()
}

/// Whether one, two and five threads give the same bits.
pub(crate) fn assert_same_bits_on_any_threads<const N: usize>(run: impl Fn() -> [Vec<f32>; N] + Send + Sync) {
    let with_threads = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(&run).map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
    };
    let [one, two, five] = [1, 2, 5].map(with_threads);
    assert!(one == two && two == five);
}
