//! How good a set of predictions is.

use std::collections::BTreeMap;

use moelt_schema::{DomainAccuracy, Metrics, Prediction};

/// Bins of the calibration error.
const ECE_BINS: usize = 15;

/// Accuracy, macro-F1, loss, calibration and confusion of `predictions` over `n_classes` classes.
///
/// The fields of [`Metrics`] say what each is. The loss is the mean of `−ln p(label)`, nats, with `p`
/// raised to [`f32::MIN_POSITIVE`] where it is smaller. Without predictions every number is 0.
///
/// # Panics
/// When a label or a list of probabilities does not fit `n_classes`.
///
/// ```
/// use moelt_schema::Prediction;
/// let right = Prediction { label: 1, domain: None, probabilities: vec![0.2, 0.8] };
/// let wrong = Prediction { label: 0, domain: None, probabilities: vec![0.4, 0.6] };
/// let metrics = moelt_eval::metrics(&[right, wrong], 2);
/// assert_eq!(metrics.accuracy, 0.5);
/// assert_eq!(metrics.confusion, [[0, 1], [0, 1]]);
/// ```
pub fn metrics(predictions: &[Prediction], n_classes: usize) -> Metrics {
    let counts = Counts::of(predictions.iter().map(|prediction| pair(prediction, n_classes)), n_classes);
    let recall = |class: usize| {
        let n = counts.present[class];
        (n > 0).then(|| counts.right[class] as f64 / n as f64)
    };
    let right: usize = counts.right.iter().sum();
    let with_confusion = n_classes <= Metrics::CONFUSION_UP_TO;
    Metrics {
        n: predictions.len(),
        accuracy: ratio(right as f64, predictions.len()),
        macro_f1: counts.macro_f1(),
        loss: ratio(predictions.iter().map(cross_entropy).sum(), predictions.len()),
        ece: calibration_error(predictions),
        per_class_accuracy: (0..n_classes).map(recall).collect(),
        per_domain: per_domain(predictions),
        confusion: if with_confusion { confusion(predictions, n_classes) } else { Vec::new() },
    }
}

/// Macro-F1 of pairs of label and predicted class, of `n_classes`.
pub(crate) fn macro_f1(pairs: impl IntoIterator<Item = (usize, usize)>, n_classes: usize) -> f64 {
    Counts::of(pairs, n_classes).macro_f1()
}

/// Label and predicted class.
fn pair(prediction: &Prediction, n_classes: usize) -> (usize, usize) {
    let (label, given) = (prediction.label as usize, prediction.probabilities.len());
    assert!(label < n_classes, "label {label} of {n_classes} classes");
    assert_eq!(given, n_classes, "{given} probabilities for {n_classes} classes");
    (label, prediction.predicted() as usize)
}

/// `sum / n`, and 0 of nothing.
fn ratio(sum: f64, n: usize) -> f64 {
    if n == 0 { 0.0 } else { sum / n as f64 }
}

fn is_right(prediction: &Prediction) -> bool {
    prediction.predicted() == prediction.label
}

fn cross_entropy(prediction: &Prediction) -> f64 {
    let p = prediction.probabilities[prediction.label as usize].max(f32::MIN_POSITIVE);
    -f64::from(p).ln()
}

/// Examples of each class: those there are, those predicted, those predicted rightly.
struct Counts {
    present: Vec<usize>,
    predicted: Vec<usize>,
    right: Vec<usize>,
}

impl Counts {
    fn of(pairs: impl IntoIterator<Item = (usize, usize)>, n_classes: usize) -> Self {
        let none = || vec![0; n_classes];
        let mut counts = Self { present: none(), predicted: none(), right: none() };
        for (label, predicted) in pairs {
            counts.present[label] += 1;
            counts.predicted[predicted] += 1;
            counts.right[label] += usize::from(predicted == label);
        }
        counts
    }

    /// Mean over the classes that occur of `2·tp / (2·tp + fp + fn)`.
    fn macro_f1(&self) -> f64 {
        let scores: Vec<f64> = (0..self.right.len())
            .filter_map(|class| {
                let occurrences = self.present[class] + self.predicted[class];
                (occurrences > 0).then(|| 2.0 * self.right[class] as f64 / occurrences as f64)
            })
            .collect();
        ratio(scores.iter().sum(), scores.len())
    }
}

/// `[true][predicted]`, counts.
fn confusion(predictions: &[Prediction], n_classes: usize) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0; n_classes]; n_classes];
    for prediction in predictions {
        counts[prediction.label as usize][prediction.predicted() as usize] += 1;
    }
    counts
}

/// Expected calibration error: `Σ_b |right_b − confidence_b| / n` over bins `(b/15, (b+1)/15]` of the
/// predicted class's probability, with sums over each bin (Guo et al. 2017, eq. 3).
fn calibration_error(predictions: &[Prediction]) -> f64 {
    let mut gaps = [0.0; ECE_BINS];
    for prediction in predictions {
        let confidence = f64::from(prediction.probabilities[prediction.predicted() as usize]);
        let bin = (confidence * ECE_BINS as f64).ceil() as usize;
        gaps[bin.clamp(1, ECE_BINS) - 1] += f64::from(u8::from(is_right(prediction))) - confidence;
    }
    ratio(gaps.iter().map(|gap| gap.abs()).sum(), predictions.len())
}

fn per_domain(predictions: &[Prediction]) -> Vec<DomainAccuracy> {
    let mut counts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for prediction in predictions {
        if let Some(domain) = prediction.domain {
            let (right, n) = counts.entry(domain).or_default();
            *right += usize::from(is_right(prediction));
            *n += 1;
        }
    }
    counts
        .into_iter()
        .map(|(domain, (right, n))| DomainAccuracy { domain, n, accuracy: ratio(right as f64, n) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(label: u32, domain: Option<u32>, probabilities: &[f32]) -> Prediction {
        Prediction { label, domain, probabilities: probabilities.to_vec() }
    }

    #[test]
    fn equal_hand_worked_values() {
        let predictions = [
            prediction(0, Some(1), &[0.75, 0.25, 0.0]),
            prediction(0, Some(1), &[0.25, 0.75, 0.0]),
            prediction(1, Some(0), &[0.25, 0.75, 0.0]),
            prediction(1, None, &[0.5, 0.5, 0.0]),
        ];
        let metrics = metrics(&predictions, 3);
        assert_eq!((metrics.n, metrics.accuracy), (4, 0.5));
        assert_eq!(metrics.confusion, [[1, 1, 0], [1, 1, 0], [0, 0, 0]]);
        // Classes 0 and 1: tp 1, fp 1, fn 1, F1 = 2/4. Class 2 does not occur.
        assert_eq!(metrics.macro_f1, 0.5);
        assert_eq!(metrics.per_class_accuracy, [Some(0.5), Some(0.5), None]);
        // −(2·ln 0.75 + ln 0.25 + ln 0.5) / 4
        assert!((metrics.loss - 0.663_702).abs() < 1e-6, "{}", metrics.loss);
        // Three at confidence 0.75 of which two are right, one at 0.5 that is wrong.
        assert!((metrics.ece - (0.25 + 0.5) / 4.0).abs() < 1e-12, "{}", metrics.ece);
        let domain = |domain, n, accuracy| DomainAccuracy { domain, n, accuracy };
        assert_eq!(metrics.per_domain, [domain(0, 1, 1.0), domain(1, 2, 0.5)]);
    }

    #[test]
    fn many_classes_have_everything_but_a_confusion_matrix() {
        let n_classes = 100_000;
        let one = |label: u32, predicted: usize| {
            let mut probabilities = vec![0.0; n_classes];
            probabilities[predicted] = 1.0;
            prediction(label, None, &probabilities)
        };
        let metrics = metrics(&[one(0, 0), one(99_999, 99_999), one(7, 0)], n_classes);
        assert_eq!(metrics.confusion, Vec::<Vec<usize>>::new());
        assert_eq!(metrics.accuracy, 2.0 / 3.0);
        // Class 0: tp 1, fp 1; class 99,999: tp 1; class 7: fn 1.
        assert!((metrics.macro_f1 - (2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-12);
        assert_eq!(
            (metrics.per_class_accuracy[7], metrics.per_class_accuracy[99_999]),
            (Some(0.0), Some(1.0))
        );
    }

    #[test]
    fn a_probability_of_zero_costs_a_finite_loss() {
        let metrics = metrics(&[prediction(1, None, &[1.0, 0.0])], 2);
        assert!((metrics.loss + f64::from(f32::MIN_POSITIVE).ln()).abs() < 1e-12);
        assert_eq!(metrics.ece, 1.0);
    }

    #[test]
    fn nothing_gives_zeros() {
        let metrics = metrics(&[], 2);
        assert_eq!((metrics.n, metrics.accuracy, metrics.macro_f1, metrics.loss), (0, 0.0, 0.0, 0.0));
    }
}
