//! Every move is tried at every decision point, or those of the layers whose turn it is; the best that surely beats keeping is made.
//!
//! At most one layer is edited a decision. "Keep" is always the alternative: it is what every candidate is
//! measured against.

use moelt_schema::{EditsConfig, Layout, LookaheadConfig, PolicyState};

use super::trials::Trials;
use crate::{Decision, Findings, MeasuredEffect, Policy, StatsWindow};

/// Edits by measurement alone.
pub(super) struct Lookahead(Trials);

impl Lookahead {
    pub(super) fn new(config: LookaheadConfig, edits: EditsConfig, seed: u64, state: PolicyState) -> Self {
        Self(Trials::new(config, edits, seed, state))
    }

    /// Asks what all candidates are worth.
    fn measure(&self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        let survey = self.0.surveyor.survey(window, layout);
        let candidates = self.0.candidates(&survey, layout);
        let steps = self.0.config.horizon;
        let reason = format!("{} candidates train {steps} steps against keeping", candidates.len());
        Decision::measure(self.0.trial(candidates), reason, self.0.evidence(window, &survey))
    }
}

impl Policy for Lookahead {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.0.surveyor.begin(window, layout);
        self.0.criteria.clear();
        let survey = self.0.surveyor.survey(window, layout);
        self.0.take_turns(&survey, layout);
        let evidence = self.0.evidence(window, &survey);
        if self.0.candidates(&survey, layout).is_empty() {
            return Decision::keep(survey.nothing_to_do(), evidence);
        }
        match self.0.look() {
            Some(look) => Decision::look(look, "growth criteria, before anything is measured", evidence),
            None => self.measure(window, layout),
        }
    }

    fn see(&mut self, window: &StatsWindow<'_>, layout: &Layout, findings: &Findings) -> Decision {
        if let Findings::Criteria(criteria) = findings {
            self.0.criteria.clone_from(criteria);
        }
        self.measure(window, layout)
    }

    fn observe(&mut self, window: &StatsWindow<'_>, layout: &Layout, effects: &[MeasuredEffect]) -> Decision {
        let survey = self.0.surveyor.survey(window, layout);
        let evidence = self.0.evidence(window, &survey);
        let tried = self.0.tried(self.0.candidates(&survey, layout), effects);
        self.0.choose(tried, evidence)
    }

    fn state(&self) -> PolicyState {
        self.0.surveyor.state.clone()
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{
        Edit, Evidence, ExpertId, ExpertInit, GrowthCriteria, LayerId, LayerKind, LayerSums, Move,
        StudyConfig,
    };

    use super::*;
    use crate::{Action, Look, TokensToTest, Trial};

    fn config() -> LookaheadConfig {
        LookaheadConfig { cooldown: 1, horizon: 30, ..LookaheadConfig::default() }
    }

    fn edits() -> EditsConfig {
        EditsConfig { every: 10, warmup: 0.0, until: 1.0, ..EditsConfig::default() }
    }

    fn grow(ids: std::ops::Range<u64>) -> Vec<Edit> {
        let grow = |id| Edit::Grow { layer: LayerId(0), new: ExpertId(id), init: ExpertInit::Fresh };
        ids.map(grow).collect()
    }

    fn prune(ids: &[u64]) -> Vec<Edit> {
        ids.iter().map(|id| Edit::Prune { layer: LayerId(0), expert: ExpertId(*id) }).collect()
    }

    fn effect(edits: &[Edit], loss: f64) -> MeasuredEffect {
        let edits = edits.to_vec();
        MeasuredEffect { edits, steps: 30, loss_keep: 0.5, loss, standard_error: 0.01, replicate: None }
    }

    /// Experts 0 to 3 with 4, 3, 2 and 1 tokens.
    fn sums() -> [LayerSums; 1] {
        [LayerSums { tokens: 10.0, tokens_per_expert: vec![4.0, 3.0, 2.0, 1.0], ..LayerSums::zeros(4) }]
    }

    fn window(step: u64, sums: &[LayerSums]) -> StatsWindow<'_> {
        StatsWindow { step, total_steps: 100, sums, loss: 0.5, ramping_in: &[] }
    }

    #[test]
    fn every_move_is_measured_and_the_best_sure_one_is_made() {
        let (layout, sums) = (Layout::uniform(1, LayerKind::TopK { k: 1 }, 4), sums());
        let mut lookahead = Lookahead::new(config(), edits(), 1, PolicyState::default());
        let candidates = vec![grow(4..5), grow(4..8), prune(&[3]), prune(&[3, 2])];
        let decision = lookahead.decide(&window(10, &sums), &layout);
        assert_eq!(decision.action, Action::Measure(Trial::new(candidates, 30)));
        let effects = [
            effect(&grow(4..5), 0.4),
            effect(&grow(4..8), 0.3),
            effect(&prune(&[3]), f64::NAN),
            effect(&prune(&[3, 2]), 0.6),
        ];
        let decision = lookahead.observe(&window(10, &sums), &layout, &effects);
        assert_eq!(decision.action, Action::Apply(grow(4..8)));
        assert!(
            decision.reason.contains("gain +0.1960 ± 0.0100 nats measured after 30 steps"),
            "{}",
            decision.reason
        );
        let Evidence { layers, numbers } = &decision.evidence;
        assert_eq!((numbers["candidates"], numbers["not_finite"]), (4.0, 1.0));
        let gain = |kind| {
            let trial = layers[0].trials.iter().find(|trial| trial.candidate == kind).unwrap();
            trial.effect.unwrap().gain
        };
        assert!((gain(Move::Halve).unwrap() + 0.098).abs() < 1e-12);
        assert_eq!(gain(Move::Prune), None);
        // The layer cools down for one decision.
        let decision = lookahead.decide(&window(20, &sums), &layout);
        assert_eq!(decision.action, Action::Keep);
        assert_eq!(decision.reason, "layer 0: cooling down through decision 2, this is decision 2");
        assert!(matches!(lookahead.decide(&window(30, &sums), &layout).action, Action::Measure(_)));
    }

    #[test]
    fn a_candidate_that_left_the_race_is_not_chosen_for_what_it_was_then() {
        let (layout, sums) = (Layout::uniform(1, LayerKind::TopK { k: 1 }, 4), sums());
        let config = LookaheadConfig { candidates: vec![Move::Grow, Move::Prune], ..config() };
        let mut lookahead = Lookahead::new(config, edits(), 1, PolicyState::default());
        lookahead.decide(&window(10, &sums), &layout);
        let early = MeasuredEffect { steps: 10, ..effect(&grow(4..5), 0.3) };
        let decision = lookahead.observe(&window(10, &sums), &layout, &[early, effect(&prune(&[3]), 0.4)]);
        assert_eq!(decision.action, Action::Apply(prune(&[3])));
    }

    #[test]
    fn in_doubt_the_experts_stay() {
        let (layout, sums) = (Layout::uniform(1, LayerKind::TopK { k: 1 }, 4), sums());
        let config = LookaheadConfig { candidates: vec![Move::Grow, Move::Prune], ..config() };
        let mut lookahead = Lookahead::new(config, edits(), 1, PolicyState::default());
        lookahead.decide(&window(10, &sums), &layout);
        let effects = [effect(&grow(4..5), 0.485), effect(&prune(&[3]), 0.6)];
        let decision = lookahead.observe(&window(10, &sums), &layout, &effects);
        assert_eq!(decision.action, Action::Keep);
        let reason = "of 2 measured candidates none surely beats keeping: nearest is layer 0 grow, gain \
                      +0.0140 ± 0.0100 nats";
        assert_eq!(decision.reason, reason);
    }

    /// Three layers in which experts may be pruned, so many at a decision.
    fn taking_turns(layers_at_once: usize) -> (Layout, [LayerSums; 3], Lookahead) {
        let (candidates, layers_at_once) = (vec![Move::Prune], Some(layers_at_once));
        let config = LookaheadConfig { candidates, layers_at_once, ..config() };
        let ([sums], layout) = (sums(), Layout::uniform(3, LayerKind::TopK { k: 1 }, 4));
        let lookahead = Lookahead::new(config, edits(), 1, PolicyState::default());
        (layout, [sums.clone(), sums.clone(), sums], lookahead)
    }

    #[test]
    fn layers_take_turns() {
        let (layout, sums, mut lookahead) = taking_turns(2);
        let prune = |layer| vec![Edit::Prune { layer: LayerId(layer), expert: ExpertId(3) }];
        let mut asked = |step| match lookahead.decide(&window(step, &sums), &layout).action {
            Action::Measure(Trial { candidates, .. }) => candidates,
            action => panic!("{action:?}"),
        };
        for (step, turn) in [(10, [0, 1]), (20, [0, 2]), (30, [1, 2]), (40, [0, 1])] {
            assert_eq!(asked(step), turn.map(prune), "{step}");
        }
    }

    /// Layer 0 is edited whenever its turn comes, and cools down for one decision after it.
    #[test]
    fn no_layer_is_left_out_while_others_are_edited() {
        let (layout, sums, mut lookahead) = taking_turns(1);
        let mut turns = [0; 3];
        for step in 1..=9 {
            let Action::Measure(trial) = lookahead.decide(&window(step * 10, &sums), &layout).action else {
                panic!("a layer is free at every decision");
            };
            let [Edit::Prune { layer, .. }] = trial.candidates[0][..] else { panic!("{trial:?}") };
            turns[layer.0 as usize] += 1;
            if layer == LayerId(0) {
                lookahead.observe(&window(step * 10, &sums), &layout, &[effect(&trial.candidates[0], 0.1)]);
            }
        }
        assert_eq!(turns, [3; 3]);
    }

    /// Criteria are evidence of the measurement they came before, and of no other one.
    #[test]
    fn a_study_looks_before_it_measures() {
        let (layout, sums) = (Layout::uniform(1, LayerKind::TopK { k: 1 }, 4), sums());
        let study = Some(StudyConfig { criteria_texts: 64, ..StudyConfig::default() });
        let mut lookahead =
            Lookahead::new(LookaheadConfig { study, ..config() }, edits(), 1, PolicyState::default());
        let decision = lookahead.decide(&window(10, &sums), &layout);
        assert!(matches!(decision.action, Action::Look(Look::Criteria(TokensToTest { texts: 64, .. }))));
        let criteria = GrowthCriteria {
            loss: 0.5,
            gradmax: 0.1,
            split_direction: 0.1,
            gradient_conflict: 0.9,
            gradient_variance: 2.0,
            expressivity_gap: 0.0,
            split_gain: 0.02,
        };
        let found = Findings::Criteria(vec![(LayerId(0), criteria)]);
        let decision = lookahead.see(&window(10, &sums), &layout, &found);
        assert!(matches!(&decision.action, Action::Measure(trial) if trial.replicate));
        let decision = lookahead.observe(&window(10, &sums), &layout, &[effect(&grow(4..5), 0.3)]);
        assert_eq!(decision.evidence.layers[0].criteria, Some(criteria));
        let decision = lookahead.decide(&window(30, &sums), &layout);
        assert_eq!(decision.evidence.layers[0].criteria, None);
    }

    #[test]
    fn outside_its_time_nothing_is_measured() {
        let (layout, sums) = (Layout::uniform(1, LayerKind::TopK { k: 1 }, 4), sums());
        let edits = EditsConfig { warmup: 0.1, ..edits() };
        let mut lookahead = Lookahead::new(config(), edits, 1, PolicyState::default());
        let decision = lookahead.decide(&window(10, &sums), &layout);
        assert_eq!((decision.action, decision.reason.as_str()), (Action::Keep, "warm-up until step 10"));
        assert!(decision.evidence.layers[0].features.is_some());
    }

    #[test]
    fn a_second_measurement_is_evidence_and_nothing_else() {
        let (layout, sums) = (Layout::uniform(1, LayerKind::TopK { k: 1 }, 4), sums());
        let mut lookahead = Lookahead::new(config(), edits(), 1, PolicyState::default());
        lookahead.decide(&window(10, &sums), &layout);
        let mut effect = effect(&prune(&[3]), 0.5);
        effect.replicate = Some(crate::Replicate { difference: -9.0, standard_error: 0.5 });
        let decision = lookahead.observe(&window(10, &sums), &layout, &[effect]);
        assert_eq!(decision.action, Action::Keep);
        let trial = &decision.evidence.layers[0].trials[0];
        let again = trial.effect.unwrap().replicate.unwrap();
        assert_eq!(
            (trial.candidate, again.gain, again.standard_error),
            (Move::Prune, Some(9.001), Some(0.5))
        );
    }
}
