//! Splits by evidence, drops by re-routing, and races of smaller sets; or these races alone.
//!
//! At each of its times it looks twice, a step apart: which experts nobody would miss (they go), and for which experts two would
//! serve their tokens better than one (they are split, along the direction that the test found). A step later the hidden units that
//! do not fire on the tokens of their half are drawn anew. When the test has been silent for long enough, smaller sets race against
//! the one that is there, and the smallest that is about as good goes on. Every look and every race is a decision of its own, so
//! that a run that is stopped goes on within a time as anywhere else.

mod descend;
mod drop;
mod split;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use moelt_schema::{
    Edit, EditsConfig, Evidence, ExpertId, LayerId, LayerKind, Layout, PolicyState, SplitAndDropConfig,
    SplitAndDropState, Stage,
};

use crate::{
    Decision, Findings, Look, MeasuredEffect, Policy, StatsWindow, edits::describe_all, layer_view::LayerView,
};

/// Remembers in [`SplitAndDropState`] what is next.
pub(super) struct SplitAndDrop {
    config: SplitAndDropConfig,
    edits: EditsConfig,
    total_steps: u64,
    state: PolicyState,
}

/// What is to be done at a step.
enum Due {
    Nothing,
    Drop,
    Stage(Stage),
}

/// A decision point.
struct Moment<'a> {
    step: u64,
    layers: Vec<LayerView<'a>>,
    layout: &'a Layout,
    evidence: Evidence,
}

impl<'a> Moment<'a> {
    /// The layers with top-k routing: others have no expert that a router would send tokens past.
    fn of(window: &StatsWindow<'a>, layout: &'a Layout) -> Self {
        let mut layers = LayerView::all(window, layout);
        layers.retain(|layer| matches!(layer.layout.kind, LayerKind::TopK { .. }));
        let evidence = LayerView::evidence_of(&layers);
        Self { step: window.step, layers, layout, evidence }
    }

    fn layer(&self, id: LayerId) -> Option<&LayerView<'a>> {
        self.layers.iter().find(|layer| layer.id == id)
    }

    /// Writes a number down beside a layer.
    fn note(&mut self, layer: LayerId, name: String, value: f64) {
        let evidence = self.evidence.layers.iter_mut().find(|evidence| evidence.layer == layer);
        evidence.into_iter().for_each(|evidence| evidence.note(name.clone(), value));
    }

    /// Writes down what experts of a layer carry.
    fn note_saliency(&mut self, layer: LayerId, saliency: &BTreeMap<ExpertId, f64>) {
        let evidence = self.evidence.layers.iter_mut().find(|evidence| evidence.layer == layer);
        evidence.into_iter().for_each(|evidence| evidence.saliency.clone_from(saliency));
    }

    /// The edits, with what they do in words behind `why`; without any the experts stay.
    fn apply(self, edits: Vec<Edit>, why: &str) -> Decision {
        let reason =
            if edits.is_empty() { why.to_owned() } else { format!("{why}: {}", describe_all(&edits)) };
        Decision::apply(edits, reason, self.evidence)
    }
}

impl SplitAndDrop {
    pub(super) fn new(
        config: SplitAndDropConfig,
        edits: EditsConfig,
        total_steps: u64,
        mut state: PolicyState,
    ) -> Self {
        state.split_and_drop.get_or_insert_default();
        Self { config, edits, total_steps, state }
    }

    fn memory(&self) -> &SplitAndDropState {
        self.state.split_and_drop.as_ref().expect("made with the policy")
    }

    fn memory_mut(&mut self) -> &mut SplitAndDropState {
        self.state.split_and_drop.get_or_insert_default()
    }

    /// A fraction of training, in steps.
    fn steps(&self, fraction: f64) -> u64 {
        (fraction * self.total_steps as f64) as u64
    }

    fn due(&self, step: u64) -> Due {
        let memory = self.memory();
        match &memory.next {
            _ if memory.done => Due::Nothing,
            Some((at, stage)) if *at == step => Due::Stage(stage.clone()),
            Some((_, Stage::Order { .. } | Stage::Race { .. })) => Due::Nothing,
            _ if self.is_latest(step) => Due::Stage(Stage::Order { layer: LayerId(0) }),
            _ if self.is_time(step) => Due::Drop,
            _ => Due::Nothing,
        }
    }

    fn is_time(&self, step: u64) -> bool {
        step > 0 && self.config.times.iter().any(|time| self.steps(*time) == step)
    }

    fn is_first_time(&self, step: u64) -> bool {
        self.config.times.first().is_some_and(|time| self.steps(*time) == step)
    }

    fn is_latest(&self, step: u64) -> bool {
        self.config.descends().is_some_and(|descent| self.steps(descent.latest) <= step)
    }

    /// What is done before the next step.
    fn then(&mut self, step: u64, stage: Stage) {
        self.memory_mut().next = Some((step + 1, stage));
    }

    /// What follows when nothing was split: a descent, if it has been quiet for long enough, or the next time.
    fn rest_or_descend(&mut self, moment: &Moment<'_>) {
        let quiet = self.memory().quiet;
        self.memory_mut().next = None;
        match self.config.descends() {
            Some(descent) if quiet >= descent.quiet => self.descend_from(moment, LayerId(0), moment.step + 1),
            None if self.is_past_the_last_time(moment.step) => self.memory_mut().done = true,
            Some(_) | None => {}
        }
    }

    fn is_past_the_last_time(&self, step: u64) -> bool {
        self.config.times.last().is_none_or(|time| step >= self.steps(*time))
    }

    /// What is looked at first, or done, at a decision point.
    fn begin(&mut self, moment: Moment<'_>, due: Due) -> Decision {
        match due {
            Due::Nothing => Decision::keep("nothing is due", moment.evidence),
            Due::Drop => self.look_for_drops(moment),
            Due::Stage(Stage::Test {}) => self.look_for_splits(moment),
            Due::Stage(Stage::Redraw { halves }) => {
                let is_there = |(layer, expert): &(LayerId, ExpertId)| {
                    moment.layer(*layer).is_some_and(|layer| layer.layout.experts.contains(expert))
                };
                let experts = halves.into_iter().filter(is_there).collect();
                // Shares of units need fewer tokens than a test.
                let texts = self.config.splits().map_or(1, |split| split.texts.div_ceil(4));
                let look = Look::Units { experts, texts };
                Decision::look(look, "looks for units that their half has no use for", moment.evidence)
            }
            Due::Stage(Stage::Order { layer }) => self.look_for_sets(moment, layer),
            Due::Stage(Stage::Race { layer, sets, .. }) => self.race(moment, layer, &sets),
        }
    }
}

impl Policy for SplitAndDrop {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let due = self.due(window.step);
        self.begin(Moment::of(window, layout), due)
    }

    fn see(&mut self, window: &StatsWindow<'_>, layout: &Layout, findings: &Findings) -> Decision {
        let moment = Moment::of(window, layout);
        match (self.due(window.step), findings) {
            (Due::Stage(Stage::Order { layer }), Findings::Elimination(found)) => {
                self.choose_sets(moment, layer, found)
            }
            (_, Findings::Elimination(found)) => self.drop(moment, found),
            (_, Findings::Splits(found)) => self.split(moment, found),
            (_, Findings::Units(found)) => self.redraw(moment, found),
            (_, Findings::Losses(_) | Findings::Criteria(_)) => {
                Decision::keep("did not ask for that", moment.evidence)
            }
        }
    }

    fn observe(&mut self, window: &StatsWindow<'_>, layout: &Layout, effects: &[MeasuredEffect]) -> Decision {
        let moment = Moment::of(window, layout);
        match self.due(window.step) {
            Due::Stage(Stage::Race { layer, sets, loss }) => {
                self.finish_race(moment, layer, &sets, loss, effects)
            }
            _ => Decision::keep("no race was due", moment.evidence),
        }
    }

    fn is_due(&self, step: u64) -> Option<bool> {
        Some(!matches!(self.due(step), Due::Nothing))
    }

    fn is_settled(&self) -> bool {
        self.memory().done || (self.config.times.is_empty() && self.config.descends().is_none())
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}
