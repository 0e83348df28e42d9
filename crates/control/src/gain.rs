//! What an edit is worth, and which of several are still worth training.

use crate::{MeasuredEffect, edits::change};

/// What a candidate gains over keeping the experts, in nats of validation loss: above 0 it beats keeping.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// Loss that it saves, minus what its experts cost: `−loss_increase − λ · change of n_experts`.
    pub nats: f64,
    /// Standard error of `nats`; infinite where nothing is known.
    pub standard_error: f64,
}

impl Gain {
    /// Of which nothing is known.
    pub(crate) const UNKNOWN: Self = Self { nats: f64::NAN, standard_error: f64::INFINITY };

    /// The gain that was measured, when an expert costs `expert_cost` nats (λ).
    pub fn of(effect: &MeasuredEffect, expert_cost: f64) -> Self {
        let nats = -effect.loss_increase() - expert_cost * change(&effect.edits) as f64;
        Self { nats, standard_error: effect.standard_error }
    }

    /// The same with a standard error that holds training luck of this standard deviation, nats, too.
    #[must_use]
    pub fn with_luck(self, luck: f64) -> Self {
        Self { standard_error: self.standard_error.hypot(luck), ..self }
    }

    /// The gain of the second measurement, if there was one.
    pub fn of_replicate(effect: &MeasuredEffect, expert_cost: f64) -> Option<Self> {
        let again = effect.replicate?;
        let nats = -again.difference - expert_cost * change(&effect.edits) as f64;
        Some(Self { nats, standard_error: again.standard_error })
    }

    /// `confidence` standard errors below.
    pub fn lower(&self, confidence: f64) -> f64 {
        self.nats - self.reach(confidence)
    }

    /// `confidence` standard errors above.
    pub fn upper(&self, confidence: f64) -> f64 {
        self.nats + self.reach(confidence)
    }

    /// What is not known at all is not known at a confidence of 0 either.
    fn reach(&self, confidence: f64) -> f64 {
        if self.standard_error == f64::INFINITY { f64::INFINITY } else { confidence * self.standard_error }
    }

    /// Whether both are numbers. What is not is never chosen.
    pub fn is_finite(&self) -> bool {
        self.nats.is_finite() && self.standard_error.is_finite()
    }
}

/// Which candidates go on training, from the gains of all of them so far: not those whose upper bound lies
/// below keeping (0) or below the best lower bound of another, and not those that gave no number. A candidate
/// that has stopped is passed with the gain it stopped at. Bounds are `confidence` standard errors away.
///
/// ```
/// use moelt_control::{Gain, race};
/// let gain = |nats| Gain { nats, standard_error: 0.01 };
/// assert_eq!(race(&[gain(0.1), gain(0.07), gain(0.05), gain(-0.03)], 2.0), [true, true, false, false]);
/// ```
pub fn race(gains: &[Gain], confidence: f64) -> Vec<bool> {
    let finite = gains.iter().filter(|gain| gain.is_finite());
    let bar = finite.map(|gain| gain.lower(confidence)).fold(0.0, f64::max);
    gains.iter().map(|gain| gain.is_finite() && gain.upper(confidence) >= bar).collect()
}

/// Which candidates go on training when the worse half stops, from their losses (nats) and whether they still run: the better half,
/// of an odd number the larger one. What gave no number stops.
///
/// ```
/// let runs = |losses: &[f64], runs: &[bool]| moelt_control::better_half(losses, runs);
/// assert_eq!(runs(&[0.3, 0.1, 0.2], &[true; 3]), [false, true, true]);
/// assert_eq!(runs(&[0.3, 0.1, 0.2], &[true, false, true]), [false, false, true]);
/// ```
pub fn better_half(losses: &[f64], runs: &[bool]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..losses.len()).filter(|at| runs[*at] && losses[*at].is_finite()).collect();
    order.sort_by(|one, other| losses[*one].total_cmp(&losses[*other]));
    order.truncate(order.len().div_ceil(2));
    (0..losses.len()).map(|at| order.contains(&at)).collect()
}

/// The best of the gains that surely beat keeping, the first of several.
pub(crate) fn best(gains: &[Gain], confidence: f64) -> Option<usize> {
    let sure = gains.iter().enumerate().filter(|(_, gain)| gain.is_finite() && gain.lower(confidence) > 0.0);
    sure.reduce(|best, other| if other.1.nats > best.1.nats { other } else { best }).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Edit, ExpertId, ExpertInit, LayerId};

    use super::*;
    use crate::Replicate;

    fn gain(nats: f64, standard_error: f64) -> Gain {
        Gain { nats, standard_error }
    }

    #[test]
    fn experts_cost_what_lambda_says() {
        let (layer, new) = (LayerId(0), ExpertId(9));
        let mut effect = MeasuredEffect {
            edits: vec![Edit::Grow { layer, new, init: ExpertInit::Fresh }],
            steps: 10,
            loss_keep: 0.75,
            loss: 0.5,
            standard_error: 0.125,
            replicate: Some(Replicate { difference: 0.5, standard_error: 0.25 }),
        };
        assert_eq!(Gain::of(&effect, 0.125), gain(0.125, 0.125));
        assert_eq!(Gain::of_replicate(&effect, 0.125), Some(gain(-0.625, 0.25)));
        effect.edits = [1, 2].map(|id| Edit::Prune { layer, expert: ExpertId(id) }).into();
        assert_eq!(Gain::of(&effect, 0.125), gain(0.5, 0.125));
    }

    #[test]
    fn a_race_stops_losers_and_what_is_no_number() {
        let gains = [gain(0.25, 0.0), gain(0.0, 0.125), gain(0.0, 0.0625), gain(f64::NAN, 0.0)];
        assert_eq!(race(&gains, 2.0), [true, true, false, false]);
        assert_eq!(race(&[gain(-1.0, 0.5), gain(-1.0, 0.25)], 2.0), [true, false]);
        assert_eq!(race(&[gain(-1.0, f64::INFINITY), gain(1.0, f64::NAN)], 0.0), [false, false]);
    }

    #[test]
    fn the_best_must_surely_beat_keeping() {
        assert_eq!(best(&[gain(0.5, 0.25), gain(0.375, 0.125), gain(0.25, 0.0625)], 2.0), Some(1));
        assert_eq!(best(&[gain(f64::NAN, 0.0), gain(9.0, f64::INFINITY), gain(9.0, f64::NAN)], 0.0), None);
        assert_eq!(best(&[], 2.0), None);
    }
}
