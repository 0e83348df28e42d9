//! How good predictions are, and the predictions themselves.

use serde::{Deserialize, Serialize};

/// What the model said of one example.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The true class.
    pub label: u32,
    /// The hidden or real domain of the example, where the data set has one.
    pub domain: Option<u32>,
    /// Probability of each class; sums to 1.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// The most probable class (the lower one on a tie).
    pub fn predicted(&self) -> u32 {
        let mut best = 0;
        for (class, p) in self.probabilities.iter().enumerate() {
            if *p > self.probabilities[best] {
                best = class;
            }
        }
        best as u32
    }
}

/// Accuracy on one domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainAccuracy {
    /// The domain.
    pub domain: u32,
    /// Examples in it.
    pub n: usize,
    /// Fraction classified right.
    pub accuracy: f64,
}

/// Quality of a set of predictions. Fractions, not percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Examples.
    pub n: usize,
    /// Fraction classified right.
    pub accuracy: f64,
    /// Mean of the classes' F1 scores; a class neither present nor predicted is left out.
    pub macro_f1: f64,
    /// Mean cross entropy, nats.
    pub loss: f64,
    /// Expected calibration error of the predicted class over 15 equal-width bins (Guo et al. 2017).
    pub ece: f64,
    /// `confusion[true][predicted]`, counts; empty with more than [`Metrics::CONFUSION_UP_TO`] classes.
    pub confusion: Vec<Vec<usize>>,
    /// Fraction of each class classified right (recall); `None` for a class without examples.
    pub per_class_accuracy: Vec<Option<f64>>,
    /// Accuracy per domain, in domain order; empty when the data set has none.
    pub per_domain: Vec<DomainAccuracy>,
}

impl Metrics {
    /// Classes up to which there is a confusion matrix: it grows with their square.
    pub const CONFUSION_UP_TO: usize = 1_000;

    /// Whether a second evaluation of the same examples counted the same, class by class.
    pub fn counts_as(&self, other: &Self) -> bool {
        let counts = |metrics: &Self| (metrics.n, metrics.accuracy, metrics.macro_f1);
        counts(self) == counts(other)
            && self.per_class_accuracy == other.per_class_accuracy
            && self.confusion == other.confusion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_confusion_matrix_other_counts_are_still_seen() {
        let metrics = |right: f64| Metrics {
            n: 2,
            accuracy: 0.5,
            macro_f1: 0.5,
            loss: 1.0,
            ece: 0.1,
            confusion: Vec::new(),
            per_class_accuracy: vec![Some(right), Some(1.0 - right)],
            per_domain: Vec::new(),
        };
        assert!(metrics(1.0).counts_as(&Metrics { loss: 2.0, ..metrics(1.0) }));
        assert!(!metrics(1.0).counts_as(&metrics(0.0)));
        assert!(!metrics(1.0).counts_as(&Metrics { confusion: vec![vec![1]], ..metrics(1.0) }));
    }
}
