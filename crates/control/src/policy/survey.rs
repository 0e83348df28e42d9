//! What look-ahead and the heads share: a survey of the layers at a decision point.

use moelt_schema::{
    EditsConfig, Evidence, Features, LayerEvidence, LayerId, LayerMemory, Layout, PolicyState, Streams,
};

use crate::{
    Decision, StatsWindow,
    edits::describe_all,
    features::features,
    layer_view::LayerView,
    moves::{Candidate, Proposer},
    timing::{Timing, cooling_until},
};

/// Config, chance and memory of a policy that surveys.
pub(super) struct Surveyor {
    pub(super) edits: EditsConfig,
    /// Decisions after an edit of a layer before the next one.
    pub(super) cooldown: u64,
    pub(super) proposer: Proposer,
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

impl Surveyor {
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
            let features = features(&self.proposer, window, &view, self.state.loss_before);
            Surveyed { features, waiting: self.waiting(&view), view }
        };
        let closed = Timing::new(&self.edits, window.total_steps).closed(window.step);
        Survey { layers: LayerView::all(window, layout).into_iter().map(surveyed).collect(), closed }
    }

    fn waiting(&self, layer: &LayerView<'_>) -> Option<String> {
        let memory = &self.state.layers[layer.id.0 as usize];
        if let Some(until) = cooling_until(self.cooldown, memory, self.state.decisions) {
            let now = self.state.decisions;
            return Some(format!("cooling down through decision {until}, this is decision {now}"));
        }
        (layer.sums.tokens <= 0.0).then(|| "no tokens were routed since the last decision".to_owned())
    }

    /// A layer was edited by this decision.
    pub(super) fn edited(&mut self, layer: LayerId) {
        let memory = &mut self.state.layers[layer.0 as usize];
        let (last_edit, turns) = (Some(self.state.decisions), memory.turns);
        *memory = LayerMemory { last_edit, turns, ..LayerMemory::default() };
    }

    /// Makes a move.
    pub(super) fn make(&mut self, candidate: Candidate, why: &str, evidence: Evidence) -> Decision {
        self.edited(candidate.layer);
        let reason = format!("layer {} {}: {why}", candidate.layer.0, describe_all(&candidate.edits));
        Decision::apply(candidate.edits, reason, evidence)
    }
}

impl<'a> Survey<'a> {
    /// What the routers did and what a head would see.
    pub(super) fn evidence(&self) -> Evidence {
        let seen =
            |layer: &Surveyed<'_>| LayerEvidence { features: Some(layer.features), ..layer.view.evidence() };
        Evidence { layers: self.layers.iter().map(seen).collect(), ..Evidence::default() }
    }

    /// The layers that may be edited now; none when nothing may be edited at all.
    pub(super) fn free(&self) -> impl Iterator<Item = &Surveyed<'a>> {
        self.layers.iter().filter(|layer| self.closed.is_none() && layer.waiting.is_none())
    }

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
