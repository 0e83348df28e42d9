//! What a test costs: 10,000 crossed resamples of 10 seeds × 872 examples, and of 5 seeds × 20,000.

use criterion::{Criterion, criterion_group, criterion_main};
use moelt_eval::{Bootstrap, Correct};

/// Scores that vary by seed and example; a few in a hundred differ between two `arm`s.
fn scores(arm: u64, seeds: u64, examples: u64) -> Correct {
    let right = |seed: u64, example: u64| (example * 389 + (seed + 7 * arm) * (example % 31)) % 1_000 < 830;
    let row = |seed: u64| (0..examples).map(|example| f64::from(u8::from(right(seed, example)))).collect();
    Correct::of_scores((0..seeds).map(|seed| (seed, row(seed)))).expect("every seed has all examples")
}

fn verdicts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("10,000 resamples");
    group.sample_size(10);
    for (seeds, examples) in [(10, 872), (5, 20_000)] {
        let [one, other] = [0, 1].map(|arm| scores(arm, seeds, examples));
        let differences = one.minus(&other).expect("the arms are paired");
        group.bench_function(format!("{seeds} seeds x {examples} examples"), |bencher| {
            bencher.iter(|| Bootstrap::default().difference(&differences).expect("there are seeds"));
        });
    }
    group.finish();
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
