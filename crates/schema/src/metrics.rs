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
    /// `confusion[true][predicted]`, counts.
    pub confusion: Vec<Vec<usize>>,
    /// Fraction of each class classified right (recall); `None` for a class without examples.
    pub per_class_accuracy: Vec<Option<f64>>,
    /// Accuracy per domain, in domain order; empty when the data set has none.
    pub per_domain: Vec<DomainAccuracy>,
}
