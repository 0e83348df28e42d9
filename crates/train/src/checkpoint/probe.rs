//! The probe: a few inputs with the logits they gave at save.

use std::path::Path;

use moelt_data::{Encoded, TokenBatch};
use moelt_model::{Classifier, Mode};
use moelt_schema::{Manifest, Probe};

use super::CheckpointError;
use crate::evaluate::model_input;

/// Largest accepted difference, relative to 1 + |logit|: room for another backend, none for another
/// weight.
const TOLERANCE: f32 = 1e-4;

/// The first few texts, as tokens.
pub(crate) fn probe_inputs(texts: &[Encoded]) -> Vec<Vec<Vec<u32>>> {
    texts.iter().take(Manifest::MAX_PROBES).map(Encoded::to_tokens).collect()
}

/// Runs trained and averaged weights on `inputs`.
pub(crate) fn make_probe(
    inputs: Vec<Vec<Vec<u32>>>,
    trained: &Classifier,
    averaged: Option<&Classifier>,
) -> Probe {
    let (trained, averaged) = (logits(trained, &inputs), averaged.map(|model| logits(model, &inputs)));
    Probe { logits: trained, ema_logits: averaged, inputs }
}

/// Refuses a model that does not compute what the probe says. `weights` names it in the error.
pub(crate) fn check_probe(
    model: &Classifier,
    inputs: &[Vec<Vec<u32>>],
    saved: &[Vec<f32>],
    weights: &'static str,
    path: &Path,
) -> Result<(), CheckpointError> {
    let now = logits(model, inputs);
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * (1.0 + a.abs());
    let same = |(a, b): (&Vec<f32>, &Vec<f32>)| a.len() == b.len() && a.iter().zip(b).all(close);
    let wrong = (saved.len() != now.len())
        .then_some(0)
        .or_else(|| saved.iter().zip(&now).position(|pair| !same(pair)));
    let row = |rows: &[Vec<f32>], input: usize| rows.get(input).cloned().unwrap_or_default();
    match wrong {
        None => Ok(()),
        Some(input) => Err(CheckpointError::Probe {
            path: path.into(),
            weights,
            input,
            saved: row(saved, input),
            now: row(&now, input),
        }),
    }
}

fn logits(model: &Classifier, inputs: &[Vec<Vec<u32>>]) -> Vec<Vec<f32>> {
    let one = |tokens: &Vec<Vec<u32>>| {
        let batch = TokenBatch::new(&[(0, &Encoded::from_tokens(tokens), 0)]);
        let logits = model.forward(&model_input(&batch), Mode::Eval).logits;
        logits.try_into_vec_as().expect("logits are f32 on every backend")
    };
    inputs.iter().map(one).collect()
}
