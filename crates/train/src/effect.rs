//! What an edit does to the model's output, before any training.

use burn::{
    module::Module,
    nn::loss::CrossEntropyLossConfig,
    tensor::{Int, Tensor, TensorData},
};
use moelt_data::in_order;
use moelt_model::{Classifier, Mode};
use moelt_schema::EditEffect;

use crate::{Split, evaluate::model_input};

/// Texts of the selection split that are looked at.
const TEXTS: usize = 256;

/// Logits and loss of a model on the first texts of a split.
pub(crate) struct Outputs {
    logits: Vec<f32>,
    loss: f64,
    texts: usize,
    /// What it cost to have them.
    pub(crate) flops: u64,
}

impl Outputs {
    /// Those of the weights under training.
    pub(crate) fn of(model: &Classifier, split: &Split) -> Self {
        let (model, texts) = (model.valid(), TEXTS.min(split.texts.len()));
        let (mut logits, mut loss, mut flops) = (Vec::new(), 0.0, 0);
        for batch in in_order(&split.texts[..texts], &split.labels[..texts], TEXTS) {
            let input = model_input(&batch);
            flops += model.forward_flops(&input);
            let output = model.forward(&input, Mode::Eval).logits;
            let labels: Vec<i64> = batch.labels.iter().map(|label| i64::from(*label)).collect();
            let device = output.device();
            let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [batch.batch]), &device);
            let mean = CrossEntropyLossConfig::new().init(&device).forward(output.clone(), labels);
            loss += f64::from(mean.into_scalar::<f32>()) * batch.batch as f64;
            logits.extend(output.try_into_vec_as::<f32>().expect("logits are f32 on every backend"));
        }
        Self { logits, loss: loss / texts.max(1) as f64, texts, flops }
    }

    /// The effect of an edit that led from here to `after`.
    pub(crate) fn effect(&self, after: &Self) -> EditEffect {
        EditEffect {
            texts: self.texts,
            loss_before: self.loss,
            loss_after: after.loss,
            deviation: deviation(&self.logits, &after.logits),
        }
    }
}

/// `‖after − before‖ / ‖before‖` of two lists of logits.
pub(crate) fn deviation(before: &[f32], after: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut before.iter().zip(after).map(|(a, b)| f64::from(b - a)));
    let size = norm(&mut before.iter().map(|v| f64::from(*v)));
    if difference > 0.0 { difference / size } else { 0.0 }
}
