//! What arms are compared by.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a comparison is about. Of a metric of which less is better the *gain* is what is saved, so that a gain above 0
/// is always in favour of A.
///
/// ```
/// use moelt_schema::Metric;
/// assert_eq!(Metric::Accuracy.shown(0.0031), "+0.31 pp");
/// assert_eq!(Metric::Experts.shown(-4.0), "-4.0");
/// assert_eq!(Metric::TrainingFlops.shown(-(2.0f64.ln())), "-100.0 %");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Accuracy on the test split, a fraction.
    #[default]
    Accuracy,
    /// Accuracy − `price` × experts per layer of the judged checkpoint: what an expert must bring to be worth having.
    Utility {
        /// A fraction of accuracy: 0.001 is 0.1 percentage points an expert.
        price: f64,
    },
    /// Mean cross entropy on the test split, nats; less is better.
    Loss,
    /// Macro-F1 on the test split, a fraction.
    MacroF1,
    /// Experts per layer of the judged checkpoint; fewer are better.
    Experts,
    /// Operations of training with those of every run that a cell builds on, as a natural logarithm; less is better.
    TrainingFlops,
    /// Accuracy on the test split over a stream, a fraction: at each evaluation time the mean over the domains that are
    /// asked about then; of these the mean over the times. Only of data whose domains come and go.
    StreamAccuracy,
    /// How far test accuracy on a domain has fallen by the end from its best, a fraction (Chaudhry et al. 2018): the mean over the
    /// domains that are asked about at the end and were before; less is better. Only of data whose domains come and go.
    Forgetting,
    /// Operations of predicting a text of the test split, as a natural logarithm; less is better.
    InferenceFlops,
}

impl Metric {
    /// As a report names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Utility { .. } => "utility",
            Self::Loss => "loss",
            Self::MacroF1 => "macro-F1",
            Self::Experts => "experts",
            Self::TrainingFlops => "training FLOPs",
            Self::StreamAccuracy => "stream accuracy",
            Self::Forgetting => "forgetting",
            Self::InferenceFlops => "inference FLOPs",
        }
    }

    /// Whether every example of the test split has a score of its own. Otherwise a cell has a single one.
    pub fn is_by_example(self) -> bool {
        match self {
            Self::Accuracy | Self::Utility { .. } | Self::Loss => true,
            Self::MacroF1 | Self::Experts | Self::TrainingFlops => false,
            Self::StreamAccuracy | Self::Forgetting | Self::InferenceFlops => false,
        }
    }

    /// A gain with its unit: percentage points, nats, experts, or the part of the operations that is saved.
    pub fn shown(self, gain: f64) -> String {
        format!("{}{}", self.number(gain), self.unit())
    }

    /// The number of [`Self::shown`] alone.
    pub fn number(self, gain: f64) -> String {
        match self {
            Self::Accuracy
            | Self::Utility { .. }
            | Self::MacroF1
            | Self::StreamAccuracy
            | Self::Forgetting => {
                format!("{:+.2}", 100.0 * gain)
            }
            Self::Loss => format!("{gain:+.4}"),
            Self::Experts => format!("{gain:+.1}"),
            Self::TrainingFlops | Self::InferenceFlops => format!("{:+.1}", 100.0 * (1.0 - (-gain).exp())),
        }
    }

    /// What stands behind the number, with the blank before it.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Accuracy
            | Self::Utility { .. }
            | Self::MacroF1
            | Self::StreamAccuracy
            | Self::Forgetting => " pp",
            Self::Loss => " nats",
            Self::Experts => "",
            Self::TrainingFlops | Self::InferenceFlops => " %",
        }
    }
}

/// `utility (0.10 pp an expert)`.
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utility { price } => write!(f, "utility ({:.2} pp an expert)", 100.0 * price),
            other => f.write_str(other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_shown_in_the_unit_of_their_metric() {
        let utility = Metric::Utility { price: 0.001 };
        assert_eq!(
            (utility.shown(0.0125), utility.to_string()),
            ("+1.25 pp".into(), "utility (0.10 pp an expert)".into())
        );
        assert_eq!(Metric::Loss.shown(-0.01234), "-0.0123 nats");
        // Half the operations: ln 2 is saved, which is 50 %.
        assert_eq!(Metric::TrainingFlops.shown(2f64.ln()), "+50.0 %");
        assert_eq!(Metric::InferenceFlops.shown(-(1.5f64.ln())), "-50.0 %");
        assert_eq!(Metric::StreamAccuracy.shown(0.004), "+0.40 pp");
        assert_eq!(Metric::Forgetting.shown(-0.02), "-2.00 pp");
        assert_eq!(serde_json::to_string(&utility).unwrap(), r#"{"utility":{"price":0.001}}"#);
        assert_eq!(serde_json::from_str::<Metric>("\"training_flops\"").unwrap(), Metric::TrainingFlops);
        for (metric, name) in [
            (Metric::StreamAccuracy, "\"stream_accuracy\""),
            (Metric::Forgetting, "\"forgetting\""),
            (Metric::InferenceFlops, "\"inference_flops\""),
        ] {
            assert_eq!(serde_json::to_string(&metric).unwrap(), name);
            assert!(!metric.is_by_example());
        }
    }
}
