//! The two forms of the expert feed-forward, forward and backward, at d_model 128, d_ff 256, 2048 tokens, top-2: how
//! many times as fast the fused one is.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p moelt-bench --bench experts`
//!
//! The forms take turns, and each turn gives one ratio, so that what else the machine does slows both alike. That is why
//! this is no bench of criterion, which measures one after the other.

use std::{hint::black_box, time::Instant};

use burn::tensor::{Device, Tensor, TensorData};
use moelt_kernels::{Activation, ExpertOutput, StackedExperts, composed, expert_feed_forward};

/// That of the binary: with another one a pass waits for pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKENS: usize = 2048;
const D_MODEL: usize = 128;
const D_FF: usize = 256;
const WARM_UP: usize = 5;
const TURNS: usize = 60;

/// Either form.
type Form = fn(Tensor<2>, &[u32], Tensor<2>, StackedExperts) -> ExpertOutput;

/// How tokens are spread over experts.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// Every expert gets as many.
    Even,
    /// Every second choice is expert 0.
    OneBusy,
}

/// Inputs of a forward pass that gradients are wanted of.
struct Inputs {
    x: Tensor<2>,
    experts: StackedExperts,
    expert_indices: Vec<u32>,
    expert_weights: Tensor<2>,
}

impl Inputs {
    fn new(n_experts: usize, load: Load, device: &Device) -> Self {
        let experts = StackedExperts {
            w_in: values([n_experts, D_MODEL, D_FF], device),
            b_in: values([n_experts, D_FF], device),
            w_out: values([n_experts, D_FF, D_MODEL], device),
            b_out: values([n_experts, D_MODEL], device),
            gate: None,
            activation: Activation::Relu,
        };
        let choices = |token: usize| match load {
            Load::Even => [token * 7919 % n_experts, (token * 7919 + 1) % n_experts],
            Load::OneBusy => [1 + token * 7919 % (n_experts - 1), 0],
        };
        let expert_indices = (0..TOKENS).flat_map(choices).map(|expert| expert as u32).collect();
        let expert_weights = values([TOKENS, 2], device);
        Self { x: values([TOKENS, D_MODEL], device), experts, expert_indices, expert_weights }
    }

    /// Milliseconds of a forward pass, and of a backward pass after it.
    fn time(&self, form: Form) -> [f64; 2] {
        let start = Instant::now();
        let weights = self.expert_weights.clone();
        let ExpertOutput { y, .. } =
            form(self.x.clone(), &self.expert_indices, weights, self.experts.clone());
        let forward = start.elapsed();
        let loss = y.sum();
        let start = Instant::now();
        black_box(loss.backward());
        [forward, start.elapsed()].map(|time| 1e3 * time.as_secs_f64())
    }
}

/// Scattered values between −0.1 and 0.1.
fn values<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let n: usize = shape.iter().product();
    let values: Vec<f32> =
        (0..n).map(|i| (i * 2_654_435_761 % 1_000_003) as f32 / 5_000_015.0 - 0.1).collect();
    Tensor::from_data(TensorData::new(values, shape), device).require_grad()
}

/// `median [quartiles]`
fn summary(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[quarter * (values.len() - 1) / 4];
    format!("{:.2} [{:.2}, {:.2}]", at(2), at(1), at(3))
}

fn compare(n_experts: usize, load: Load) {
    let inputs = Inputs::new(n_experts, load, &Device::flex().autodiff());
    let turn = |_| [expert_feed_forward as Form, composed::expert_feed_forward].map(|form| inputs.time(form));
    let turns: Vec<[[f64; 2]; 2]> = (0..WARM_UP + TURNS).map(turn).skip(WARM_UP).collect();
    for (name, of) in [
        ("forward", &(|[forward, _]: [f64; 2]| forward) as &dyn Fn([f64; 2]) -> f64),
        ("backward", &|[_, backward]| backward),
        ("both", &|[forward, backward]| forward + backward),
    ] {
        let [fused, composed] =
            [0, 1].map(|form| turns.iter().map(|turn| of(turn[form])).collect::<Vec<_>>());
        let ratios = composed.iter().zip(&fused).map(|(composed, fused)| composed / fused).collect();
        let [ratio, fused, composed] = [ratios, fused, composed].map(summary);
        println!(
            "{n_experts:>2} experts, {load:?}, {name:>8}: {ratio} times; fused {fused} ms, composed {composed} ms"
        );
    }
}

fn main() {
    println!("{} threads; medians and quartiles of {TURNS} turns", rayon_threads());
    for n_experts in [8, 64] {
        for load in [Load::Even, Load::OneBusy] {
            compare(n_experts, load);
        }
    }
}

fn rayon_threads() -> String {
    std::env::var("RAYON_NUM_THREADS").unwrap_or_else(|_| "all".to_owned())
}
