//! A head that learns a label at every step: one drawn by chance, or one made of entropies. A negative control,
//! both: neither label has seen what an edit does.
//!
//! What the head makes of chance is nothing but how often each label comes; so at a decision point its action
//! is *sampled* from its probabilities, and edits come as often as the labels ask for them. Of entropies it
//! makes a rule; there its action is the most probable one.

use moelt_schema::{
    Edit, EditsConfig, Features, HeadState, Label, LabelConfig, LabelHeadConfig, LayerEvidence, LayerId,
    Layout, Move, NetworkState, PolicyState, Stream, Streams,
};
use rand::{Rng, RngExt};

use super::survey::{Surveyed, Surveyor};
use crate::{
    Decision, LiveGradient, Policy, PolicyError, StatsWindow,
    edits::{NewIds, describe},
    features::features,
    head::LabelNetwork,
    labels::{LABELS, entropy_label, index},
    layer_view::LayerView,
    moves::Proposer,
    random_label,
};

/// Edits by a network that learns labels.
pub(super) struct LabelHead {
    surveyor: Surveyor,
    labels: LabelConfig,
    label_network: LabelNetwork,
}

impl LabelHead {
    /// # Errors
    /// When the state is of another head.
    pub(super) fn new(
        config: LabelHeadConfig,
        edits: EditsConfig,
        seed: u64,
        state: PolicyState,
    ) -> Result<Self, PolicyError> {
        let LabelHeadConfig { labels, lr, hidden, cooldown, saliency, new_expert } = config;
        let label_network = LabelNetwork::new(hidden, lr);
        let proposer = Proposer { limits: edits.limits(), saliency, new_expert };
        let mut surveyor = Surveyor { edits, cooldown, proposer, streams: Streams::new(seed), state };
        let networks = || vec![label_network.init(&surveyor.streams)];
        let start = || HeadState { networks: networks(), ..HeadState::default() };
        let head = surveyor.state.head.take().unwrap_or_else(start);
        if head.networks.len() != 1 || !label_network.network().fits(&head.networks[0]) {
            return Err(PolicyError::OtherHead);
        }
        surveyor.state.head = Some(head);
        Ok(Self { surveyor, labels, label_network })
    }

    fn network(&self) -> &NetworkState {
        &self.surveyor.state.head.as_ref().expect("made with the policy").networks[0]
    }

    fn label(&self, step: u64, layer: &LayerView<'_>) -> Label {
        match &self.labels {
            LabelConfig::Random {} => random_label(&self.surveyor.streams, step, layer.id),
            LabelConfig::Entropy(labels) => entropy_label(labels, layer),
        }
    }

    /// What the head sees at each layer that routed something, and the label. Between decisions the slope is
    /// that against the window of the last one.
    fn lessons(&self, window: &StatsWindow<'_>, layout: &Layout) -> Vec<Lesson> {
        let layers = LayerView::all(window, layout).into_iter().filter(|layer| layer.sums.tokens > 0.0);
        let lesson = |layer: LayerView<'_>| Lesson {
            features: features(&self.surveyor.proposer, window, &layer, self.surveyor.state.loss),
            label: self.label(window.step, &layer),
            is_single: layer.n() == 1,
            layer: layer.id,
        };
        layers.map(lesson).collect()
    }

    fn pick(&self, probabilities: &[f32; 3], rng: &mut impl Rng) -> Label {
        let chance = rng.random::<f32>();
        match self.labels {
            LabelConfig::Random {} => sample(probabilities, chance),
            LabelConfig::Entropy(_) => most_probable(probabilities),
        }
    }

    /// What becomes of a layer for which `label` was picked, and why.
    fn answer(&self, layer: &Surveyed<'_>, label: Label, new_ids: &mut NewIds) -> (Vec<Edit>, String) {
        let view = &layer.view;
        let kind = match label {
            Label::Keep => return (Vec::new(), "keeps its experts".to_owned()),
            Label::Grow => Move::Grow,
            Label::Prune => Move::Prune,
        };
        if let Some(waiting) = &layer.waiting {
            return (Vec::new(), format!("would {}, but waits: {waiting}", kind.name()));
        }
        let edits = self.surveyor.proposer.edits(kind, view, new_ids);
        let what = edits.first().map_or_else(
            || format!("would {}, but that is not allowed with {} experts", kind.name(), view.n()),
            describe,
        );
        (edits, what)
    }
}

/// What is learnt of one layer at one step.
struct Lesson {
    layer: LayerId,
    features: Features,
    label: Label,
    is_single: bool,
}

impl LabelHead {
    /// The gradient of the head's cross entropy by what it saw of each layer that routed something. It changes nothing.
    pub(super) fn live_gradient(&self, window: &StatsWindow<'_>, layout: &Layout) -> Vec<LiveGradient> {
        let of = |Lesson { layer, features, label, is_single }: Lesson| {
            let gradient = self.label_network.feature_gradient(self.network(), &features, label);
            let by = |feature: usize| if is_single { 0.0 } else { f64::from(gradient[feature]) };
            LiveGradient {
                layer,
                loss: f64::from(self.label_network.loss(self.network(), &features, label)),
                routing_entropy: by(Features::ROUTING_ENTROPY),
                load_entropy: by(Features::LOAD_ENTROPY),
            }
        };
        self.lessons(window, layout).into_iter().map(of).collect()
    }

    /// What the head makes of one layer: what was seen of it, with the label that was picked.
    fn look(
        &self,
        step: u64,
        layer: &Surveyed<'_>,
        seen: &mut LayerEvidence,
        rng: &mut impl Rng,
    ) -> ([f32; 3], Label) {
        let probabilities = self.label_network.probabilities(self.network(), &layer.features);
        let [keep, grow, prune] = probabilities;
        for (name, probability) in [("keep", keep), ("grow", grow), ("prune", prune)] {
            seen.note(format!("probability_{name}"), f64::from(probability));
        }
        let (label, picked) = (self.label(step, &layer.view), self.pick(&probabilities, rng));
        match self.labels {
            LabelConfig::Random {} => seen.labels.random = Some(label),
            LabelConfig::Entropy(_) => seen.labels.entropy = Some(label),
        }
        seen.labels.picked = Some(picked);
        (probabilities, picked)
    }
}

impl Policy for LabelHead {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.surveyor.begin(window, layout);
        let survey = self.surveyor.survey(window, layout);
        let mut evidence = survey.evidence();
        let mut rng = self.surveyor.streams.rng(Stream::Policy, self.surveyor.state.decisions);
        let (mut new_ids, mut all, mut reasons) = (NewIds::of(layout), Vec::new(), Vec::new());
        for (layer, seen) in survey.layers.iter().zip(&mut evidence.layers) {
            let (probabilities, picked) = self.look(window.step, layer, seen, &mut rng);
            if survey.closed.is_some() {
                continue;
            }
            let (edits, what) = self.answer(layer, picked, &mut new_ids);
            let [keep, grow, prune] = probabilities;
            reasons.push(format!(
                "layer {} {what}: keep {keep:.3}, grow {grow:.3}, prune {prune:.3}",
                layer.view.id.0
            ));
            all.extend(edits);
        }
        let reason = if reasons.is_empty() { survey.nothing_to_do() } else { reasons.join("; ") };
        for edit in &all {
            edit.layer().into_iter().for_each(|layer| self.surveyor.edited(layer));
        }
        Decision::apply(all, reason, evidence)
    }

    fn learn(&mut self, window: &StatsWindow<'_>, layout: &Layout) {
        let lessons = self.lessons(window, layout);
        let head = self.surveyor.state.head.as_mut().expect("made with the policy");
        for lesson in lessons {
            self.label_network.learn(&mut head.networks[0], &lesson.features, lesson.label);
            head.flops = head.flops.saturating_add(self.label_network.network().flops());
        }
    }

    fn state(&self) -> PolicyState {
        self.surveyor.state.clone()
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
    for label in LABELS {
        if probabilities[index(label)] > probabilities[index(best)] {
            best = label;
        }
    }
    best
}

#[cfg(test)]
mod tests;
