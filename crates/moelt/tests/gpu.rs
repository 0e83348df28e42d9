//! Operations on every GPU that is there, there and back, beside those of the CPU. Nothing where no GPU backend was compiled in:
//!
//! ```text
//! cargo test --release -p moelt --features wgpu --test gpu
//! ```

#![cfg(all(feature = "flex", any(feature = "wgpu", feature = "cuda")))]
#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use burn::tensor::{Device, Tensor, TensorData};
use moelt_kernels::{
    Activation, AdamWConstants, AdamWRows, AdamWValues, ExpertGate, StackedExperts, adamw_step,
    exact_product, expert_feed_forward, layer_norm, max_rows, ordered_sum, self_attention, sum_rows,
    touched_rows,
};
use moelt_schema::{Stream, Streams, uniform};

/// The devices to compare with the CPU, with how far a product may be off: on NVIDIA's tensor cores Burn multiplies `f32` in TF32,
/// with ten bits behind the leading one.
fn devices() -> Vec<(&'static str, Device, f32)> {
    vec![
        #[cfg(feature = "wgpu")]
        ("wgpu", Device::wgpu(burn::tensor::DeviceKind::DefaultDevice), 1e-5),
        #[cfg(feature = "cuda")]
        ("cuda", Device::cuda(0), 2e-3),
    ]
}

/// Values between −1 and 1 and whole numbers, the same for the same seed.
struct Draws(u64);

impl Draws {
    fn values(&mut self, n: usize) -> Vec<f32> {
        self.0 += 1;
        uniform(1, n, &mut Streams::new(self.0).rng(Stream::Dropout, 0))
    }

    fn whole(&mut self, n: usize, below: usize) -> Vec<u32> {
        let part = |value: f32| (((value + 1.0) / 2.0 * below as f32) as u32).min(below as u32 - 1);
        self.values(n).into_iter().map(part).collect()
    }
}

/// An input of an operation, with a gradient of its own.
fn input<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device).require_grad()
}

/// The output and the gradients of inputs, given weights for the output's values.
macro_rules! there_and_back {
    ($y:expr, $weights:expr; $($input:expr),+) => {{
        let y = $y;
        let weights = Tensor::from_data(TensorData::new($weights.to_vec(), y.dims()), &y.device());
        let gradients = (y.clone() * weights).sum().backward();
        vec![y.inner().into_data(), $($input.grad(&gradients).unwrap().into_data()),+]
    }};
}

/// Runs an operation on the CPU and on each GPU.
fn compare(name: &str, products: bool, run: impl Fn(&Device) -> Vec<TensorData>) {
    let expected = run(&Device::flex().autodiff());
    for (device_name, device, of_products) in devices() {
        let is = run(&device.autodiff());
        for (part, (is, expected)) in is.into_iter().zip(&expected).enumerate() {
            let (is, expected) = (is.try_to_vec::<f32>().unwrap(), expected.try_to_vec::<f32>().unwrap());
            assert_eq!(is.len(), expected.len(), "{name} on {device_name}");
            let largest = expected.iter().fold(1.0, |largest: f32, value| largest.max(value.abs()));
            let far = is.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
            let allowed = if products { of_products } else { 1e-5 };
            assert!(far < allowed, "{name} on {device_name}: part {part} is off by {far:e} of {largest}");
        }
    }
}

#[test]
fn sums_of_rows() {
    for (case, [rows, width, n_sums, n_pairs]) in
        [[5, 4, 3, 7], [300, 6, 500, 2000], [40, 3, 1, 900], [7, 130, 9, 0], [1000, 128, 64, 4096]]
            .into_iter()
            .enumerate()
    {
        let mut draws = Draws(100 * case as u64);
        let (from, into) = (draws.whole(n_pairs, rows), draws.whole(n_pairs, n_sums));
        let (x, weights) = (draws.values(rows * width), draws.values(n_sums * width));
        compare(&format!("sum_rows {rows} {width} {n_sums} {n_pairs}"), false, |device| {
            let x = input(&x, [rows, width], device);
            there_and_back!(sum_rows(x.clone(), &from, &into, n_sums), weights; x)
        });
    }
}

#[test]
fn largest_values_of_stretches() {
    let (mut draws, lengths, width) = (Draws(1000), [1, 9, 4, 30], 12);
    let (x, weights) = (draws.values(44 * width), draws.values(4 * width));
    compare("max_rows", false, |device| {
        let x = input(&x, [44, width], device);
        there_and_back!(max_rows(x.clone(), &lengths), weights; x)
    });
}

#[test]
fn layer_norms() {
    let (mut draws, shape) = (Draws(2000), [33, 48]);
    let [x, weights] = [(); 2].map(|()| draws.values(33 * 48));
    let [gamma, beta] = [(); 2].map(|()| draws.values(48));
    compare("layer_norm", false, |device| {
        let x = input(&x, shape, device);
        let [gamma, beta] = [&gamma, &beta].map(|values| input(values, [48], device));
        there_and_back!(layer_norm(x.clone(), gamma.clone(), beta.clone(), 1e-5), weights; x, gamma, beta)
    });
}

#[test]
fn attention_within_sequences() {
    let (mut draws, lengths) = (Draws(3000), [5, 1, 17]);
    let (qkv, weights) = (draws.values(23 * 48), draws.values(23 * 16));
    compare("self_attention", true, |device| {
        let qkv = input(&qkv, [23, 48], device);
        there_and_back!(self_attention(qkv.clone(), &lengths, 2), weights; qkv)
    });
}

#[test]
fn tokens_through_their_experts() {
    let (mut draws, [tokens, d_model, d_ff, n_experts, k]) = (Draws(4000), [40, 16, 24, 5, 2]);
    let x = draws.values(tokens * d_model);
    // The last expert has no token.
    let chosen: Vec<u32> = draws.whole(tokens, 4).into_iter().flat_map(|one| [one, (one + 1) % 4]).collect();
    let (expert_weights, weights) = (draws.values(tokens * k), draws.values(tokens * d_model));
    let [w_in, w_out, w_gate] = [(); 3].map(|()| draws.values(n_experts * d_model * d_ff));
    let [b_in, b_gate] = [(); 2].map(|()| draws.values(n_experts * d_ff));
    let b_out = draws.values(n_experts * d_model);
    compare("expert_feed_forward", true, |device| {
        let (x, by) = (input(&x, [tokens, d_model], device), input(&expert_weights, [tokens, k], device));
        let experts = StackedExperts {
            w_in: input(&w_in, [n_experts, d_model, d_ff], device),
            b_in: input(&b_in, [n_experts, d_ff], device),
            w_out: input(&w_out, [n_experts, d_ff, d_model], device),
            b_out: input(&b_out, [n_experts, d_model], device),
            gate: None,
            activation: Activation::Swiglu,
        };
        let gate = ExpertGate {
            w_gate: input(&w_gate, [n_experts, d_model, d_ff], device),
            b_gate: input(&b_gate, [n_experts, d_ff], device),
        };
        let experts = StackedExperts { gate: Some(gate.clone()), ..experts };
        let y = expert_feed_forward(x.clone(), &chosen, by.clone(), experts.clone()).y;
        there_and_back!(y, weights; x, by, experts.w_in, experts.b_in, experts.w_out, experts.b_out, gate.w_gate, gate.b_gate)
    });
}

#[test]
fn exact_products() {
    let mut draws = Draws(5000);
    for [rows, columns, width] in [[70, 5, 48], [3, 9, 130], [16, 4, 7]] {
        let [x, w] = [rows, columns].map(|n| draws.values(n * width));
        let weights = draws.values(rows * columns);
        compare("exact_product", true, |device| {
            let (x, w) = (input(&x, [rows, width], device), input(&w, [columns, width], device));
            there_and_back!(exact_product(x.clone(), w.clone()), weights; x, w)
        });
        compare("exact_product forward", false, |device| {
            let (x, w) = (input(&x, [rows, width], device), input(&w, [columns, width], device));
            vec![exact_product(x, w).inner().into_data()]
        });
    }
}

/// Rows along each axis, some of them zeros; with widths of every number of columns at once.
const VIEWS: [[usize; 3]; 7] =
    [[1, 6, 40], [3, 4, 5], [1, 1, 1000], [5, 7, 1], [1, 300, 6], [1, 3, 200_000], [2, 5, 60_001]];

/// Values of which those of every third row are 0.
fn with_rows_of_zeros(values: Vec<f32>, [_, rows, inner]: [usize; 3]) -> Vec<f32> {
    let is_zero = |at: usize| (at / inner % rows).is_multiple_of(3) && rows > 1;
    values.into_iter().enumerate().map(|(at, value)| if is_zero(at) { 0.0 } else { value }).collect()
}

#[test]
fn rows_with_a_gradient_and_their_norms() {
    let mut draws = Draws(6000);
    for view in VIEWS {
        let n = view.iter().product();
        let values = with_rows_of_zeros(draws.values(n), view);
        compare(&format!("touched_rows and ordered_sum {view:?}"), false, |device| {
            let values =
                Tensor::<1>::from_data(TensorData::new(values.clone(), [n]), &device.clone().inner());
            let touched = touched_rows(values.clone(), view).float();
            vec![touched.into_data(), ordered_sum(values.square()).into_data()]
        });
    }
}

#[test]
fn a_gradient_that_is_not_a_number_is_one() {
    for (name, device, _) in devices() {
        let values = Tensor::<1>::from_data([0.0, -0.0, 0.0, f32::NAN], &device);
        let touched = touched_rows(values, [1, 2, 2]).int().try_into_vec_as::<i64>().unwrap();
        assert_eq!(touched, [0, 1], "{name}");
        let empty = Tensor::<1>::zeros([0], &device);
        assert_eq!(touched_rows(empty.clone(), [1, 3, 0]).dims(), [3]);
        assert_eq!(ordered_sum(empty).into_scalar::<f32>(), 0.0);
    }
}

#[test]
fn steps_of_adamw() {
    let mut draws = Draws(7000);
    let constants = AdamWConstants { beta1: 0.9, beta2: 0.99, eps: 1e-8, shrink: 0.999, scale: 0.5 };
    for (view, rested) in VIEWS.into_iter().flat_map(|view| [(view, false), (view, true)]) {
        let (n, rows) = (view.iter().product(), view[1]);
        let [weights, moment_1] = [(); 2].map(|()| draws.values(n));
        let moment_2: Vec<f32> = draws.values(n).into_iter().map(f32::abs).collect();
        let gradient = with_rows_of_zeros(draws.values(n), view);
        let [step, root] = [(); 2].map(|()| draws.values(rows).into_iter().map(f32::abs).collect::<Vec<_>>());
        compare(&format!("adamw_step {view:?}"), false, |device| {
            let device = device.clone().inner();
            let on = |values: &[f32]| {
                Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device)
            };
            let gradient = on(&gradient);
            let touched = rested.then(|| touched_rows(gradient.clone(), view));
            let rows = AdamWRows { view, step: on(&step), root: on(&root), touched };
            let values =
                AdamWValues { weights: on(&weights), moment_1: on(&moment_1), moment_2: on(&moment_2) };
            // Held on to, what was there must stay.
            let held = values.weights.clone();
            let AdamWValues { weights, moment_1, moment_2 } = adamw_step(values, gradient, constants, rows);
            vec![weights.into_data(), moment_1.into_data(), moment_2.into_data(), held.into_data()]
        });
    }
}
