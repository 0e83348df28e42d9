//! Successive halving of the sizes: the opponent that a policy must beat in regret at equal cost, or in cost at equal regret.

use moelt_schema::{EarlyHalvingConfig, Edit, EditsConfig, ExpertInit, LayerKind, Layout, PolicyState};

use crate::{
    Decision, MeasuredEffect, Policy, Race, StatsWindow, StopRule, Trial,
    edits::{NewIds, allows, describe_all},
    layer_view::LayerView,
};

/// The step after which it decides, once.
const START: u64 = 1;

/// Fresh experts are what they would have been at the start of a run of that size: each candidate is such a run.
pub(super) struct EarlyHalving {
    config: EarlyHalvingConfig,
    edits: EditsConfig,
    total_steps: u64,
    state: PolicyState,
}

impl EarlyHalving {
    pub(super) fn new(
        config: EarlyHalvingConfig,
        edits: EditsConfig,
        total_steps: u64,
        state: PolicyState,
    ) -> Self {
        Self { config, edits, total_steps, state }
    }

    /// Every layer with a router gets fresh experts until it has `size`.
    fn grown(layers: &[LayerView<'_>], layout: &Layout, size: usize) -> Vec<Edit> {
        let mut new_ids = NewIds::of(layout);
        let routed = layers.iter().filter(|layer| layer.layout.kind != LayerKind::Assigned);
        let of_layer = |layer: &LayerView<'_>| std::iter::repeat_n(layer.id, size.saturating_sub(layer.n()));
        let missing = routed.flat_map(of_layer);
        missing.map(|layer| Edit::Grow { layer, new: new_ids.take(), init: ExpertInit::Fresh }).collect()
    }
}

impl Policy for EarlyHalving {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let layers = LayerView::all(window, layout);
        let evidence = LayerView::evidence_of(&layers);
        let limits = self.edits.limits();
        let sizes = self.config.sizes.iter().filter(|size| allows(&limits, **size));
        let candidates = sizes.map(|size| Self::grown(&layers, layout, *size));
        let candidates: Vec<Vec<Edit>> = candidates.filter(|edits| !edits.is_empty()).collect();
        if candidates.is_empty() {
            return Decision::keep("no size is larger", evidence);
        }
        let every = ((self.config.every * self.total_steps as f64) as u64).max(1);
        let race = Some(Race { every, stop: StopRule::WorseHalf });
        let trial = Trial { race, ..Trial::new(candidates, every * self.config.looks) };
        Decision::measure(trial, "all sizes start", evidence)
    }

    /// The size that was left is taken, if it is better than the smallest.
    fn observe(&mut self, window: &StatsWindow<'_>, layout: &Layout, effects: &[MeasuredEffect]) -> Decision {
        let mut evidence = LayerView::evidence_of(&LayerView::all(window, layout));
        for effect in effects {
            let size = layout.n_experts() + effect.edits.len();
            evidence = evidence.with(format!("loss of {size}, after {} steps", effect.steps), effect.loss);
        }
        let longest = effects.iter().map(|effect| effect.steps).max().unwrap_or(0);
        let left = effects.iter().filter(|effect| effect.steps == longest && effect.loss.is_finite());
        let best = left.min_by(|one, other| one.loss.total_cmp(&other.loss));
        match best.filter(|best| best.loss < best.loss_keep) {
            Some(best) => {
                let reason = format!(
                    "{} experts are left: {}",
                    layout.n_experts() + best.edits.len(),
                    describe_all(&best.edits)
                );
                Decision::apply(best.edits.clone(), reason, evidence)
            }
            None => Decision::keep("the smallest size is left", evidence),
        }
    }

    fn is_due(&self, step: u64) -> Option<bool> {
        Some(step == START)
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{ExpertId, LayerId, LayerSums};

    use super::*;
    use crate::Action;

    fn effect(edits: Vec<Edit>, steps: u64, loss: f64) -> MeasuredEffect {
        let (loss_keep, standard_error) = (0.5, 0.01);
        MeasuredEffect { edits, steps, loss_keep, loss, standard_error, replicate: None }
    }

    #[test]
    fn all_sizes_start_and_the_best_of_those_that_are_left_is_taken() {
        let config = EarlyHalvingConfig { sizes: vec![2, 3], ..EarlyHalvingConfig::default() };
        let mut policy = EarlyHalving::new(config, EditsConfig::default(), 100, PolicyState::default());
        assert_eq!((policy.is_due(1), policy.is_due(5)), (Some(true), Some(false)));
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 1);
        let sums = [LayerSums { tokens: 1.0, tokens_per_expert: vec![1.0], ..LayerSums::zeros(1) }];
        let window = StatsWindow { step: 1, total_steps: 100, sums: &sums, loss: 1.0, ramping_in: &[] };
        let grow = |id| Edit::Grow { layer: LayerId(0), new: ExpertId(id), init: ExpertInit::Fresh };
        let candidates = vec![vec![grow(1)], vec![grow(1), grow(2)]];
        let Action::Measure(trial) = policy.decide(&window, &layout).action else { panic!() };
        assert_eq!((&trial.candidates, trial.steps), (&candidates, 15));
        assert_eq!(trial.race, Some(Race { every: 5, stop: StopRule::WorseHalf }));
        let mut taken = |effects: &[MeasuredEffect]| policy.observe(&window, &layout, effects).action;
        let [two, three] = [candidates[0].clone(), candidates[1].clone()];
        // The larger one stopped early, with a lower loss then.
        let effects = [effect(two.clone(), 15, 0.4), effect(three.clone(), 5, 0.3)];
        assert_eq!(taken(&effects), Action::Apply(two.clone()));
        assert_eq!(taken(&[effect(two, 15, 0.6), effect(three, 15, f64::NAN)]), Action::Keep);
    }
}
