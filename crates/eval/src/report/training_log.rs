//! What a run's `events.jsonl` says of its training: losses, gradients and routing over time.

use serde::Deserialize;

use crate::EvalError;

/// Training over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingLog {
    /// Means over `train.log_every` steps each, in order.
    pub windows: Vec<LogWindow>,
    /// Evaluations on the validation split, in order.
    pub validations: Vec<LogValidation>,
}

/// Means over the steps since the window before.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LogWindow {
    /// Optimizer steps done at its end.
    pub step: u64,
    /// Mean cross entropy, nats.
    pub loss: f64,
    /// Mean gradient norm before clipping.
    pub grad_norm: f64,
    /// What each layer with a router did, in the order of layers.
    #[serde(rename = "routing")]
    pub layers: Vec<LogRouting>,
}

/// What a router did in a window. Entropies in nats.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LogRouting {
    /// The fraction of the routed tokens that each expert got, in router order.
    pub utilization: Vec<f64>,
    /// Mean entropy of a token's router probabilities.
    pub routing_entropy: f64,
    /// Entropy of `utilization`.
    pub load_entropy: f64,
}

/// An evaluation on the validation split.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct LogValidation {
    /// Optimizer steps done.
    pub step: u64,
    /// Mean cross entropy, nats.
    pub loss: f64,
    /// Fraction classified right.
    pub accuracy: f64,
}

/// A line that is about training, or any other.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Window(LogWindow),
    Validation(LogValidation),
    #[serde(other)]
    Other,
}

impl TrainingLog {
    /// Reads `events.jsonl`. Lines of other kinds, and fields that are not known here, are passed over. `name` is the file's name for
    /// errors.
    ///
    /// # Errors
    /// At the first line that is no event, or a window or an evaluation without its numbers.
    ///
    /// ```
    /// let log = r#"{"step":50,"event":"validation","accuracy":0.9,"loss":0.3,"best":true}"#;
    /// let log = moelt_eval::TrainingLog::from_jsonl(log, "events.jsonl").unwrap();
    /// assert_eq!((log.validations[0].step, log.validations[0].accuracy), (50, 0.9));
    /// ```
    pub fn from_jsonl(text: &str, name: &str) -> Result<Self, EvalError> {
        let mut log = Self::default();
        for (line, json) in (1..).zip(text.lines()) {
            let error = |cause: serde_json::Error| EvalError::Events {
                name: name.to_owned(),
                line,
                message: cause.to_string(),
            };
            match serde_json::from_str(json).map_err(error)? {
                Line::Window(window) => log.windows.push(window),
                Line::Validation(validation) => log.validations.push(validation),
                Line::Other => {}
            }
        }
        Ok(log)
    }

    /// At most `n` windows and `n` evaluations, spread evenly; the last of each is kept.
    #[must_use]
    pub fn thinned(self, n: usize) -> Self {
        Self { windows: thinned(self.windows, n), validations: thinned(self.validations, n) }
    }
}

/// Every so many-th, counted from the end.
fn thinned<T>(all: Vec<T>, n: usize) -> Vec<T> {
    let (len, step) = (all.len(), all.len().div_ceil(n.max(1)).max(1));
    all.into_iter().enumerate().filter(|(at, _)| (len - 1 - at) % step == 0).map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: &str = r#"{"step":10,"event":"window","steps":10,"loss":0.7,"grad_norm":0.1,"lr":0.01,"routing":[{"tokens":4.0,"utilization":[0.75,0.25],"routing_entropy":0.6,"load_entropy":0.5}],"wall":{}}"#;

    #[test]
    fn windows_are_read_and_the_rest_is_passed_over() {
        let text = [r#"{"event":"start"}"#, WINDOW, r#"{"event":"of a later version","step":1}"#].join("\n");
        let log = TrainingLog::from_jsonl(&text, "e").unwrap();
        let [window] = log.windows.as_slice() else { panic!("{log:?}") };
        assert_eq!((window.step, window.loss, window.grad_norm), (10, 0.7, 0.1));
        assert_eq!(
            (window.layers[0].utilization.as_slice(), window.layers[0].load_entropy),
            (&[0.75, 0.25][..], 0.5)
        );
        let message = TrainingLog::from_jsonl(&WINDOW.replace("\"loss\"", "\"lost\""), "e").unwrap_err();
        assert!(message.to_string().starts_with("e:1: missing field `loss`"), "{message}");
    }

    #[test]
    fn thinning_keeps_the_end() {
        assert_eq!(thinned((1..=10).collect(), 4), [1, 4, 7, 10]);
        assert_eq!(thinned((1..=3).collect(), 60), [1, 2, 3]);
        assert!(thinned(Vec::<u8>::new(), 60).is_empty());
    }
}
