//! A head that learns measured effects, and asks for a measurement only where it is unsure.
//!
//! It predicts the gain of every move, as a distribution. A move that is likely enough to beat keeping the experts
//! is made unmeasured. Else those are measured of which knowing the effect promises enough; the head learns what
//! came out, and the best measured move that surely beats keeping is made. In doubt the experts stay. A head that was
//! taught before the run asks and acts by the same rules, and learns nothing.

use moelt_schema::{
    EditsConfig, EffectHeadConfig, EffectRecord, Evidence, ForecastEvidence, HeadState, Layout,
    LookaheadConfig, PolicyState, Streams,
};

use super::{Given, survey::Survey, trials::Trials};
use crate::{
    Decision, MeasuredEffect, Policy, PolicyError, StatsWindow,
    edits::change,
    head::{Ensemble, Forecast, Intent, check_taught, forecast},
    moves::Candidate,
    records,
};

/// Edits by prediction, and by measurement where that is unsure.
pub(super) struct EffectHead {
    trials: Trials,
    config: EffectHeadConfig,
    ensemble: Ensemble,
    n_classes: usize,
}

impl EffectHead {
    /// # Errors
    /// When the state is of another head.
    pub(super) fn new(
        lookahead: LookaheadConfig,
        config: EffectHeadConfig,
        edits: EditsConfig,
        seed: u64,
        given: Given,
        mut state: PolicyState,
    ) -> Result<Self, PolicyError> {
        let Given { records, taught, n_classes, .. } = given;
        let ensemble = Ensemble::new(config.hidden, config.lr, Streams::new(seed));
        let begins = HeadState { records, taught, ..HeadState::default() };
        let known = state.head.as_ref().unwrap_or(&begins);
        let fits = known.taught.as_ref().is_none_or(|taught| check_taught(taught).is_ok());
        if !fits || !ensemble.fits(known) || known.taught.is_some() != config.taught.is_some() {
            return Err(PolicyError::OtherHead);
        }
        let is_new = state.head.is_none();
        if is_new && begins.taught.is_some() {
            state.head = Some(HeadState { taught: begins.taught, ..HeadState::default() });
        }
        let trials = Trials::new(lookahead, edits, seed, state);
        let mut head = Self { trials, config, ensemble, n_classes };
        if is_new {
            head.learn(begins.records);
        }
        Ok(head)
    }

    /// What each candidate is expected to gain; none where too little is known.
    fn forecasts(&self, candidates: &[Candidate], survey: &Survey<'_>) -> Vec<Option<Forecast>> {
        let nothing = HeadState::default();
        let head = self.trials.surveyor.state.head.as_ref().unwrap_or(&nothing);
        let predictor = self.ensemble.predictor(head);
        let of = |candidate: &Candidate| {
            let features = survey.features(candidate.layer).expect("candidates are of surveyed layers");
            let cost = self.trials.config.expert_cost * change(&candidate.edits) as f64;
            let saved = match &head.taught {
                Some(taught) => forecast(taught, features, self.n_classes, candidate.kind),
                None => predictor.predict(features, candidate.kind),
            };
            Some(saved?.minus(cost))
        };
        candidates.iter().map(of).collect()
    }

    /// The evidence with what the head knows.
    fn note(&self, candidates: &[Candidate], forecasts: &[Option<Forecast>], evidence: Evidence) -> Evidence {
        let records = self.trials.surveyor.state.head.as_ref().map_or(0, |head| head.records.len());
        let mut evidence = evidence.with("records", records as f64);
        for (candidate, forecast) in candidates.iter().zip(forecasts) {
            let Some(forecast) = forecast else { continue };
            let layer = evidence.layers.iter_mut().find(|layer| layer.layer == candidate.layer);
            layer.into_iter().for_each(|layer| {
                layer.trial_mut(candidate.kind).forecast = Some(ForecastEvidence {
                    gain: forecast.gain(),
                    chance: forecast.chance(),
                    improvement: forecast.improvement(),
                });
            });
        }
        evidence
    }

    /// The candidate that is expected to gain most of those that are likely enough to beat keeping.
    fn sure(&self, forecasts: &[Option<Forecast>]) -> Option<usize> {
        let sure = self.intended(Intent::Make, forecasts);
        let known = sure.into_iter().filter_map(|at| Some((at, forecasts[at].as_ref()?)));
        known.max_by(|one, other| one.1.gain().total_cmp(&other.1.gain())).map(|(at, _)| at)
    }

    /// The candidates of this intent.
    fn intended(&self, intent: Intent, forecasts: &[Option<Forecast>]) -> Vec<usize> {
        let of = |at: &usize| Intent::of(forecasts[*at].as_ref(), &self.config);
        (0..forecasts.len()).filter(|at| of(at) == intent).collect()
    }

    fn learn(&mut self, records: Vec<EffectRecord>) {
        if records.is_empty() || self.config.taught.is_some() {
            return;
        }
        let head = self.trials.surveyor.state.head.get_or_insert_default();
        head.records.extend(records);
        self.ensemble.fit(head);
    }
}

impl Policy for EffectHead {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.trials.surveyor.begin(window, layout);
        let survey = self.trials.surveyor.survey(window, layout);
        self.trials.take_turns(&survey, layout);
        let candidates = self.trials.candidates(&survey, layout);
        let forecasts = self.forecasts(&candidates, &survey);
        let (sure, open) = (self.sure(&forecasts), self.intended(Intent::Ask, &forecasts));
        let asked = if sure.is_none() { open.len() } else { 0 };
        let evidence = self.note(&candidates, &forecasts, self.trials.evidence(window, &survey));
        let evidence = evidence.with("asked", asked as f64);
        if candidates.is_empty() {
            return Decision::keep(survey.nothing_to_do(), evidence);
        }
        if let Some((at, forecast)) = sure.and_then(|at| Some((at, forecasts[at].as_ref()?))) {
            let (gain, chance) = (forecast.gain(), 100.0 * forecast.chance());
            let why = format!("gain {gain:+.4} nats predicted, in {chance:.0} of 100 cases above 0");
            return self.trials.surveyor.make(candidates[at].clone(), &why, evidence);
        }
        if open.is_empty() {
            let reason =
                format!("none of {} candidates is predicted to be worth a measurement", candidates.len());
            return Decision::keep(reason, evidence);
        }
        let steps = self.trials.config.horizon;
        let reason = format!(
            "unsure about {} of {} candidates: they train {steps} steps against keeping",
            open.len(),
            candidates.len()
        );
        let open = open.into_iter().map(|index| candidates[index].clone()).collect();
        Decision::measure(self.trials.trial(open), reason, evidence)
    }

    fn observe(&mut self, window: &StatsWindow<'_>, layout: &Layout, effects: &[MeasuredEffect]) -> Decision {
        let survey = self.trials.surveyor.survey(window, layout);
        let candidates = self.trials.candidates(&survey, layout);
        let forecasts = self.forecasts(&candidates, &survey);
        let evidence = self.note(&candidates, &forecasts, self.trials.evidence(window, &survey));
        let tried = self.trials.tried(candidates, effects);
        let evidence = evidence.with("asked", tried.len() as f64);
        let decision = self.trials.choose(tried, evidence);
        self.learn(records(0, window.step, &decision.evidence));
        decision
    }

    fn state(&self) -> PolicyState {
        self.trials.surveyor.state.clone()
    }
}

#[cfg(test)]
mod tests;
