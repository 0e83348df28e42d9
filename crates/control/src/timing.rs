//! When edits are allowed, in steps and in decisions.

use std::ops::RangeInclusive;

use moelt_schema::{EditsConfig, LayerMemory};

/// Slack for a fraction of all steps that is a whole step on paper and not quite in floating point.
const ROUNDING: f64 = 1e-9;

/// The steps between warm-up and end of editing. Decision `k`, from 1, is at step `k × every`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    every: u64,
    /// The last step of the warm-up.
    warmup: u64,
    /// The last step with edits.
    until: u64,
    /// The last step at which something can be decided: after the last of all nothing is.
    last: u64,
}

impl Timing {
    pub(crate) fn new(config: &EditsConfig, total_steps: u64) -> Self {
        let step = |fraction: f64| (fraction * total_steps as f64 + ROUNDING) as u64;
        let last = total_steps.saturating_sub(1);
        let (warmup, until) = (step(config.warmup), step(config.until).min(last));
        Self { every: config.every.max(1), warmup, until, last }
    }

    /// Why nothing is edited at `step`; none when edits are allowed.
    pub(crate) fn closed(&self, step: u64) -> Option<String> {
        if step <= self.warmup {
            Some(format!("warm-up until step {}", self.warmup))
        } else if step > self.until {
            Some(format!("no edits after step {}", self.until))
        } else {
            None
        }
    }

    /// The decisions at which edits are allowed.
    pub(crate) fn decisions(&self) -> RangeInclusive<u64> {
        self.warmup / self.every + 1..=self.until / self.every
    }

    /// The first decision at or after `step`.
    pub(crate) fn decision_at(&self, step: u64) -> u64 {
        step.div_ceil(self.every).max(1)
    }

    /// Decisions of the whole run.
    pub(crate) fn n_decisions(&self) -> u64 {
        self.last / self.every
    }

    /// The step of a decision.
    pub(crate) fn step_of(&self, decision: u64) -> u64 {
        decision * self.every
    }
}

/// The last decision of the cooldown of so many decisions that `decision` falls into, for the layer with this memory.
pub(crate) fn cooling_until(cooldown: u64, memory: &LayerMemory, decision: u64) -> Option<u64> {
    let until = memory.last_edit?.saturating_add(cooldown);
    (decision <= until).then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_open_exactly_when_its_step_is() {
        for (every, warmup, until, total) in
            [(50, 0.1, 0.7, 1000), (7, 0.57, 0.9, 100), (10, 0.0, 1.0, 95), (30, 0.5, 0.4, 100)]
        {
            let config = EditsConfig { every, warmup, until, ..EditsConfig::default() };
            let timing = Timing::new(&config, total);
            for decision in 1..=total / every {
                let open = timing.closed(timing.step_of(decision)).is_none();
                assert_eq!(open, timing.decisions().contains(&decision), "decision {decision}");
                assert_eq!(timing.decision_at(timing.step_of(decision)), decision);
            }
        }
    }

    #[test]
    fn the_reason_names_the_step() {
        let timing = Timing::new(&EditsConfig::default(), 900);
        assert_eq!(timing.closed(90).as_deref(), Some("warm-up until step 90"));
        assert_eq!(timing.closed(91), None);
        assert_eq!(timing.closed(630), None);
        assert_eq!(timing.closed(631).as_deref(), Some("no edits after step 630"));
    }
}
