//! What look-ahead shares with and without a head: candidates, and the choice among those that were measured.

use moelt_schema::{
    EditsConfig, EffectEvidence, Evidence, GrowthCriteria, LayerEvidence, LayerId, Layout, LookaheadConfig,
    PolicyState, ReplicateEvidence, SplitConfig, Streams, StudyConfig,
};

use super::survey::{Survey, Surveyed, Surveyor};
use crate::{
    Decision, Gain, Look, MeasuredEffect, Race, StatsWindow, StopRule, TokensToTest, Trial,
    gain::best,
    labels::{entropy_label, random_label},
    moves::{Candidate, Proposer},
};

/// Proposes candidates and chooses among their effects.
pub(super) struct Trials {
    pub(super) config: LookaheadConfig,
    pub(super) surveyor: Surveyor,
    /// The layers whose turn it is in the decision that is under way, where they take turns.
    turn: Vec<LayerId>,
    /// What the look before the measurement that is under way found, in a study. No other decision knows of it.
    pub(super) criteria: Vec<(LayerId, GrowthCriteria)>,
}

/// A candidate with its effect.
pub(super) struct Tried<'e> {
    candidate: Candidate,
    gain: Gain,
    effect: &'e MeasuredEffect,
}

impl Trials {
    pub(super) fn new(config: LookaheadConfig, edits: EditsConfig, seed: u64, state: PolicyState) -> Self {
        let proposer =
            Proposer { limits: edits.limits(), saliency: config.saliency, new_expert: config.new_expert };
        let (cooldown, streams) = (config.cooldown, Streams::new(seed));
        let surveyor = Surveyor { edits, cooldown, proposer, streams, state };
        Self { config, surveyor, turn: Vec::new(), criteria: Vec::new() }
    }

    /// What the routers did and what a head would see; in a study, what labels would say, too.
    pub(super) fn evidence(&self, window: &StatsWindow<'_>, survey: &Survey<'_>) -> Evidence {
        let mut evidence = survey.evidence();
        if let Some(StudyConfig { entropy_labels, .. }) = &self.config.study {
            for (layer, seen) in survey.layers.iter().zip(&mut evidence.layers) {
                seen.criteria =
                    self.criteria.iter().find(|(id, _)| *id == layer.view.id).map(|(_, criteria)| *criteria);
                seen.labels.entropy = Some(entropy_label(entropy_labels, &layer.view));
                seen.labels.random = Some(random_label(&self.surveyor.streams, window.step, layer.view.id));
            }
        }
        evidence
    }

    /// What a study looks at before it measures.
    pub(super) fn look(&self) -> Option<Look> {
        let texts = self.config.study.as_ref().map_or(0, |study| study.criteria_texts);
        let SplitConfig { tokens, tokens_per_expert, .. } = SplitConfig::default();
        (texts > 0).then_some(Look::Criteria(TokensToTest { texts, tokens, tokens_per_expert }))
    }

    /// Lets layers take turns, where not all are weighed at once: of those with moves it is on those that have had the fewest.
    pub(super) fn take_turns(&mut self, survey: &Survey<'_>, layout: &Layout) {
        let Some(at_once) = self.config.layers_at_once else { return };
        let with_moves = survey.free().filter(|layer| !self.moves(layer, layout).is_empty());
        self.turn = with_moves.map(|layer| layer.view.id).collect();
        let layers = &mut self.surveyor.state.layers;
        self.turn.sort_by_key(|layer| (layers[layer.0 as usize].turns, *layer));
        self.turn.truncate(at_once);
        self.turn.iter().for_each(|layer| layers[layer.0 as usize].turns += 1);
    }

    /// The moves of the layers that may be edited now, of those whose turn it is.
    pub(super) fn candidates(&self, survey: &Survey<'_>, layout: &Layout) -> Vec<Candidate> {
        let all = self.config.layers_at_once.is_none();
        let weighed = survey.free().filter(|layer| all || self.turn.contains(&layer.view.id));
        weighed.flat_map(|layer| self.moves(layer, layout)).collect()
    }

    fn moves(&self, layer: &Surveyed<'_>, layout: &Layout) -> Vec<Candidate> {
        self.surveyor.proposer.candidates(&self.config.candidates, &layer.view, layout)
    }

    /// The trial of these candidates.
    pub(super) fn trial(&self, candidates: Vec<Candidate>) -> Trial {
        let LookaheadConfig { race_every, expert_cost, confidence, training_luck, .. } = self.config;
        let candidates = candidates.into_iter().map(|candidate| candidate.edits).collect();
        Trial {
            race: (race_every > 0).then_some(Race {
                every: race_every,
                stop: StopRule::Clear { expert_cost, confidence, training_luck },
            }),
            replicate: self.config.study.is_some(),
            ..Trial::new(candidates, self.config.horizon)
        }
    }

    /// The effects of the candidates that were measured.
    pub(super) fn tried<'e>(
        &self,
        candidates: Vec<Candidate>,
        effects: &'e [MeasuredEffect],
    ) -> Vec<Tried<'e>> {
        let tried = |candidate: Candidate| {
            let effect = effects.iter().find(|effect| effect.edits == candidate.edits)?;
            let gain = Gain::of(effect, self.config.expert_cost).with_luck(self.config.training_luck);
            Some(Tried { gain, candidate, effect })
        };
        candidates.into_iter().filter_map(tried).collect()
    }

    /// Makes the best measured move that surely beats keeping, if there is one.
    pub(super) fn choose(&mut self, tried: Vec<Tried<'_>>, evidence: Evidence) -> Decision {
        let evidence = self.note(&tried, evidence);
        // What left the race has lost it: its gain is that of fewer steps.
        let whole = tried.iter().map(|one| one.effect.steps).max().unwrap_or(0);
        let gain = |one: &Tried<'_>| Some(one.gain).filter(|_| one.effect.steps == whole);
        let gains: Vec<Gain> = tried.iter().map(|one| gain(one).unwrap_or(Gain::UNKNOWN)).collect();
        match best(&gains, self.config.confidence) {
            Some(winner) => {
                let Tried { candidate, gain, effect } = &tried[winner];
                let why = format!(
                    "gain {} measured after {} steps; its lower bound, {} standard errors below, beats keeping",
                    people(gain),
                    effect.steps,
                    self.config.confidence
                );
                self.surveyor.make(candidate.clone(), &why, evidence)
            }
            None => Decision::keep(self.kept(&tried), evidence),
        }
    }

    fn kept(&self, tried: &[Tried<'_>]) -> String {
        let finite = tried.iter().filter(|one| one.gain.is_finite());
        let nearest = finite.max_by(|one, other| {
            let lower = |one: &Tried<'_>| one.gain.lower(self.config.confidence);
            lower(one).total_cmp(&lower(other))
        });
        let nearest = nearest.map_or_else(
            || "none gave a number".to_owned(),
            |Tried { candidate, gain, .. }| {
                format!(
                    "nearest is layer {} {}, gain {}",
                    candidate.layer.0,
                    candidate.kind.name(),
                    people(gain)
                )
            },
        );
        format!("of {} measured candidates none surely beats keeping: {nearest}", tried.len())
    }

    /// The evidence with what was measured.
    fn note(&self, tried: &[Tried<'_>], mut evidence: Evidence) -> Evidence {
        for one in tried {
            let layer = evidence.layers.iter_mut().find(|layer| layer.layer == one.candidate.layer);
            layer.into_iter().for_each(|layer| self.note_one(one, layer));
        }
        let not_finite = tried.iter().filter(|one| !one.gain.is_finite()).count();
        evidence.with("candidates", tried.len() as f64).with("not_finite", not_finite as f64)
    }

    fn note_one(&self, one: &Tried<'_>, layer: &mut LayerEvidence) {
        let replicate = Gain::of_replicate(one.effect, self.config.expert_cost).map(|again| {
            ReplicateEvidence { gain: finite(again.nats), standard_error: finite(again.standard_error) }
        });
        layer.trial_mut(one.candidate.kind).effect = Some(EffectEvidence {
            steps: one.effect.steps,
            loss_increase: finite(one.effect.loss_increase()),
            gain: finite(one.gain.nats),
            standard_error: finite(one.gain.standard_error),
            replicate,
        });
    }
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

/// A gain for people.
fn people(gain: &Gain) -> String {
    format!("{:+.4} ± {:.4} nats", gain.nats, gain.standard_error)
}
