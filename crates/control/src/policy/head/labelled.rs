//! A head that learns a label at every step: one drawn by chance, or one made of entropies. A negative control,
//! both: neither label has seen what an edit does.
//!
//! What the head makes of chance is nothing but how often each label comes; so at a decision point its action
//! is *sampled* from its probabilities, and edits come as often as the labels ask for them. Of entropies it
//! makes a rule; there its action is the most probable one.

use moelt_schema::{
    ControlConfig, Edit, Evidence, HeadState, LabelSource, Layout, Move, NetworkState, PolicyState, Stream,
};
use rand::{Rng, RngExt};

use super::super::survey::{Surveyed, Surveyor};
use crate::{
    Decision, Features, Label, LiveGradient, Policy, PolicyError, StatsWindow,
    edits::{NewIds, describe, note},
    head::Classifier,
    labels::entropy_label,
    layer_view::LayerView,
    moves::edits,
    synthetic_label,
};

/// Edits by a classifier.
pub(in crate::policy) struct Labelled {
    surveyor: Surveyor,
    classifier: Classifier,
}

impl Labelled {
    /// # Errors
    /// When the state is of another head.
    pub(in crate::policy) fn new(
        config: ControlConfig,
        seed: u64,
        state: PolicyState,
    ) -> Result<Self, PolicyError> {
        let classifier = Classifier::new(config.head_hidden, config.head_lr);
        let mut surveyor = Surveyor::new(config, seed, state);
        let networks = || vec![classifier.init(&surveyor.streams)];
        let start = || HeadState { networks: networks(), ..HeadState::default() };
        let head = surveyor.state.head.take().unwrap_or_else(start);
        if head.networks.len() != 1 || !classifier.network().fits(&head.networks[0]) {
            return Err(PolicyError::OtherHead);
        }
        surveyor.state.head = Some(head);
        Ok(Self { surveyor, classifier })
    }

    fn network(&self) -> &NetworkState {
        &self.surveyor.state.head.as_ref().expect("made with the policy").networks[0]
    }

    fn label(&self, step: u64, layer: &LayerView<'_>) -> Label {
        match self.surveyor.config.labels {
            LabelSource::Synthetic => synthetic_label(&self.surveyor.streams, step, layer.id),
            _ => entropy_label(&self.surveyor.config, layer),
        }
    }

    /// What the head sees at each layer that routed something, and the label. Between decisions the slope is
    /// that against the window of the last one.
    fn lessons(&self, window: &StatsWindow<'_>, layout: &Layout) -> Vec<Lesson> {
        let layers = LayerView::all(window, layout).into_iter().filter(|layer| layer.sums.rows > 0.0);
        let lesson = |layer: LayerView<'_>| Lesson {
            features: Features::of(&self.surveyor.config, window, &layer, self.surveyor.state.loss),
            label: self.label(window.step, &layer),
            is_single: layer.n() == 1,
            layer: layer.id,
        };
        layers.map(lesson).collect()
    }

    fn pick(&self, probabilities: &[f32; 3], rng: &mut impl Rng) -> Label {
        let chance = rng.random::<f32>();
        if self.surveyor.config.labels == LabelSource::Synthetic {
            sample(probabilities, chance)
        } else {
            most_probable(probabilities)
        }
    }

    /// What becomes of a layer for which `label` was picked, and why.
    fn answer(&self, layer: &Surveyed<'_>, label: Label, new_ids: &mut NewIds) -> (Vec<Edit>, String) {
        let (view, config) = (&layer.view, &self.surveyor.config);
        let kind = match label {
            Label::Keep => return (Vec::new(), "keeps its experts".to_owned()),
            Label::Grow => Move::Grow,
            Label::Prune => Move::Prune,
        };
        if let Some(waiting) = &layer.waiting {
            return (Vec::new(), format!("would {}, but waits: {waiting}", kind.name()));
        }
        let edits = edits(kind, config, view, new_ids);
        let what = edits.first().map_or_else(
            || format!("would {}, but that is not allowed with {} experts", kind.name(), view.n()),
            describe,
        );
        (edits, what)
    }
}

/// What is learnt of one layer at one step.
struct Lesson {
    layer: moelt_schema::LayerId,
    features: Features,
    label: Label,
    is_single: bool,
}

impl Policy for Labelled {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.surveyor.begin(window, layout);
        let survey = self.surveyor.survey(window, layout);
        let mut evidence = self.surveyor.evidence(window, &survey);
        let mut rng = self.surveyor.streams.rng(Stream::Policy, self.surveyor.state.decisions);
        let (mut new_ids, mut all, mut reasons) = (NewIds::of(layout), Vec::new(), Vec::new());
        for layer in &survey.layers {
            let probabilities = self.classifier.probabilities(self.network(), &layer.features);
            note_probabilities(&layer.view, &probabilities, &mut evidence);
            let label = self.pick(&probabilities, &mut rng);
            note(&mut evidence, layer.view.name("picked"), label.number());
            if survey.closed.is_some() {
                continue;
            }
            let (edits, what) = self.answer(layer, label, &mut new_ids);
            let [keep, grow, prune] = probabilities;
            reasons.push(format!(
                "layer {} {what}: keep {keep:.3}, grow {grow:.3}, prune {prune:.3}",
                layer.view.id.0
            ));
            all.extend(edits);
        }
        let reason = if reasons.is_empty() { survey.nothing_to_do() } else { reasons.join("; ") };
        for edit in &all {
            self.surveyor.edited(edit.layer());
        }
        Decision::edit(all, reason, evidence)
    }

    fn learn(&mut self, window: &StatsWindow<'_>, layout: &Layout) {
        let lessons = self.lessons(window, layout);
        let head = self.surveyor.state.head.as_mut().expect("made with the policy");
        for lesson in lessons {
            self.classifier.learn(&mut head.networks[0], &lesson.features, lesson.label);
            head.flops = head.flops.saturating_add(self.classifier.network().flops());
        }
    }

    fn live_gradient(&self, window: &StatsWindow<'_>, layout: &Layout) -> Vec<LiveGradient> {
        if self.surveyor.config.joint <= 0.0 {
            return Vec::new();
        }
        let of = |Lesson { layer, features, label, is_single }: Lesson| {
            let gradient = self.classifier.feature_gradient(self.network(), &features, label);
            let by = |feature: usize| if is_single { 0.0 } else { f64::from(gradient[feature]) };
            LiveGradient {
                layer,
                loss: f64::from(self.classifier.loss(self.network(), &features, label)),
                routing_entropy: by(Features::ROUTING_ENTROPY),
                load_entropy: by(Features::LOAD_ENTROPY),
            }
        };
        self.lessons(window, layout).into_iter().map(of).collect()
    }

    fn state(&self) -> PolicyState {
        self.surveyor.state.clone()
    }
}

fn note_probabilities(layer: &LayerView<'_>, probabilities: &[f32; 3], evidence: &mut Evidence) {
    for (label, probability) in Label::ALL.iter().zip(probabilities) {
        let name = layer.name(format_args!("probability.{}", label.name()));
        note(evidence, name, f64::from(*probability));
    }
}

/// The label into whose part of `0..1` the chance falls.
fn sample(probabilities: &[f32; 3], chance: f32) -> Label {
    let [keep, grow, _] = *probabilities;
    match chance {
        chance if chance < grow => Label::Grow,
        chance if chance < grow + keep => Label::Keep,
        _ => Label::Prune,
    }
}

/// The first of several.
fn most_probable(probabilities: &[f32; 3]) -> Label {
    let mut best = Label::Keep;
    for label in Label::ALL {
        if probabilities[label.index()] > probabilities[best.index()] {
            best = label;
        }
    }
    best
}

#[cfg(test)]
mod tests;
