//! What an edit costs beside a training step, at the reference size: 8 experts, d_model 128, d_ff 256, 16,000
//! embedding rows, 128 sequences of 20 tokens, AdamW and averaged weights.
//!
//! `cargo bench -p moelt-bench` prints both times.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use burn::{
    nn::loss::CrossEntropyLossConfig,
    tensor::{Device, Int, Tensor, TensorData},
};
use criterion::{Criterion, criterion_group, criterion_main};
use moelt_model::{Classifier, ClassifierConfig, Mode, ModelInput};
use moelt_optim::{AdamW, Optimizer, ParamGroup, WeightAverage, take_gradients};
use moelt_schema::{
    CheckedPlan, Edit, Evidence, ExpertId, ExpertInit, LayerId, LayerKind, Layout, Limits, ModelConfig,
    OptimConfig, Plan, Streams,
};
use moelt_surgery::apply;
use moelt_train::param_groups;

const ROWS: usize = 16_000;
const BATCH: usize = 128;
const TOKENS: usize = 20;

/// Everything that a step changes.
struct Run {
    model: Classifier,
    optimizer: Optimizer,
    average: WeightAverage,
    groups: BTreeMap<String, ParamGroup>,
}

fn layout() -> Layout {
    Layout::uniform(1, LayerKind::Moe { top_k: 2 }, 8)
}

fn run() -> Run {
    let model = ModelConfig { d_model: 128, d_ff: 256, n_experts: 8, top_k: 2, ..ModelConfig::default() };
    let config = ClassifierConfig { model, layout: layout(), n_rows: ROWS, n_classes: 2 };
    let model = config.init(&Streams::new(1), &Device::flex().autodiff());
    let groups = param_groups(&model, &OptimConfig::default());
    let average = WeightAverage::new(&model, 0.999, 10, |path| groups[path].row_axis);
    Run { model, optimizer: Optimizer::new(AdamW::default(), 1.0), average, groups }
}

fn step(mut run: Run) -> Run {
    let rows: Vec<u32> = (0..BATCH * TOKENS).map(|i| (i * 7919 % ROWS) as u32).collect();
    let input = ModelInput::new(&rows, TOKENS, 1, &[TOKENS; BATCH]);
    let output = run.model.forward(&input, Mode::Eval);
    let labels: Vec<i64> = (0..BATCH as i64).map(|i| i % 2).collect();
    let device = output.logits.device();
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [BATCH]), &device);
    let loss = CrossEntropyLossConfig::new().init(&device).forward(output.logits, labels);
    let gradients = take_gradients(&run.model, loss.backward());
    run.model = run.optimizer.step(run.model, &gradients, 1e-3, 1.0, |path| run.groups[path]);
    run
}

/// One expert goes, one comes.
fn plan() -> CheckedPlan {
    let layer = LayerId(0);
    let copy = ExpertInit::Copy { parent: ExpertId(0), noise: 0.1 };
    let edits =
        vec![Edit::Grow { layer, new: ExpertId(8), init: copy }, Edit::Prune { layer, expert: ExpertId(3) }];
    let plan = Plan { step: 3, edits, reason: "bench".into(), evidence: Evidence::default() };
    plan.check(&layout(), &Limits::default()).expect("ids are those of the layout")
}

fn bench(criterion: &mut Criterion) {
    let mut run = step(step(step(run())));
    let (plan, streams) = (plan(), Streams::new(1));
    let mut group = criterion.benchmark_group("reference size");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let mut trained = Some(run);
    group.bench_function("train step", |bencher| bencher.iter(|| trained = trained.take().map(step)));
    run = trained.expect("every step gives a run back");
    group.bench_function("edit", |bencher| {
        bencher.iter(|| {
            let average = Some(&run.average);
            black_box(apply(&plan, &run.model, &run.optimizer, average, &streams).expect("the plan fits"))
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
