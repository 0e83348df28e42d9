//! Experts that nobody misses go.

use moelt_schema::{Edit, ExpertId, LayerId, Stage};

use super::{Moment, SplitAndDrop};
use crate::{Decision, Eliminated, Elimination, Look};

impl SplitAndDrop {
    /// Asks which experts could go, where a layer has more than one; otherwise the split test is next at once.
    pub(super) fn look_for_drops(&mut self, moment: Moment<'_>) -> Decision {
        let layers: Vec<LayerId> =
            moment.layers.iter().filter(|layer| layer.n() > 1).map(|layer| layer.id).collect();
        if layers.is_empty() {
            self.after_drops(&moment);
            return Decision::keep("there is no expert to spare", moment.evidence);
        }
        let (texts, order) = (self.config.texts, self.config.drop.order);
        let look = Look::Elimination { layers, texts, locked: self.young(moment.step), order };
        Decision::look(look, "looks for experts that nobody would miss", moment.evidence)
    }

    /// The halves that are too new to go.
    fn young(&self, step: u64) -> Vec<(LayerId, ExpertId)> {
        let grace = self.steps(self.config.drop.grace);
        let young = self.memory().halves.iter().filter(|(.., since)| step - since < grace);
        young.map(|(layer, expert, _)| (*layer, *expert)).collect()
    }

    /// The smallest set whose loss stays within the bound is left: at the first time the bound of the largest set that is not too large.
    pub(super) fn drop(&mut self, mut moment: Moment<'_>, found: &[Elimination]) -> Decision {
        let (bound, first_most) = (self.config.drop.loss, self.config.drop.first_most);
        let most = if self.is_first_time(moment.step) { first_most } else { usize::MAX };
        // Each layer is judged with the others whole: together they may cost the bound.
        let of_layer = bound / found.len().max(1) as f64;
        let least = self.edits.limits().min.max(1);
        let mut edits = Vec::new();
        for Elimination { layer, sets, saliency } in found {
            let Some(all) = sets.first() else { continue };
            let small_enough = sets.iter().position(|set| set.experts.len() <= most);
            let sets = &sets[small_enough.unwrap_or(sets.len() - 1)..];
            self.remember_loss(all.loss);
            let may_be_left =
                |set: &&Eliminated| set.experts.len() >= least && set.loss <= sets[0].loss + of_layer;
            let left = sets.iter().rfind(may_be_left).unwrap_or(&sets[0]);
            moment.note_saliency(*layer, saliency);
            moment.note(*layer, "loss".to_owned(), all.loss);
            moment.note(*layer, "loss_of_those_left".to_owned(), left.loss);
            edits.extend(pruned(*layer, &all.experts, &left.experts));
        }
        self.after_drops(&moment);
        moment.apply(edits, &format!("what is left costs at most {bound} nats"))
    }

    /// The split test is next, or a time without one is over.
    fn after_drops(&mut self, moment: &Moment<'_>) {
        if self.config.splits().is_some() {
            self.then(moment.step, Stage::Test {});
        } else {
            self.memory_mut().quiet += 1;
            self.rest_or_descend(moment);
        }
    }

    pub(super) fn remember_loss(&mut self, loss: f64) {
        let lowest = self.memory().lowest_loss.map_or(loss, |lowest| lowest.min(loss));
        self.memory_mut().lowest_loss = Some(lowest).filter(|loss| loss.is_finite());
    }
}

/// Those of `all` that are not left go.
pub(super) fn pruned(layer: LayerId, all: &[ExpertId], left: &[ExpertId]) -> Vec<Edit> {
    let gone = all.iter().filter(|expert| !left.contains(expert));
    gone.map(|expert| Edit::Prune { layer, expert: *expert }).collect()
}
