//! Hard-concrete gates (Louizos et al. 2018): numbers from 0 to 1 that are exactly 0 or 1 with a chance of their own.

use moelt_schema::L0GatesConfig;

/// The distribution of a gate: with `u` from `U(0, 1)` and `s = σ((ln u − ln(1 − u) + log α) / β)` it is `s (ζ − γ) + γ`, cut off at 0
/// and 1.
#[derive(Clone, Copy)]
pub(super) struct HardConcrete {
    temperature: f64,
    low: f64,
    high: f64,
}

/// A gate as it was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drawn {
    /// From 0 to 1.
    pub(super) z: f64,
    /// Its derivative by log α; 0 where it is cut off.
    pub(super) slope: f64,
}

/// Uniform numbers keep so far from 0 and 1: beyond single precision's resolution of 1 nothing is drawn.
const EDGE: f64 = 1e-6;

impl HardConcrete {
    pub(super) fn of(config: &L0GatesConfig) -> Self {
        let [low, high] = config.stretch;
        Self { temperature: config.temperature, low, high }
    }

    /// The gate that a uniform number makes.
    pub(super) fn drawn(&self, log_alpha: f64, u: f64) -> Drawn {
        let u = u.clamp(EDGE, 1.0 - EDGE);
        let s = sigmoid((u.ln() - (1.0 - u).ln() + log_alpha) / self.temperature);
        let stretched = s * (self.high - self.low) + self.low;
        let slope = (self.high - self.low) * s * (1.0 - s) / self.temperature;
        let is_between = stretched > 0.0 && stretched < 1.0;
        Drawn { z: stretched.clamp(0.0, 1.0), slope: if is_between { slope } else { 0.0 } }
    }

    /// The chance that it is above 0: `σ(log α − β ln(−γ / ζ))`.
    pub(super) fn chance_open(&self, log_alpha: f64) -> f64 {
        sigmoid(log_alpha - self.temperature * (-self.low / self.high).ln())
    }

    /// The gate without chance: `σ(log α) (ζ − γ) + γ`, cut off.
    pub(super) fn mean(&self, log_alpha: f64) -> f64 {
        (sigmoid(log_alpha) * (self.high - self.low) + self.low).clamp(0.0, 1.0)
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> HardConcrete {
        HardConcrete::of(&L0GatesConfig::default())
    }

    #[test]
    fn hand_worked_gates() {
        // u = ½ and log α = 0: s = ½, in the middle; slope 1.2 · ¼ · 1.5.
        let middle = gate().drawn(0.0, 0.5);
        assert!((middle.z - 0.5).abs() < 1e-12 && (middle.slope - 0.45).abs() < 1e-12);
        // s = σ(3 · 1.5) = 0.989013, stretched 1.0868: cut off.
        assert_eq!(gate().drawn(3.0, 0.5), Drawn { z: 1.0, slope: 0.0 });
        assert_eq!(gate().drawn(-3.0, 0.5), Drawn { z: 0.0, slope: 0.0 });
        // β ln(0.1 / 1.1) = −1.598597: σ(1.598597) = 0.831822.
        assert!((gate().chance_open(0.0) - 0.831_822).abs() < 1e-6);
        // σ(−1) · 1.2 − 0.1 = 0.222730.
        assert!((gate().mean(-1.0) - 0.222_730).abs() < 1e-6);
        assert_eq!((gate().mean(-3.0), gate().mean(3.0)), (0.0, 1.0));
    }

    #[test]
    fn the_slope_is_that_of_differences_and_the_chance_that_of_draws() {
        for log_alpha in [-1.0, 0.3, 1.2] {
            let z = |log_alpha| gate().drawn(log_alpha, 0.4).z;
            let slope = (z(log_alpha + 1e-5) - z(log_alpha - 1e-5)) / 2e-5;
            assert!((gate().drawn(log_alpha, 0.4).slope - slope).abs() < 1e-6, "{log_alpha}");
            let open = (0..10_000).filter(|i| gate().drawn(log_alpha, (f64::from(*i) + 0.5) / 1e4).z > 0.0);
            let share = open.count() as f64 / 1e4;
            assert!((gate().chance_open(log_alpha) - share).abs() < 1e-3, "{log_alpha}: {share}");
        }
    }

    #[test]
    fn nothing_is_no_number() {
        for log_alpha in [-1e300, 1e300] {
            let drawn = gate().drawn(log_alpha, 0.0);
            assert!(drawn.z.is_finite() && drawn.slope == 0.0);
            assert!(gate().chance_open(log_alpha).is_finite() && gate().mean(log_alpha).is_finite());
        }
    }
}
