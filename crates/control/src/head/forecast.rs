//! What a head expects of a move, as a distribution.

/// The gains that a move may have, nats, each as likely as the others: the prediction, and around it every error
/// that the head made on effects of the same move which it had not seen. So it is as wide and as lopsided as
/// the errors are, the noise of measuring among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast(Vec<f64>);

impl Forecast {
    /// At least one gain is needed, and all are finite.
    pub(super) fn new(gains: Vec<f64>) -> Self {
        Self(gains)
    }

    /// The same when the move costs `nats` more.
    #[must_use]
    pub fn minus(self, nats: f64) -> Self {
        Self(self.0.into_iter().map(|gain| gain - nats).collect())
    }

    /// The expected gain, nats.
    pub fn gain(&self) -> f64 {
        self.mean(|gain| gain)
    }

    /// The probability that the move beats keeping the experts.
    pub fn chance(&self) -> f64 {
        self.mean(|gain| f64::from(u8::from(gain > 0.0)))
    }

    /// What is gained, nats, by whoever learns the effect and makes the move only if it beats keeping: the expected
    /// improvement (Jones et al. 1998).
    pub fn improvement(&self) -> f64 {
        self.mean(|gain| gain.max(0.0))
    }

    fn mean(&self, of: impl Fn(f64) -> f64) -> f64 {
        self.0.iter().map(|gain| of(*gain)).sum::<f64>() / self.0.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_values() {
        let forecast = Forecast::new(vec![0.5, 0.25, -0.5, 1.75]).minus(0.25);
        assert_eq!((forecast.gain(), forecast.chance(), forecast.improvement()), (0.25, 0.5, 0.4375));
    }
}
