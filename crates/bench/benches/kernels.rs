//! Each fused operation, forward and backward, on the tokens of a batch: 2,048 of width 128, in sequences of 32.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p moelt-bench --bench kernels`
//!
//! The expert feed-forward has a bench of its own, beside its composed form: `experts`.

use std::hint::black_box;

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, criterion_group, criterion_main};
use moelt_kernels::{layer_norm, max_rows, self_attention, sum_rows};

/// That of the binary: with another one a pass waits for pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SEQUENCES: usize = 64;
const LENGTH: usize = 32;
const TOKENS: usize = SEQUENCES * LENGTH;
const WIDTH: usize = 128;
/// Rows of a table of embeddings.
const ROWS: usize = 16_384;

fn values<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let n: usize = shape.iter().product();
    let value = |i: usize| (i * 2_654_435_761 % 1_000_003) as f32 / 1_000_003.0 - 0.5;
    Tensor::from_data(TensorData::new((0..n).map(value).collect::<Vec<f32>>(), shape), device).require_grad()
}

fn bench(criterion: &mut Criterion) {
    let device = Device::flex().autodiff();
    let lengths = [LENGTH; SEQUENCES];
    let (tokens, of_tokens) = (values([TOKENS, WIDTH], &device), values([TOKENS, 3 * WIDTH], &device));
    let (table, gamma) = (values([ROWS, WIDTH], &device), values([WIDTH], &device));
    let picked: Vec<u32> = (0..TOKENS).map(|token| (token * 7919 % ROWS) as u32).collect();
    let places: Vec<u32> = (0..TOKENS as u32).collect();
    let sequences: Vec<u32> = places.iter().map(|token| token / LENGTH as u32).collect();

    let mut group = criterion.benchmark_group("kernels, forward and backward");
    let mut kernel = |name: &str, form: &dyn Fn() -> Tensor<2>| {
        group.bench_function(name, |bencher| bencher.iter(|| black_box(form().sum().backward())));
    };
    kernel("layer norm", &|| layer_norm(tokens.clone(), gamma.clone(), gamma.clone(), 1e-5));
    kernel("self-attention, 4 heads", &|| self_attention(of_tokens.clone(), &lengths, 4));
    kernel("rows of a table", &|| sum_rows(table.clone(), &picked, &places, TOKENS));
    kernel("sums of sequences", &|| sum_rows(tokens.clone(), &places, &sequences, SEQUENCES));
    kernel("maxima of sequences", &|| max_rows(tokens.clone(), &lengths));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
