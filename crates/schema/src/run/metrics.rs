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

    /// Refuses numbers that cannot be metrics of a model with `n_classes` classes, such as those of an altered file.
    ///
    /// # Errors
    /// What is wrong: the key, its value and what it must be.
    pub fn check(&self, n_classes: usize) -> Result<(), String> {
        let Self { n, accuracy, macro_f1, loss, ece, confusion: _, per_class_accuracy, per_domain } = self;
        self.check_confusion(n_classes)?;
        if per_class_accuracy.len() != n_classes {
            let found = per_class_accuracy.len();
            return Err(format!("per_class_accuracy: has {found} numbers for {n_classes} classes"));
        }
        if sum(per_domain.iter().map(|domain| &domain.n)).is_none_or(|domains| domains > *n) {
            return Err(format!("per_domain: has more examples than n = {n}"));
        }
        let of_domains = per_domain.iter().map(|domain| domain.accuracy);
        let mut shares = per_class_accuracy
            .iter()
            .flatten()
            .copied()
            .chain(of_domains)
            .chain([*accuracy, *macro_f1, *ece]);
        match shares.find(|share| !(0.0..=1.0).contains(share)) {
            Some(share) => Err(format!("has {share} for a share; must be 0 to 1")),
            None if !(loss.is_finite() && *loss >= 0.0) => {
                Err(format!("loss: is {loss}; must be at least 0"))
            }
            None => Ok(()),
        }
    }

    fn check_confusion(&self, n_classes: usize) -> Result<(), String> {
        let Self { n, accuracy, confusion, .. } = self;
        if n_classes > Self::CONFUSION_UP_TO && confusion.is_empty() {
            return Ok(());
        }
        if confusion.len() != n_classes || confusion.iter().any(|row| row.len() != n_classes) {
            return Err(format!("confusion: is not {n_classes} × {n_classes}, one row per class"));
        }
        if sum(confusion.iter().flatten()) != Some(*n) {
            return Err(format!("n: is {n}, which is not the sum of `confusion`"));
        }
        let right: usize = (0..n_classes).map(|class| confusion[class][class]).sum();
        // Of nothing every number is 0.
        let expected = right as f64 / (*n).max(1) as f64;
        if accuracy.is_nan() || (accuracy - expected).abs() > 1e-9 {
            return Err(format!("accuracy: is {accuracy}, but `confusion` says {expected}"));
        }
        Ok(())
    }
}

/// None when it is larger than a number can be.
fn sum<'a>(mut counts: impl Iterator<Item = &'a usize>) -> Option<usize> {
    counts.try_fold(0, |sum: usize, count| sum.checked_add(*count))
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

    #[test]
    fn metrics_that_contradict_themselves_are_refused() {
        let metrics = || Metrics {
            n: 4,
            accuracy: 0.75,
            macro_f1: 0.7,
            loss: 0.5,
            ece: 0.1,
            confusion: vec![vec![1, 1], vec![0, 2]],
            per_class_accuracy: vec![Some(0.5), Some(1.0)],
            per_domain: vec![DomainAccuracy { domain: 0, n: 4, accuracy: 0.75 }],
        };
        assert_eq!(metrics().check(2), Ok(()));
        type Change = fn(&mut Metrics);
        let cases: [(Change, &str); 9] = [
            (|m| m.n = 5, "n: is 5"),
            (|m| m.accuracy = 0.5, "accuracy: is 0.5, but `confusion` says 0.75"),
            (|m| m.loss = f64::INFINITY, "loss: is inf"),
            (|m| m.ece = 7.0, "has 7 for a share"),
            (|m| m.confusion[0].push(0), "confusion: is not 2 × 2"),
            (|m| m.confusion[0][0] = usize::MAX, "n: is 4"),
            (|m| m.per_class_accuracy.truncate(1), "per_class_accuracy: has 1 numbers for 2 classes"),
            (|m| m.per_domain[0].n = usize::MAX, "per_domain: has more examples than n = 4"),
            (|m| m.per_domain[0].accuracy = -1.0, "has -1 for a share"),
        ];
        for (change, message) in cases {
            let mut changed = metrics();
            change(&mut changed);
            let error = changed.check(2).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        assert!(metrics().check(3).is_err());
    }
}
