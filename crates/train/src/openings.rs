//! New experts are let in gradually: their router offset rises from "never chosen" to nothing.

use moelt_schema::{CheckedPlan, ExpertId, LayerId, Opening, RowSource, RowStart};

use crate::TrainState;

/// Offset of an expert that has just been grown: it leaves it `e⁻³⁰` of its probability, less than single
/// precision resolves, so that the model computes what it did without the expert.
const CLOSED: f32 = -30.0;

/// What is added to the offset after `age` of `opening` steps: `ln (age / opening)`, so that the expert's
/// probability rises linearly.
fn closing(age: u64, opening: u64) -> f32 {
    ((age as f32 / opening.max(1) as f32).ln()).clamp(CLOSED, 0.0)
}

/// An expert that is being let in, and where its offset stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    opening: Opening,
    offset: f32,
}

impl TrainState {
    /// Sets the offsets of experts that are being let in, for the step to come. An offset never falls: a run
    /// that takes over a half-open expert goes on from there.
    pub(crate) fn let_in(&mut self, opening: u64) {
        for Held { opening: now, offset } in self.held() {
            let age = self.step - now.since;
            let risen = (now.offset + closing(age, opening)).max(offset);
            self.set_offset(now.layer, now.expert, if age >= opening { now.offset } else { risen });
        }
        let step = self.step;
        self.progress.openings.retain(|now| step - now.since < opening);
    }

    /// Every expert that is being let in.
    pub(crate) fn held(&self) -> Vec<Held> {
        let held = |opening: &Opening| {
            let offset = self.offset(opening.layer, opening.expert)?;
            Some(Held { opening: *opening, offset })
        };
        self.progress.openings.iter().filter_map(held).collect()
    }

    /// Gives all experts the offsets that they are going to have: what an edit copies, halves and averages is that,
    /// and not where an opening happens to stand. [`Self::put_back`] is the way back.
    pub(crate) fn let_in_entirely(&mut self) {
        for now in self.progress.openings.clone() {
            self.set_offset(now.layer, now.expert, now.offset);
        }
    }

    /// Experts that are being let in stand where they stood.
    pub(crate) fn put_back(&mut self, held: &[Held]) {
        for held in held {
            self.set_offset(held.opening.layer, held.opening.expert, held.offset);
        }
    }

    /// Openings after a plan, whose model has all experts let in: those of experts that stay, as they were
    /// `held` before, and, with `opening` > 0, those of experts grown by it.
    pub(crate) fn move_openings(&mut self, plan: &CheckedPlan, held: &[Held], opening: u64) {
        let mut moved: Vec<Held> = Vec::new();
        for (layer, map) in plan.maps() {
            let (before, after) = (plan.before().layer(*layer), plan.after().layer(*layer));
            let (Some(before), Some(after)) = (before, after) else { continue };
            let of = |old: usize| {
                let is =
                    |held: &&Held| (held.opening.layer, held.opening.expert) == (*layer, before.experts[old]);
                held.iter().find(is).copied()
            };
            for (expert, source) in after.experts.iter().zip(&map.rows) {
                let Some(offset) = self.offset(*layer, *expert) else { continue };
                let now = Opening { layer: *layer, expert: *expert, since: self.step, offset };
                moved.extend(match source {
                    RowSource::New { start, .. } if opening > 0 && !matches!(start, RowStart::Half(_)) => {
                        Some(Held { opening: now, offset: offset + CLOSED })
                    }
                    source => source.origin().and_then(of).map(|origin| origin.passed_on(now)),
                });
            }
        }
        moved.extend(held.iter().filter(|held| !plan.maps().contains_key(&held.opening.layer)));
        self.progress.openings = moved.iter().map(|held| held.opening).collect();
        // Nobody is let in further by an edit: that is for the step to come.
        self.put_back(&moved);
    }

    fn offset(&self, layer: LayerId, expert: ExpertId) -> Option<f32> {
        self.model().offsets(layer).get(self.position(layer, expert)?).copied()
    }

    fn set_offset(&mut self, layer: LayerId, expert: ExpertId, offset: f32) {
        let Some(position) = self.position(layer, expert) else { return };
        let mut offsets = self.model().offsets(layer);
        offsets[position] = offset;
        self.trainable.module = self.model().clone().with_offsets(layer, &offsets);
        if let Some(average) = &mut self.trainable.average {
            average.copy_untrained(&self.trainable.module);
        }
    }

    fn position(&self, layer: LayerId, expert: ExpertId) -> Option<usize> {
        self.layout.layer(layer)?.experts.iter().position(|id| *id == expert)
    }
}

impl Held {
    /// The same opening for `now`: the expert itself, a half or copy of it, or it with others merged into it.
    /// It is as far open as it was, below the offset that it is going to have.
    fn passed_on(self, now: Opening) -> Self {
        let lowered = now.offset - self.opening.offset;
        // Bit by bit where nothing is lowered.
        let offset = if lowered == 0.0 { self.offset } else { self.offset + lowered };
        Self { opening: Opening { since: self.opening.since, ..now }, offset }
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
