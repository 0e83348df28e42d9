//! The probe: a few inputs with the logits they gave at save.

use std::path::Path;

use burn::module::Module;
use moelt_data::{Encoded, TokenBatch};
use moelt_model::{Classifier, Mode};
use moelt_schema::{Manifest, Probe};

use super::{CheckpointError, rounding::of_products};
use crate::evaluate::{host, model_input};

/// Largest accepted difference, relative to 1 + |logit|: room for another backend, none for another
/// weight.
const TOLERANCE: f32 = 1e-4;

/// The same where products are not exact, at save or now, in roundings of an operand.
const ROUNDINGS: f32 = 20.0;

/// The first few texts.
pub(crate) fn probe_inputs(texts: &[Encoded]) -> Vec<Encoded> {
    texts.iter().take(Manifest::MAX_PROBES).cloned().collect()
}

/// What a probe is made of.
pub(crate) fn inputs_of(probe: &Probe) -> Vec<Encoded> {
    let groups = probe.groups.iter().cloned().chain(std::iter::repeat(Vec::new()));
    let inputs = probe.inputs.iter().zip(groups);
    inputs.map(|(tokens, groups)| Encoded::from_tokens(tokens).in_groups(groups)).collect()
}

/// Runs trained and averaged weights on `inputs`.
pub(crate) fn make_probe(inputs: &[Encoded], trained: &Classifier, averaged: Option<&Classifier>) -> Probe {
    let grouped = inputs.iter().any(|input| !input.groups().is_empty());
    let groups = inputs.iter().filter(|_| grouped).map(|input| input.groups().to_vec());
    Probe {
        logits: logits(trained, inputs),
        ema_logits: averaged.map(|model| logits(model, inputs)),
        groups: groups.collect(),
        rounding: rounding(trained),
        inputs: inputs.iter().map(Encoded::to_tokens).collect(),
    }
}

/// How far a logit of this model may be from that of a probe, relative to 1 + |logit|.
pub(crate) fn tolerance(probe: &Probe, model: &Classifier) -> f32 {
    TOLERANCE.max(ROUNDINGS * probe.rounding.max(rounding(model)))
}

/// That of the products of a model's device; 0 where it is beyond all reason, so that a device that multiplies wrongly finds no
/// tolerance.
fn rounding(model: &Classifier) -> f32 {
    let measured = model.devices().first().map_or(0.0, |device| of_products(&device.clone().inner()));
    if measured <= Manifest::MOST_ROUNDING { measured } else { 0.0 }
}

/// Refuses a model that does not compute what the probe says. `weights` names it in the error.
pub(crate) fn check_probe(
    model: &Classifier,
    inputs: &[Encoded],
    saved: &[Vec<f32>],
    tolerance: f32,
    weights: &'static str,
    path: &Path,
) -> Result<(), CheckpointError> {
    let now = logits(model, inputs);
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance * (1.0 + a.abs());
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
            input: input as u32,
            saved: row(saved, input),
            now: row(&now, input),
            tolerance,
        }),
    }
}

fn logits(model: &Classifier, inputs: &[Encoded]) -> Vec<Vec<f32>> {
    let one = |text: &Encoded| {
        let batch = TokenBatch::new(&[(0, text, 0)]);
        let logits = model.forward(&model_input(&batch), Mode::Eval).logits;
        host(logits)
    };
    inputs.iter().map(one).collect()
}
