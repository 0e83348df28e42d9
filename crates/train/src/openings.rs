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

impl TrainState {
    /// Sets the offsets of experts that are being let in, for the step to come. An offset never falls: a run
    /// that takes over a half-open expert goes on from there.
    pub(crate) fn let_in(&mut self, opening: u64) {
        let openings = std::mem::take(&mut self.progress.openings);
        for now in openings {
            let (age, offset) = (self.step - now.since, self.offset(now.layer, now.expert));
            let risen = (now.offset + closing(age, opening)).max(offset.unwrap_or(now.offset));
            let open = age >= opening;
            self.set_offset(now.layer, now.expert, if open { now.offset } else { risen });
            self.progress.openings.extend((!open).then_some(now));
        }
    }

    /// Openings after a plan: those of experts that stay and, with `opening` > 0, those of experts grown by it.
    pub(crate) fn move_openings(&mut self, plan: &CheckedPlan, opening: u64) {
        let mut openings: Vec<Opening> = Vec::new();
        for (layer, map) in plan.maps() {
            let (before, after) = (plan.before().layer(*layer), plan.after().layer(*layer));
            let (Some(before), Some(after)) = (before, after) else { continue };
            let of = |old: usize| self.opening(*layer, before.experts[old]);
            for (expert, source) in after.experts.iter().zip(&map.rows) {
                openings.extend(match source {
                    RowSource::Keep(old) => of(*old),
                    RowSource::Halve(old) => of(*old).map(halved),
                    RowSource::New { start: RowStart::Half(parent), .. } => {
                        of(*parent).map(|opening| halved(Opening { expert: *expert, ..opening }))
                    }
                    RowSource::New { .. } => self.closed(*layer, *expert, opening),
                    RowSource::Merge { .. } => None,
                });
            }
        }
        let untouched = |opening: &&Opening| !plan.maps().contains_key(&opening.layer);
        openings.extend(self.progress.openings.iter().filter(untouched));
        self.progress.openings = openings;
        // Who is new is closed at once; the others wait for the step to come, as they would without a plan.
        let new: Vec<Opening> =
            self.progress.openings.iter().filter(|o| o.since == self.step).copied().collect();
        for now in new {
            self.set_offset(now.layer, now.expert, now.offset + CLOSED);
        }
    }

    fn opening(&self, layer: LayerId, expert: ExpertId) -> Option<Opening> {
        let is = |opening: &&Opening| (opening.layer, opening.expert) == (layer, expert);
        self.progress.openings.iter().find(is).copied()
    }

    /// The opening of an expert that was just grown; none where routers have no offsets.
    fn closed(&self, layer: LayerId, expert: ExpertId, opening: u64) -> Option<Opening> {
        let offset = self.offset(layer, expert)?;
        (opening > 0).then_some(Opening { layer, expert, since: self.step, offset })
    }

    fn offset(&self, layer: LayerId, expert: ExpertId) -> Option<f32> {
        self.model.offsets(layer).get(self.position(layer, expert)?).copied()
    }

    fn set_offset(&mut self, layer: LayerId, expert: ExpertId, offset: f32) {
        let Some(position) = self.position(layer, expert) else { return };
        let mut offsets = self.model.offsets(layer);
        offsets[position] = offset;
        self.model = self.model.clone().with_offsets(layer, &offsets);
        if let Some(average) = &mut self.average {
            average.copy_untrained(&self.model);
        }
    }

    fn position(&self, layer: LayerId, expert: ExpertId) -> Option<usize> {
        self.layout.layer(layer)?.experts.iter().position(|id| *id == expert)
    }
}

/// The opening of one half of an expert that was split while it was being let in.
fn halved(opening: Opening) -> Opening {
    Opening { offset: opening.offset - std::f32::consts::LN_2, ..opening }
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
