//! Thresholds on routing statistics, with confirmation, hysteresis and cooldown.
//!
//! Each layer is judged by itself and edited at most once a decision. A layer *grows* when its router is
//! unsure (routing entropy) and no expert is idle (load entropy); it *prunes* the expert with the least
//! [`Saliency`]. Both must be asked for by several windows. Windows of the warm-up and of a cooldown
//! count for nothing: they show a layer that is still settling.

mod band;
mod judge;
#[cfg(test)]
mod tests;

use moelt_schema::{
    Edit, EditsConfig, Evidence, ExpertId, LayerEvidence, LayerMemory, Layout, Limits, PolicyState,
    RuleConfig, Saliency,
};

use self::judge::Judge;
use crate::{
    Decision, MeasuredEffect, Policy, StatsWindow, Trial,
    edits::{NewIds, allows},
    layer_view::LayerView,
    saliency::Saliencies,
    timing::{Timing, cooling_until},
};

/// Edits by rule.
pub(super) struct Rule {
    config: RuleConfig,
    edits: EditsConfig,
    state: PolicyState,
}

impl Rule {
    pub(super) fn new(config: RuleConfig, edits: EditsConfig, state: PolicyState) -> Self {
        Self { config, edits, state }
    }

    /// Judges every layer, with the effects of the candidates if any were measured.
    fn judge(&mut self, layers: &[LayerView<'_>], layout: &Layout, effects: &[MeasuredEffect]) -> Decision {
        let mut new_ids = NewIds::of(layout);
        let (mut edits, mut reasons, mut evidence) = (Vec::new(), Vec::new(), Evidence::default());
        for layer in layers {
            let saliencies = Saliencies::new(self.config.saliency, layer, effects);
            let judge = Judge {
                config: &self.config,
                limits: self.edits.limits(),
                decision: self.state.decisions,
                layer,
                saliencies: &saliencies,
            };
            let mut seen = self.seen(layer, effects);
            let memory = &mut self.state.layers[layer.id.0 as usize];
            let ruling = judge.judge(memory, &mut new_ids, &mut seen);
            evidence.layers.push(seen);
            edits.extend(ruling.edit);
            reasons.push(ruling.reason);
        }
        let reason = if reasons.is_empty() { "no layer has a router".to_owned() } else { reasons.join("; ") };
        Decision::apply(edits, reason, evidence)
    }

    fn seen(&self, layer: &LayerView<'_>, effects: &[MeasuredEffect]) -> LayerEvidence {
        let saliency = Saliencies::new(self.config.saliency, layer, effects).evidence();
        LayerEvidence { saliency, ..layer.evidence() }
    }

    fn evidence(&self, layers: &[LayerView<'_>]) -> Evidence {
        let layers = layers.iter().map(|layer| self.seen(layer, &[])).collect();
        Evidence { layers, ..Evidence::default() }
    }

    /// What must be measured before pruning can be judged: every expert of every layer that could lose one.
    fn candidates(&self, layers: &[LayerView<'_>]) -> Vec<Vec<Edit>> {
        if self.config.saliency != Saliency::Loss {
            return Vec::new();
        }
        let open = layers.iter().filter(|layer| {
            let memory = &self.state.layers[layer.id.0 as usize];
            cooling_until(self.config.cooldown, memory, self.state.decisions).is_none()
                && layer.sums.tokens > 0.0
                && can_prune(&self.edits.limits(), layer)
        });
        let of_layer = |layer: &LayerView<'_>| {
            let id = layer.id;
            let prune = |expert: &ExpertId| vec![Edit::Prune { layer: id, expert: *expert }];
            layer.layout.experts.iter().filter(|e| !layer.is_ramping_in(**e)).map(prune).collect::<Vec<_>>()
        };
        open.flat_map(of_layer).collect()
    }
}

impl Policy for Rule {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        self.state.layers.resize(layout.layers().len(), LayerMemory::default());
        let layers = LayerView::all(window, layout);
        if let Some(reason) = Timing::new(&self.edits, window.total_steps).closed(window.step) {
            return Decision::keep(reason, self.evidence(&layers));
        }
        let candidates = self.candidates(&layers);
        if candidates.is_empty() {
            return self.judge(&layers, layout, &[]);
        }
        let reason = format!("the loss without each of {} experts decides which may go", candidates.len());
        let evidence = self.evidence(&layers);
        Decision::measure(Trial::new(candidates, 0), reason, evidence)
    }

    fn observe(&mut self, window: &StatsWindow<'_>, layout: &Layout, effects: &[MeasuredEffect]) -> Decision {
        self.judge(&LayerView::all(window, layout), layout, effects)
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

fn can_prune(limits: &Limits, layer: &LayerView<'_>) -> bool {
    allows(limits, layer.n() - 1)
}
