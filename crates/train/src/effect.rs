//! What a model says of a split's texts, and how two models differ on them.

use burn::tensor::Tensor;
use moelt_data::in_order;
use moelt_model::{Classifier, Mode};
use moelt_schema::{EditEffect, Flops};

use crate::{
    Split,
    evaluate::{BATCH, host, model_input},
    interrupt::{Interrupt, Interrupted},
};

/// Logits and loss of a model on every text of a split.
pub(crate) struct Outputs {
    logits: Vec<f32>,
    /// Cross entropy of each text, nats; in an order that is the same for all models.
    losses: Vec<f64>,
    /// What it cost to have them.
    pub(crate) flops: Flops,
}

/// How much more loss a model has than another one on the same texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PairedLoss {
    /// Mean, nats.
    pub(crate) mean: f64,
    /// Its standard error over the texts, nats.
    pub(crate) standard_error: f64,
}

impl Outputs {
    /// Those of a model without autodiff.
    ///
    /// # Errors
    /// When the run is asked to stop.
    pub(crate) fn of(
        model: &Classifier,
        split: &Split,
        interrupt: Interrupt<'_>,
    ) -> Result<Self, Interrupted> {
        let (mut logits, mut losses, mut flops) = (Vec::new(), Vec::new(), Flops::default());
        for batch in in_order(&split.texts, &split.labels, BATCH) {
            interrupt.check()?;
            let output = model.forward(&model_input(&batch), Mode::Eval);
            flops += output.flops;
            losses.extend(cross_entropies(output.logits.clone(), &batch.labels));
            logits.extend(host(output.logits));
        }
        Ok(Self { logits, losses, flops })
    }

    /// Mean cross entropy, nats.
    pub(crate) fn loss(&self) -> f64 {
        self.losses.iter().sum::<f64>() / self.losses.len().max(1) as f64
    }

    /// The effect of an edit that led from here to `after`.
    pub(crate) fn effect(&self, after: &Self) -> EditEffect {
        EditEffect {
            texts: self.losses.len(),
            loss_before: self.loss(),
            loss_after: after.loss(),
            deviation: deviation(&self.logits, &after.logits),
        }
    }

    /// How much more loss these outputs have than `other` ones of the same texts.
    pub(crate) fn against(&self, other: &Self) -> PairedLoss {
        let differences: Vec<f64> = self.losses.iter().zip(&other.losses).map(|(a, b)| a - b).collect();
        let n = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / n;
        let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
        PairedLoss { mean, standard_error: (squares / (n - 1.0).max(1.0) / n).sqrt() }
    }
}

/// The cross entropy of each text of a batch, nats.
///
/// # Shapes
/// - logits: `[texts, n_classes]`
pub(crate) fn cross_entropies(logits: Tensor<2>, labels: &[u32]) -> Vec<f64> {
    let [_, n_classes] = logits.dims();
    let texts = host(logits);
    let texts = texts.chunks_exact(n_classes).zip(labels);
    texts.map(|(logits, label)| cross_entropy(logits, *label as usize)).collect()
}

/// `ln Σ exp(logits) − logits[label]`, in double precision.
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    sum.ln() - f64::from(logits[label] - max)
}

/// `‖after − before‖ / ‖before‖` of two lists of logits.
pub(crate) fn deviation(before: &[f32], after: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut before.iter().zip(after).map(|(a, b)| f64::from(b - a)));
    let size = norm(&mut before.iter().map(|v| f64::from(*v)));
    if difference > 0.0 { difference / size } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(losses: &[f64]) -> Outputs {
        Outputs { logits: Vec::new(), losses: losses.to_vec(), flops: Flops::default() }
    }

    #[test]
    fn hand_worked_values() {
        // e² / (e² + 1 + e) = 0.665241: −ln of it.
        assert!((cross_entropy(&[2.0, 0.0, 1.0], 0) - 0.407_606).abs() < 1e-6);
        assert!(cross_entropy(&[f32::NAN, 0.0], 0).is_nan());
        // Differences 1, 2, 6: mean 3, variance 7, standard error √(7/3).
        let paired = outputs(&[2.0, 4.0, 9.0]).against(&outputs(&[1.0, 2.0, 3.0]));
        assert_eq!(paired.mean, 3.0);
        assert!((paired.standard_error - (7.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
