//! What look-ahead and the heads share: a survey of the layers, candidates, and what was measured of them.

use moelt_schema::{ControlConfig, Evidence, LayerId, LayerMemory, Layout, PolicyState, Streams};

use crate::{
    Decision, Features, Gain, MeasuredEffect, StatsWindow,
    edits::{describe, note},
    gain::best,
    labels::note_labels,
    layer_view::LayerView,
    moves::{Candidate, candidates},
    timing::{Timing, cooling_until},
};

/// Config, chance and memory of a policy that surveys.
pub(super) struct Surveyor {
    pub(super) config: ControlConfig,
    pub(super) streams: Streams,
    pub(super) state: PolicyState,
}

/// The layers with a router at one decision point.
pub(super) struct Survey<'a> {
    pub(super) layers: Vec<Surveyed<'a>>,
    /// Why nothing is edited now, whatever the layers show.
    pub(super) closed: Option<String>,
}

/// One of them.
pub(super) struct Surveyed<'a> {
    pub(super) view: LayerView<'a>,
    pub(super) features: Features,
    /// Why the layer is not edited now.
    pub(super) waiting: Option<String>,
}

/// A candidate with what is known of it.
pub(super) struct Measured<'e> {
    pub(super) candidate: Candidate,
    pub(super) gain: Gain,
    pub(super) effect: &'e MeasuredEffect,
}

/// Steps of the candidates that were trained to the end.
fn full_steps(measured: &[Measured<'_>]) -> u64 {
    measured.iter().map(|one| one.effect.steps).max().unwrap_or(0)
}

impl Surveyor {
    pub(super) fn new(config: ControlConfig, seed: u64, state: PolicyState) -> Self {
        Self { config, streams: Streams::new(seed), state }
    }

    /// Counts a decision and remembers its window's loss.
    pub(super) fn begin(&mut self, window: &StatsWindow<'_>, layout: &Layout) {
        self.state.decisions += 1;
        self.state.layers.resize(layout.layers().len(), LayerMemory::default());
        self.state.loss_before = self.state.loss;
        self.state.loss = Some(window.loss).filter(|loss| loss.is_finite());
    }

    /// The layers after [`Self::begin`].
    pub(super) fn survey<'a>(&self, window: &StatsWindow<'a>, layout: &'a Layout) -> Survey<'a> {
        let surveyed = |view: LayerView<'a>| {
            let features = Features::of(&self.config, window, &view, self.state.loss_before);
            Surveyed { features, waiting: self.waiting(&view), view }
        };
        let closed = Timing::new(&self.config, window.total_steps).closed(window.step);
        Survey { layers: LayerView::all(window, layout).into_iter().map(surveyed).collect(), closed }
    }

    fn waiting(&self, layer: &LayerView<'_>) -> Option<String> {
        let memory = &self.state.layers[layer.id.0 as usize];
        if let Some(until) = cooling_until(&self.config, memory, self.state.decisions) {
            let now = self.state.decisions;
            return Some(format!("cooling down through decision {until}, this is decision {now}"));
        }
        (layer.sums.rows <= 0.0).then(|| "no rows were routed since the last decision".to_owned())
    }

    /// What the routers did, what a head would see, and what labels would say.
    pub(super) fn evidence(&self, window: &StatsWindow<'_>, survey: &Survey<'_>) -> Evidence {
        let mut evidence = Evidence::default();
        for layer in &survey.layers {
            layer.view.note(&mut evidence);
            layer.features.note(&layer.view, &mut evidence);
            note_labels(&self.config, &self.streams, window.step, &layer.view, &mut evidence);
        }
        evidence
    }

    /// The moves of all layers that may be edited now; none when nothing may be edited at all.
    pub(super) fn candidates(&self, survey: &Survey<'_>, layout: &Layout) -> Vec<Candidate> {
        if survey.closed.is_some() {
            return Vec::new();
        }
        let free = survey.layers.iter().filter(|layer| layer.waiting.is_none());
        free.flat_map(|layer| candidates(&self.config, &layer.view, layout)).collect()
    }

    /// A layer was edited by this decision.
    pub(super) fn edited(&mut self, layer: LayerId) {
        let memory = &mut self.state.layers[layer.0 as usize];
        *memory = LayerMemory { last_edit: Some(self.state.decisions), ..LayerMemory::default() };
    }

    /// The effects of the candidates that were measured.
    pub(super) fn measured<'e>(
        &self,
        candidates: Vec<Candidate>,
        effects: &'e [MeasuredEffect],
    ) -> Vec<Measured<'e>> {
        let measured = |candidate: Candidate| {
            let effect = effects.iter().find(|effect| effect.edits == candidate.edits)?;
            Some(Measured { gain: Gain::of(effect, self.config.expert_cost), candidate, effect })
        };
        candidates.into_iter().filter_map(measured).collect()
    }

    /// Makes the best measured move that surely beats keeping, if there is one.
    pub(super) fn choose(&mut self, measured: Vec<Measured<'_>>, mut evidence: Evidence) -> Decision {
        self.note_measured(&measured, &mut evidence);
        // What left the race has lost it: its gain is that of fewer steps.
        let whole = full_steps(&measured);
        let gain = |one: &Measured<'_>| Some(one.gain).filter(|_| one.effect.steps == whole);
        let gains: Vec<Gain> = measured.iter().map(|one| gain(one).unwrap_or(Gain::UNKNOWN)).collect();
        match best(&gains, self.config.confidence) {
            Some(winner) => {
                let Measured { candidate, gain, effect } = &measured[winner];
                let why = format!(
                    "gain {} measured after {} steps; its lower bound, {} standard errors below, beats keeping",
                    people(gain),
                    effect.steps,
                    self.config.confidence
                );
                self.make(candidate.clone(), &why, evidence)
            }
            None => Decision::keep(self.kept(&measured), evidence),
        }
    }

    /// Makes a move.
    pub(super) fn make(&mut self, candidate: Candidate, why: &str, evidence: Evidence) -> Decision {
        self.edited(candidate.layer);
        let edits: Vec<String> = candidate.edits.iter().map(describe).collect();
        let reason = format!("layer {} {}: {why}", candidate.layer.0, edits.join(", "));
        Decision::edit(candidate.edits, reason, evidence)
    }

    fn kept(&self, measured: &[Measured<'_>]) -> String {
        let finite = measured.iter().filter(|one| one.gain.is_finite());
        let nearest = finite.max_by(|one, other| {
            let lower = |one: &Measured<'_>| one.gain.lower(self.config.confidence);
            lower(one).total_cmp(&lower(other))
        });
        let nearest = nearest.map_or_else(
            || "none gave a number".to_owned(),
            |Measured { candidate, gain, .. }| {
                format!(
                    "nearest is layer {} {}, gain {}",
                    candidate.layer.0,
                    candidate.kind.name(),
                    people(gain)
                )
            },
        );
        format!("of {} measured candidates none surely beats keeping: {nearest}", measured.len())
    }

    fn note_measured(&self, measured: &[Measured<'_>], evidence: &mut Evidence) {
        note(evidence, "candidates".to_owned(), measured.len() as f64);
        let not_finite = measured.iter().filter(|one| !one.gain.is_finite()).count();
        note(evidence, "not_finite".to_owned(), not_finite as f64);
        for Measured { candidate, gain, effect } in measured {
            note(evidence, candidate.name("loss_increase"), effect.loss_increase());
            note(evidence, candidate.name("gain"), gain.nats);
            note(evidence, candidate.name("se"), gain.standard_error);
            note(evidence, candidate.name("steps"), effect.steps as f64);
            if let Some(again) = Gain::of_replicate(effect, self.config.expert_cost) {
                note(evidence, candidate.name("replicate"), again.nats);
                note(evidence, candidate.name("replicate_se"), again.standard_error);
            }
        }
    }
}

impl Survey<'_> {
    /// Why there is no candidate.
    pub(super) fn nothing_to_do(&self) -> String {
        if let Some(closed) = &self.closed {
            return closed.clone();
        }
        if self.layers.is_empty() {
            return "no layer has a router".to_owned();
        }
        let reason = |layer: &Surveyed<'_>| {
            let why = layer.waiting.as_deref().unwrap_or("no move is allowed");
            format!("layer {}: {why}", layer.view.id.0)
        };
        self.layers.iter().map(reason).collect::<Vec<_>>().join("; ")
    }

    /// The features of a layer of this survey.
    pub(super) fn features(&self, layer: LayerId) -> Option<&Features> {
        self.layers.iter().find(|one| one.view.id == layer).map(|one| &one.features)
    }
}

/// A gain for people.
fn people(gain: &Gain) -> String {
    format!("{:+.4} ± {:.4} nats", gain.nats, gain.standard_error)
}
