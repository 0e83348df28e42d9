//! `moelt bench`: what a training step takes, on texts without meaning.

use std::{
    io::{Write, stdout},
    time::Instant,
};

use burn::tensor::{Device, Tensor};
use moelt_data::{Example, Splits, TokenBatch};
use moelt_schema::{ConfigFiles, RunConfig};
use moelt_train::{Prepared, TrainState};
use serde_json::json;

use crate::cli::BenchArgs;

/// Steps before anything is timed.
const WARM_UP: usize = 10;

/// Rows and columns of the matrices whose product shows the machine's peak, and how often they are multiplied.
const PEAK: (usize, usize) = (2048, 4);

pub(crate) fn run(files: &ConfigFiles, args: &BenchArgs) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let config = files.load(&args.layers, &args.set)?;
    let mut prepared = Prepared::of(&config, &texts(args, config.train.batch_size))?;
    let batches: Vec<TokenBatch> = (0..args.steps.into()).map(|step| prepared.train.at(step)).collect();
    let warm_up = batches.iter().cycle().take(WARM_UP);
    let mut state = steps(TrainState::new(&config, &prepared, &device), &config, warm_up);
    let before = state.progress.flops.computed;
    let mut step_ms = Vec::new();
    for _ in 0..args.repetitions {
        let since = Instant::now();
        state = steps(state, &config, batches.iter());
        // A GPU may still be at the last step's work.
        device.sync()?;
        step_ms.push(1e3 * since.elapsed().as_secs_f64() / batches.len() as f64);
    }
    let step_flops = (state.progress.flops.computed - before) / (step_ms.len() * batches.len()) as u64;
    let tokens = config.train.batch_size * usize::from(args.tokens).min(config.text.max_tokens);
    let measured = Measured { step_ms, step_flops, peak: peak(&device), tokens };
    Ok(writeln!(stdout(), "{}", if args.json { measured.json() } else { measured.line() })?)
}

/// Texts in which every word of the vocabulary stands about as often as any other, in two classes by turns.
fn texts(args: &BenchArgs, batch_size: usize) -> Splits {
    let (tokens, n_words) = (usize::from(args.tokens), u64::from(args.vocabulary));
    let n_texts = (n_words as usize).div_ceil(tokens).max(usize::from(args.steps) * batch_size);
    // Strides of a large prime reach every word and leave no order.
    let word = |at: usize| format!("w{}", at as u64 * 2_654_435_761 % n_words);
    let text = |at: usize| {
        let words: Vec<String> = (at * tokens..(at + 1) * tokens).map(word).collect();
        Example::new(words.join(" "), at as u32 % 2)
    };
    let train: Vec<Example> = (0..n_texts).map(text).collect();
    Splits {
        classes: vec!["a".to_owned(), "b".to_owned()],
        domains: Vec::new(),
        validation: train[..1].to_vec(),
        test: train[..1].to_vec(),
        train,
        bayes_accuracy: None,
        drift: None,
        notes: Vec::new(),
    }
}

fn steps<'a>(
    state: TrainState,
    config: &RunConfig,
    batches: impl Iterator<Item = &'a TokenBatch>,
) -> TrainState {
    // The learning rate falls over a run far longer than this one: it stays as it is.
    batches.fold(state, |state, batch| state.train_step(batch, config, 1 << 20).0)
}

/// Floating-point operations per second of a large matrix product, the fastest of several.
fn peak(device: &Device) -> f64 {
    let (n, times) = PEAK;
    let matrix = Tensor::<2>::full([n, n], 0.5, device);
    let time = || {
        let since = Instant::now();
        // Reading a value back waits for the product.
        matrix.clone().matmul(matrix.clone()).slice([0..1, 0..1]).into_scalar::<f32>();
        since.elapsed().as_secs_f64()
    };
    let fastest = (0..times).map(|_| time()).fold(f64::INFINITY, f64::min);
    2.0 * (n as f64).powi(3) / fastest
}

/// What was measured.
struct Measured {
    /// Milliseconds of a step, one figure per repetition.
    step_ms: Vec<f64>,
    /// Matrix products of a step, floating-point operations.
    step_flops: u64,
    /// Operations per second of a large matrix product.
    peak: f64,
    /// Tokens of a step.
    tokens: usize,
}

impl Measured {
    fn json(&self) -> String {
        let Self { step_ms, step_flops, peak, tokens } = self;
        json!({"step_ms": step_ms, "step_flops": step_flops, "peak_flops_per_second": peak, "tokens": tokens})
            .to_string()
    }

    fn line(&self) -> String {
        let mut ms = self.step_ms.clone();
        ms.sort_by(f64::total_cmp);
        let [quarter, median, three_quarters] = [1, 2, 3].map(|quarter| ms[quarter * (ms.len() - 1) / 4]);
        let of_peak = 100.0 * self.step_flops as f64 / (median / 1e3) / self.peak;
        format!(
            "{median:.2} ms a step [{quarter:.2}, {three_quarters:.2}], {:.0} tokens a second; {:.2} GFLOP, {of_peak:.0} % of \
             the {:.0} GFLOP/s of a large matrix product",
            self.tokens as f64 / (median / 1e3),
            self.step_flops as f64 / 1e9,
            self.peak / 1e9,
        )
    }
}
