//! What an edit costs beside a training step, at the reference size: 8 experts, d_model 128, d_ff 256, 16,000
//! embedding rows, 128 sequences of 20 tokens, AdamW and averaged weights.
//!
//! `cargo bench -p moelt-bench` prints both times.

use std::{hint::black_box, time::Duration};

use burn::{
    nn::loss::CrossEntropyLossConfig,
    tensor::{Device, Int, Tensor, TensorData},
};
use criterion::{Criterion, criterion_group, criterion_main};
use moelt_model::{Classifier, ClassifierConfig, Mode, ModelInput};
use moelt_optim::{AdamW, Optimizer};
use moelt_schema::{CheckedPlan, LayerKind, Layout, ModelConfig, OptimConfig, Plan, RoutingConfig, Streams};
use moelt_surgery::{Trainable, apply};
use moelt_train::param_groups;

/// That of the binary: with another one a pass waits for pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 16_000;
const BATCH: usize = 128;
const TOKENS: usize = 20;

fn layout() -> Layout {
    Layout::uniform(1, LayerKind::TopK { k: 2 }, 8)
}

fn run() -> Trainable<Classifier> {
    let routing = RoutingConfig::TopK { n_experts: 8 };
    let model = ModelConfig { d_model: 128, d_ff: 256, routing, top_k: 2, ..ModelConfig::default() };
    let config = ClassifierConfig { model, layout: layout(), n_rows: ROWS, n_classes: 2 };
    let model = config.init(&Streams::new(1), &Device::flex().autodiff());
    let groups = param_groups(&OptimConfig::default(), 1);
    let optimizer = Optimizer::new(AdamW::default(), groups).with_clip_norm(1.0);
    Trainable::new(model, optimizer).with_average(0.999, 10)
}

fn step(run: Trainable<Classifier>) -> Trainable<Classifier> {
    let rows: Vec<u32> = (0..BATCH * TOKENS).map(|i| (i * 7919 % ROWS) as u32).collect();
    let input = ModelInput::new(&rows, TOKENS, 1, &[TOKENS; BATCH]);
    let output = run.module.forward(&input, Mode::Eval);
    let labels: Vec<i64> = (0..BATCH as i64).map(|i| i % 2).collect();
    let device = output.logits.device();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [BATCH]), &device);
    let loss = CrossEntropyLossConfig::new().init(&device).forward(output.logits, labels);
    let gradients = run.gradients(loss);
    // The average is left out: it takes in every tenth step only.
    run.step(&gradients, 1e-3, 11)
}

/// One expert goes, one comes.
fn plan() -> CheckedPlan {
    let draft = Plan::new(3).copy_expert(0, 0.1).prune(3);
    draft.check(&layout(), 1..).expect("ids are those of the layout")
}

fn bench(criterion: &mut Criterion) {
    let mut run = step(step(step(run())));
    let plan = plan();
    let mut group = criterion.benchmark_group("reference size");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let mut trained = Some(run);
    group.bench_function("train step", |bencher| bencher.iter(|| trained = trained.take().map(step)));
    run = trained.expect("every step gives a run back");
    group.bench_function("edit", |bencher| {
        bencher.iter(|| black_box(apply(&run, &plan, 1).expect("the plan fits")));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
