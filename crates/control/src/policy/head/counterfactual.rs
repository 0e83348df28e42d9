//! A head that learns measured effects, and asks for a measurement only where it is unsure.
//!
//! It predicts the gain of every move, with bounds. When no move may beat keeping, the experts stay; when one
//! surely does, it is made; both without a measurement. Else the moves that are still open are measured, the
//! head learns what came out, and the best measured one that surely beats keeping is made. In doubt the experts
//! stay.

use moelt_schema::{ControlConfig, EffectRecord, Evidence, HeadState, Layout, PolicyState, Streams};

use super::super::survey::{Measured, Survey, Surveyor, full_steps, people};
use crate::{
    Action, Decision, Gain, MeasuredEffect, Policy, PolicyError, StatsWindow, Trial,
    edits::{change, note},
    gain::best,
    head::Ensemble,
    moves::Candidate,
};

/// Edits by prediction, and by measurement where that is unsure.
pub(in crate::policy) struct Counterfactual {
    surveyor: Surveyor,
    ensemble: Ensemble,
}

impl Counterfactual {
    /// # Errors
    /// When the state is of another head.
    pub(in crate::policy) fn new(
        config: ControlConfig,
        seed: u64,
        state: PolicyState,
    ) -> Result<Self, PolicyError> {
        let ensemble = Ensemble::new(config.head_hidden, config.head_lr, Streams::new(seed));
        if state.head.as_ref().is_some_and(|head| !ensemble.fits(head)) {
            return Err(PolicyError::OtherHead);
        }
        Ok(Self { surveyor: Surveyor::new(config, seed, state), ensemble })
    }

    /// The predicted gain of each candidate; its standard error is infinite where the head is unsure.
    fn predict(&self, candidates: &[Candidate], survey: &Survey<'_>) -> Vec<Gain> {
        let nothing = HeadState::default();
        let predictor = self.ensemble.predictor(self.surveyor.state.head.as_ref().unwrap_or(&nothing));
        let gain = |candidate: &Candidate| {
            let features = survey.features(candidate.layer).expect("candidates are of surveyed layers");
            let (loss_increase, standard_error) = predictor.predict(features, candidate.kind);
            let cost = self.surveyor.config.expert_cost * change(&candidate.edits) as f64;
            Gain { nats: -loss_increase - cost, standard_error }
        };
        candidates.iter().map(gain).collect()
    }

    /// What the head knows, as evidence; a standard error that is infinite is left out.
    fn note(&self, candidates: &[Candidate], predicted: &[Gain], evidence: &mut Evidence) {
        let records = self.surveyor.state.head.as_ref().map_or(0, |head| head.records.len());
        note(evidence, "records".to_owned(), records as f64);
        for (candidate, gain) in candidates.iter().zip(predicted) {
            note(evidence, candidate.name("predicted.gain"), gain.nats);
            note(evidence, candidate.name("predicted.sd"), gain.standard_error);
        }
    }

    /// Learns what was measured, as far as it is a number.
    fn learn_from(&mut self, step: u64, measured: &[Measured<'_>], survey: &Survey<'_>) {
        // An effect after fewer steps is another quantity.
        let whole = full_steps(measured);
        let counts = |one: &Measured<'_>| one.gain.is_finite() && one.effect.steps == whole;
        let record = |one: &Measured<'_>| {
            let features = survey.features(one.candidate.layer).filter(|_| counts(one))?;
            Some(EffectRecord {
                step,
                layer: one.candidate.layer,
                candidate: one.candidate.kind,
                features: features.values().to_vec(),
                steps: one.effect.steps,
                loss_increase: one.effect.loss_increase(),
                standard_error: one.effect.standard_error,
            })
        };
        let records: Vec<EffectRecord> = measured.iter().filter_map(record).collect();
        if records.is_empty() {
            return;
        }
        let head = self.surveyor.state.head.get_or_insert_default();
        head.records.extend(records);
        self.ensemble.fit(head);
    }
}

impl Policy for Counterfactual {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.surveyor.begin(window, layout);
        let survey = self.surveyor.survey(window, layout);
        let mut evidence = self.surveyor.evidence(window, &survey);
        let candidates = self.surveyor.candidates(&survey, layout);
        let predicted = self.predict(&candidates, &survey);
        self.note(&candidates, &predicted, &mut evidence);
        let (confidence, steps) = (self.surveyor.config.confidence, self.surveyor.config.horizon);
        let sure = best(&predicted, confidence);
        let open: Vec<usize> = open(&predicted, confidence);
        let asks = sure.is_none() && !open.is_empty();
        note(&mut evidence, "asked".to_owned(), if asks { open.len() as f64 } else { 0.0 });
        if candidates.is_empty() {
            return Decision::keep(survey.nothing_to_do(), evidence);
        }
        if let Some(sure) = sure {
            let what = format!("{} predicted", people(&predicted[sure]));
            return self.surveyor.make(candidates[sure].clone(), &what, evidence);
        }
        if open.is_empty() {
            let reason = format!("none of {} candidates is predicted to beat keeping", candidates.len());
            return Decision::keep(reason, evidence);
        }
        let reason = format!(
            "unsure about {} of {} candidates: they train {steps} steps against keeping",
            open.len(),
            candidates.len()
        );
        let candidates = open.into_iter().map(|index| candidates[index].edits.clone()).collect();
        Decision { action: Action::Measure(Trial { candidates, steps }), reason, evidence }
    }

    fn observe(&mut self, window: &StatsWindow<'_>, layout: &Layout, effects: &[MeasuredEffect]) -> Decision {
        let survey = self.surveyor.survey(window, layout);
        let mut evidence = self.surveyor.evidence(window, &survey);
        let candidates = self.surveyor.candidates(&survey, layout);
        self.note(&candidates, &self.predict(&candidates, &survey), &mut evidence);
        let measured = self.surveyor.measured(candidates, effects);
        note(&mut evidence, "asked".to_owned(), measured.len() as f64);
        self.learn_from(window.step, &measured, &survey);
        self.surveyor.choose(measured, evidence)
    }

    fn state(&self) -> PolicyState {
        self.surveyor.state.clone()
    }
}

/// The candidates that may beat keeping and every other: those with an upper bound above 0 and above the best
/// lower bound.
fn open(predicted: &[Gain], confidence: f64) -> Vec<usize> {
    let bar = predicted.iter().map(|gain| gain.lower(confidence)).fold(0.0, f64::max);
    (0..predicted.len()).filter(|index| predicted[*index].upper(confidence) > bar).collect()
}

#[cfg(test)]
mod tests;
