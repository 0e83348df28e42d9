//! Edits of the experts between two steps: everything that knows of experts follows.

use moelt_schema::{CheckedPlan, LayerId, LayerKind, LayerSums, Layout};
use moelt_surgery::apply;

use crate::{TrainError, TrainState};

impl TrainState {
    /// Applies a plan: model, optimizer, averaged weights, windows and ramp-ins change together, and the
    /// edit log grows. With `ramping_in` > 0 a grown expert ramps in over so many steps, unless its parent was
    /// split; with 0 it is there at once, or as far open as its parent.
    ///
    /// # Errors
    /// When the plan does not fit; the state is then what it was.
    pub fn edit(&mut self, plan: &CheckedPlan, ramping_in: u64) -> Result<(), TrainError> {
        let held = self.held();
        self.let_in_entirely();
        match apply(&self.trainable, plan, self.streams) {
            Ok(applied) => self.trainable = applied.trainable,
            Err(error) => {
                self.put_back(&held);
                return Err(error.into());
            }
        }
        let progress = &mut self.progress;
        progress.window.layers = moved_sums(&progress.window.layers, plan);
        progress.last_window = moved_sums(&progress.last_window, plan);
        progress.decision_window.layers = moved_sums(&progress.decision_window.layers, plan);
        self.layout = plan.after().clone();
        self.edits.push(plan);
        self.move_ramp_ins(plan, &held, ramping_in);
        Ok(())
    }
}

/// Routing sums of every MoE layer, moved along with its experts. A layer that was dense has none yet: the
/// window starts over.
fn moved_sums(sums: &[LayerSums], plan: &CheckedPlan) -> Vec<LayerSums> {
    let kinds = |layout: &Layout| layout.layers().iter().map(|layer| layer.kind).collect::<Vec<_>>();
    if sums.is_empty() || kinds(plan.before()) != kinds(plan.after()) {
        return Vec::new();
    }
    let routed = (0..).map(LayerId).zip(plan.before().layers()).filter(|(_, l)| l.kind != LayerKind::Dense);
    let moved = |((layer, _), sums): ((LayerId, _), &LayerSums)| match plan.maps().get(&layer) {
        Some(map) => sums.remapped(map),
        None => sums.clone(),
    };
    routed.zip(sums).map(moved).collect()
}
