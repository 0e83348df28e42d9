//! Forks without an edit, each with an order of batches and dropout of its own: how much does luck look like a gain?

use moelt_schema::{EditsConfig, Evidence, Layout, PlaceboForksConfig, PolicyState};

use crate::{Decision, Gain, MeasuredEffect, Policy, StatsWindow, Trial, gain::best, timing::Timing};

/// Has forks trained that differ from keeping by luck alone, and keeps.
pub(super) struct PlaceboForks {
    config: PlaceboForksConfig,
    edits: EditsConfig,
    state: PolicyState,
}

impl PlaceboForks {
    pub(super) fn new(config: PlaceboForksConfig, edits: EditsConfig, state: PolicyState) -> Self {
        Self { config, edits, state }
    }
}

/// Standard deviation of the gain of one run over another that luck alone makes, nats: √2 times that of the forks, less what
/// texts explain. The forks of a look-ahead share their luck, as far as the edit leaves it the same: for them it is an upper
/// bound. None of fewer than two numbers.
fn luck(gains: &[Gain]) -> Option<f64> {
    let n = gains.len() as f64;
    if gains.len() < 2 {
        return None;
    }
    let mean = gains.iter().map(|gain| gain.nats).sum::<f64>() / n;
    let variance = gains.iter().map(|gain| (gain.nats - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let of_texts = gains.iter().map(|gain| gain.standard_error.powi(2)).sum::<f64>() / n / 2.0;
    Some((2.0 * (variance - of_texts).max(0.0)).sqrt())
}

impl Policy for PlaceboForks {
    fn decide(&mut self, window: &StatsWindow<'_>, _: &Layout) -> Decision {
        self.state.decisions += 1;
        if let Some(reason) = Timing::new(&self.edits, window.total_steps).closed(window.step) {
            return Decision::keep(reason, Evidence::default());
        }
        let PlaceboForksConfig { forks, horizon, .. } = self.config;
        let trial = Trial { own_orders: true, ..Trial::new(vec![Vec::new(); forks], horizon) };
        let reason = format!("{forks} forks without an edit train {horizon} steps in orders of their own");
        Decision::measure(trial, reason, Evidence::default())
    }

    fn observe(&mut self, _: &StatsWindow<'_>, _: &Layout, effects: &[MeasuredEffect]) -> Decision {
        let gains = effects.iter().map(|effect| Gain::of(effect, 0.0)).filter(Gain::is_finite);
        let gains: Vec<Gain> = gains.collect();
        let most = gains.iter().copied().reduce(|most, gain| if gain.nats > most.nats { gain } else { most });
        let Some(most) = most else {
            return Decision::keep("no fork gave a number", Evidence::default());
        };
        let with_luck = gains.iter().map(|gain| gain.with_luck(self.config.training_luck));
        let would_act = best(&with_luck.collect::<Vec<_>>(), self.config.confidence).is_some();
        let mut evidence = Evidence::default()
            .with("best_gain", most.nats)
            .with("standard_error", most.standard_error)
            .with("would_act", f64::from(u8::from(would_act)));
        if let Some(luck) = luck(&gains) {
            evidence = evidence.with("luck", luck);
        }
        let word = if would_act { "would have been taken for a gain" } else { "is no sure gain" };
        let reason = format!(
            "the best of {} forks without an edit gains {:+.4} ± {:.4} nats: it {word}",
            gains.len(),
            most.nats,
            most.standard_error
        );
        Decision::keep(reason, evidence)
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::LayerKind;

    use super::*;
    use crate::Action;

    fn effect(gain: f64) -> MeasuredEffect {
        let (loss_keep, loss, standard_error) = (1.0, 1.0 - gain, 0.01);
        MeasuredEffect { edits: Vec::new(), steps: 50, loss_keep, loss, standard_error, replicate: None }
    }

    #[test]
    fn the_best_of_several_forks_is_written_down_and_nothing_is_done() {
        let config = PlaceboForksConfig { forks: 3, horizon: 50, confidence: 2.0, training_luck: 0.0 };
        let edits = EditsConfig { warmup: 0.0, until: 1.0, ..EditsConfig::default() };
        let mut policy = PlaceboForks::new(config, edits, PolicyState::default());
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        let window = StatsWindow { step: 50, total_steps: 100, sums: &[], loss: 1.0, ramping_in: &[] };
        let Action::Measure(trial) = policy.decide(&window, &layout).action else { panic!("it measures") };
        assert!(trial.own_orders && trial.candidates == vec![Vec::new(); 3] && trial.steps == 50);
        let decision = policy.observe(&window, &layout, &[effect(0.03), effect(-0.01), effect(0.01)]);
        assert_eq!(decision.action, Action::Keep);
        let numbers = &decision.evidence.numbers;
        assert_eq!((numbers["would_act"], (numbers["best_gain"] * 100.0).round()), (1.0, 3.0));
        // Variance 4e-4 of 0.03, −0.01 and 0.01, less half of 1e-4 for the texts, twice: √(7e-4).
        assert!((numbers["luck"] - 7e-4f64.sqrt()).abs() < 1e-9, "{}", numbers["luck"]);
        let small = policy.observe(&window, &layout, &[effect(0.019), effect(-0.01)]);
        assert_eq!(small.evidence.numbers["would_act"], 0.0);
    }
}
