//! New experts ramp in gradually: their router bias rises from "never chosen" to nothing.

use moelt_schema::{CheckedPlan, ExpertId, LayerId, RampIn, RowSource, RowStart};

use crate::TrainState;

/// Router bias of an expert that has just been grown: it leaves it `e⁻³⁰` of its probability, less than single
/// precision resolves, so that the model computes what it did without the expert.
const CLOSED: f32 = -30.0;

/// What is added to the bias after `age` of `ramping_in` steps: `ln (age / ramping_in)`, so that the expert's
/// probability rises linearly.
fn closing(age: u64, ramping_in: u64) -> f32 {
    ((age as f32 / ramping_in.max(1) as f32).ln()).clamp(CLOSED, 0.0)
}

/// An expert that is ramping in, and where its bias stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    ramping_in: RampIn,
    bias: f32,
}

impl TrainState {
    /// Sets the biases of experts that are ramping in, for the step to come. A bias never falls: a run
    /// that takes over an expert whose share still rises goes on from there.
    pub(crate) fn ramp_in(&mut self, ramping_in: u64) {
        for Held { ramping_in: now, bias } in self.held() {
            let age = self.step - now.since;
            let risen = (now.bias + closing(age, ramping_in)).max(bias);
            self.set_bias(now.layer, now.expert, if age >= ramping_in { now.bias } else { risen });
        }
        let step = self.step;
        self.progress.ramp_ins.retain(|now| step - now.since < ramping_in);
    }

    /// The experts that are ramping in.
    pub(crate) fn ramping_in(&self) -> Vec<(LayerId, ExpertId)> {
        self.progress.ramp_ins.iter().map(|now| (now.layer, now.expert)).collect()
    }

    /// Every expert that is ramping in, with its bias.
    pub(crate) fn held(&self) -> Vec<Held> {
        let held = |ramping_in: &RampIn| {
            let bias = self.bias(ramping_in.layer, ramping_in.expert)?;
            Some(Held { ramping_in: *ramping_in, bias })
        };
        self.progress.ramp_ins.iter().filter_map(held).collect()
    }

    /// Gives all experts the biases that they are going to have: what an edit copies, halves and averages is that,
    /// and not where a ramp-in happens to stand. [`Self::put_back`] is the way back.
    pub(crate) fn let_in_entirely(&mut self) {
        for now in self.progress.ramp_ins.clone() {
            self.set_bias(now.layer, now.expert, now.bias);
        }
    }

    /// Experts that are ramping in stand where they stood.
    pub(crate) fn put_back(&mut self, held: &[Held]) {
        for held in held {
            self.set_bias(held.ramping_in.layer, held.ramping_in.expert, held.bias);
        }
    }

    /// Ramp-ins after a plan, whose model has all experts at their full share: those of experts that stay, as they were
    /// `held` before, and, with `ramping_in` > 0, those of experts grown by it.
    pub(crate) fn move_ramp_ins(&mut self, plan: &CheckedPlan, held: &[Held], ramping_in: u64) {
        let mut moved: Vec<Held> = Vec::new();
        for (layer, map) in plan.maps() {
            let (before, after) = (plan.before().layer(*layer), plan.after().layer(*layer));
            let (Some(before), Some(after)) = (before, after) else { continue };
            let of = |old: usize| {
                let is = |held: &&Held| {
                    (held.ramping_in.layer, held.ramping_in.expert) == (*layer, before.experts[old])
                };
                held.iter().find(is).copied()
            };
            for (expert, source) in after.experts.iter().zip(&map.rows) {
                let Some(bias) = self.bias(*layer, *expert) else { continue };
                let now = RampIn { layer: *layer, expert: *expert, since: self.step, bias };
                moved.extend(match source {
                    RowSource::New { start, .. }
                        if ramping_in > 0 && !matches!(start, RowStart::Half(_) | RowStart::Shifted(..)) =>
                    {
                        Some(Held { ramping_in: now, bias: bias + CLOSED })
                    }
                    source => source.origin().and_then(of).map(|origin| origin.passed_on(now)),
                });
            }
        }
        moved.extend(held.iter().filter(|held| !plan.maps().contains_key(&held.ramping_in.layer)));
        self.progress.ramp_ins = moved.iter().map(|held| held.ramping_in).collect();
        // Nobody ramps in further by an edit: that is for the step to come.
        self.put_back(&moved);
    }

    fn bias(&self, layer: LayerId, expert: ExpertId) -> Option<f32> {
        self.model().biases(layer).get(self.position(layer, expert)?).copied()
    }

    fn set_bias(&mut self, layer: LayerId, expert: ExpertId, bias: f32) {
        let Some(position) = self.position(layer, expert) else { return };
        let mut biases = self.model().biases(layer);
        biases[position] = bias;
        self.trainable.module = self.model().clone().with_biases(layer, &biases);
        if let Some(average) = &mut self.trainable.average {
            average.copy_untrained(&self.trainable.module);
        }
    }

    fn position(&self, layer: LayerId, expert: ExpertId) -> Option<usize> {
        self.layout.layer(layer)?.experts.iter().position(|id| *id == expert)
    }
}

impl Held {
    /// The same ramp-in for `now`: the expert itself, a half or copy of it, or it with others merged into it.
    /// It is as far open as it was, below the bias that it is going to have.
    fn passed_on(self, now: RampIn) -> Self {
        let lowered = now.bias - self.ramping_in.bias;
        // Bit by bit where nothing is lowered.
        let bias = if lowered == 0.0 { self.bias } else { self.bias + lowered };
        Self { ramping_in: RampIn { since: self.ramping_in.since, ..now }, bias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probability_rises_linearly_from_nothing_to_all() {
        assert_eq!(closing(0, 100), CLOSED);
        assert!((closing(50, 100) - 0.5f32.ln()).abs() < 1e-6);
        assert_eq!(closing(100, 100), 0.0);
        assert_eq!(closing(0, 0), CLOSED);
    }
}
