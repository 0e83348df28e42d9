//! Predictions of a model on a split.

use std::borrow::Cow;

use burn::tensor::{Tensor, activation::softmax};
use moelt_data::{Encoded, Example, TokenBatch, in_order};
use moelt_model::{Classifier, Mode, ModelInput};
use moelt_schema::{Asked, Flops, LayerSums, Prediction};
use serde::{Deserialize, Serialize};

use crate::interrupt::{Interrupt, Interrupted};

/// Encoded texts with what is known about them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The texts.
    pub texts: Vec<Encoded>,
    /// Class of each.
    pub labels: Vec<u32>,
    /// Domain of each, where the data set has domains.
    pub domains: Vec<Option<u32>>,
    /// Evaluation time of each, where the data set drifts.
    pub times: Vec<Option<u32>>,
}

impl Split {
    /// Examples with what `encode` makes of their texts.
    pub fn of(examples: &[Example], encode: impl Fn(&Example) -> Encoded) -> Self {
        Self {
            texts: examples.iter().map(encode).collect(),
            labels: examples.iter().map(|example| example.label).collect(),
            domains: examples.iter().map(|example| example.domain).collect(),
            times: examples.iter().map(|example| example.time).collect(),
        }
    }

    /// Places of the texts that are asked about.
    pub fn places_of(&self, asked: &[Asked]) -> Vec<usize> {
        let is_asked = |i: &usize| {
            let of = self.domains[*i].map(|domain| Asked { time: self.times[*i], domain });
            of.is_some_and(|of| asked.contains(&of))
        };
        (0..self.texts.len()).filter(is_asked).collect()
    }

    /// The texts at `places`, which are in order; the split itself when these are all.
    pub fn part(&self, places: &[usize]) -> Cow<'_, Self> {
        if places.len() == self.texts.len() {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            texts: places.iter().map(|&i| self.texts[i].clone()).collect(),
            labels: places.iter().map(|&i| self.labels[i]).collect(),
            domains: places.iter().map(|&i| self.domains[i]).collect(),
            times: places.iter().map(|&i| self.times[i]).collect(),
        })
    }
}

/// Texts per batch in evaluation: only memory depends on it.
pub(crate) const BATCH: usize = 256;

/// What `model` says of every text of `split`, in the split's order. Batches are cut by length and do
/// not depend on anything but the split, so the same weights give the same bits.
pub fn predict(model: &Classifier, split: &Split) -> Vec<Prediction> {
    predict_unless(Interrupt::never(), model, split).expect("nobody interrupts")
}

/// The same, given up when the run is asked to stop.
pub(crate) fn predict_unless(
    interrupt: Interrupt<'_>,
    model: &Classifier,
    split: &Split,
) -> Result<Vec<Prediction>, Interrupted> {
    Ok(pass(interrupt, model, split)?.predictions)
}

/// What a pass over a split gives.
pub(crate) struct Pass {
    /// In the split's order.
    pub(crate) predictions: Vec<Prediction>,
    /// Routing sums of each layer with a router, over all texts.
    pub(crate) routing: Vec<LayerSums>,
    pub(crate) flops: Flops,
}

/// Predictions with what the pass took and what the routers did.
pub(crate) fn pass(interrupt: Interrupt<'_>, model: &Classifier, split: &Split) -> Result<Pass, Interrupted> {
    let mut predictions: Vec<Option<Prediction>> = vec![None; split.texts.len()];
    let (mut routing, mut flops) = (Vec::new(), Flops::default());
    for batch in in_order(&split.texts, &split.labels, BATCH) {
        interrupt.check()?;
        let output = model.forward(&model_input(&batch), Mode::Eval);
        flops += output.flops;
        add_sums(&mut routing, &output.routing);
        let logits = output.logits;
        let [_, n_classes] = logits.dims();
        let probabilities = host(softmax(logits, 1));
        for (example, row) in batch.examples.iter().zip(probabilities.chunks_exact(n_classes)) {
            predictions[*example] = Some(Prediction {
                label: split.labels[*example],
                domain: split.domains[*example],
                probabilities: row.to_vec(),
            });
        }
    }
    let predictions = predictions.into_iter().map(|p| p.expect("every example is in one batch")).collect();
    Ok(Pass { predictions, routing, flops })
}

/// A tensor's values, row-major.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("outputs of a model are f32 on every backend")
}

/// The model's view of a batch.
pub(crate) fn model_input(batch: &TokenBatch) -> ModelInput {
    ModelInput::packed(batch.rows.clone(), batch.tokens.clone(), batch.lengths.clone())
        .in_groups(batch.groups.clone())
}

/// Adds a batch's routing sums to those of a window.
pub(crate) fn add_sums(window: &mut Vec<LayerSums>, batch: &[LayerSums]) {
    if window.is_empty() {
        *window = batch.to_vec();
    } else {
        window.iter_mut().zip(batch).for_each(|(sums, batch)| sums.add(batch));
    }
}
