//! DynMoE's rules (Guo et al. 2024, arXiv 2405.14297): an expert that no token chose goes, and one is added
//! where tokens chose none.
//!
//! The paper's record window is the window between two decisions. As there, nothing is confirmed and no
//! layer cools down.

use moelt_schema::{
    Edit, EditsConfig, Evidence, ExpertId, ExpertInit, LayerKind, Layout, Limits, PolicyState, Unrouted,
};

use crate::{
    Decision, Policy, StatsWindow,
    edits::{NewIds, allows, describe_all},
    layer_view::LayerView,
    timing::Timing,
};

/// Edits the layers with top-any routing.
pub(super) struct Dynmoe {
    config: EditsConfig,
    state: PolicyState,
}

impl Dynmoe {
    pub(super) fn new(config: EditsConfig, state: PolicyState) -> Self {
        Self { config, state }
    }
}

impl Policy for Dynmoe {
    fn decide(&mut self, window: &StatsWindow<'_>, layout: &Layout) -> Decision {
        self.state.decisions += 1;
        let mut layers = LayerView::all(window, layout);
        layers.retain(|layer| layer.layout.kind == LayerKind::TopAny);
        let seen = |layer: &LayerView<'_>| {
            let mut evidence = layer.evidence();
            evidence.note("unrouted_tokens", layer.sums.unrouted.tokens);
            evidence.note("idle_experts", idle(layer).len() as f64);
            evidence
        };
        let evidence = Evidence { layers: layers.iter().map(seen).collect(), ..Evidence::default() };
        if let Some(reason) = Timing::new(&self.config, window.total_steps).closed(window.step) {
            return Decision::keep(reason, evidence);
        }
        if layers.is_empty() {
            return Decision::keep("no layer has top-any routing", evidence);
        }
        let mut new_ids = NewIds::of(layout);
        let (mut edits, mut reasons) = (Vec::new(), Vec::new());
        for layer in &layers {
            let of_layer = layer_edits(layer, &self.config.limits(), &mut new_ids);
            reasons.push(reason(layer, &of_layer));
            edits.extend(of_layer);
        }
        Decision::apply(edits, reasons.join("; "), evidence)
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

/// What the rules ask of one layer, within the limits.
fn layer_edits(layer: &LayerView<'_>, limits: &Limits, new_ids: &mut NewIds) -> Vec<Edit> {
    if layer.sums.tokens <= 0.0 {
        return Vec::new();
    }
    let mut gone = idle(layer);
    gone.truncate(layer.n().saturating_sub(limits.min.max(1)));
    let rest = layer.n() - gone.len();
    let grows = layer.sums.unrouted.tokens > 0.0 && rest < limits.max;
    if !allows(limits, rest + usize::from(grows)) {
        return Vec::new();
    }
    let prune = |expert| Edit::Prune { layer: layer.id, expert };
    let mut edits: Vec<Edit> = gone.into_iter().map(prune).collect();
    if grows {
        let init = aim(&layer.sums.unrouted);
        edits.push(Edit::Grow { layer: layer.id, new: new_ids.take(), init });
    }
    edits
}

/// The experts that no token chose, those with the least router mass first.
fn idle(layer: &LayerView<'_>) -> Vec<ExpertId> {
    let experts = layer.layout.experts.iter().zip(&layer.sums.tokens_per_expert).zip(&layer.sums.mass);
    let mut idle: Vec<(ExpertId, f64)> = experts
        .filter(|((_, tokens), _)| **tokens == 0.0)
        .map(|((expert, _), mass)| (*expert, *mass))
        .collect();
    idle.sort_by(|one, other| one.1.total_cmp(&other.1));
    idle.into_iter().map(|(expert, _)| expert).collect()
}

/// Towards the tokens that no expert claimed; fresh when they cancel out.
fn aim(unrouted: &Unrouted) -> ExpertInit {
    let norm = unrouted.sum.iter().map(|value| value * value).sum::<f64>().sqrt();
    if norm > 0.0 && norm.is_finite() {
        ExpertInit::Aimed { direction: unrouted.sum.iter().map(|value| (value / norm) as f32).collect() }
    } else {
        ExpertInit::Fresh
    }
}

fn reason(layer: &LayerView<'_>, edits: &[Edit]) -> String {
    let what = if edits.is_empty() { format!("keeps {} experts", layer.n()) } else { describe_all(edits) };
    format!(
        "layer {} {what}: {} of {} experts had no token, {} of {} tokens had no expert",
        layer.id.0,
        idle(layer).len(),
        layer.n(),
        layer.sums.unrouted.tokens,
        layer.sums.tokens
    )
}

#[cfg(test)]
mod tests {
    use moelt_schema::{LayerId, LayerSums};

    use super::*;
    use crate::Action;

    const LAYER: LayerId = LayerId(0);

    fn decide(tokens: &[f64], mass: &[f64], unrouted: Unrouted, limits: (usize, usize)) -> Decision {
        let layout = Layout::uniform(1, LayerKind::TopAny, tokens.len());
        let config = EditsConfig { min_experts: limits.0, max_experts: limits.1, ..EditsConfig::default() };
        let zeros = LayerSums::zeros(tokens.len());
        let sums = LayerSums {
            tokens: 10.0,
            tokens_per_expert: tokens.to_vec(),
            mass: mass.to_vec(),
            unrouted,
            ..zeros
        };
        let window = StatsWindow { step: 500, total_steps: 1000, sums: &[sums], loss: 1.0, ramping_in: &[] };
        Dynmoe::new(config, PolicyState::default()).decide(&window, &layout)
    }

    fn prune(expert: u64) -> Edit {
        Edit::Prune { layer: LAYER, expert: ExpertId(expert) }
    }

    fn grow(new: u64, init: ExpertInit) -> Edit {
        Edit::Grow { layer: LAYER, new: ExpertId(new), init }
    }

    fn tokens(sum: &[f64]) -> Unrouted {
        Unrouted { tokens: 2.0, sum: sum.to_vec() }
    }

    #[test]
    fn idle_experts_go_and_one_is_aimed_at_the_tokens_left_over() {
        let decision = decide(&[4.0, 0.0, 3.0, 0.0], &[1.0; 4], tokens(&[3.0, -4.0]), (1, 4));
        let aimed = ExpertInit::Aimed { direction: vec![0.6, -0.8] };
        assert_eq!(decision.action, Action::Apply(vec![prune(1), prune(3), grow(4, aimed)]));
        assert_eq!(
            decision.reason,
            "layer 0 prunes expert 1, prunes expert 3, grows expert 4 aimed at the tokens that no expert \
             claimed: 2 of 4 experts had no token, 2 of 10 tokens had no expert"
        );
        assert_eq!(decision.evidence.layers[0].numbers["idle_experts"], 2.0);
    }

    #[test]
    fn the_least_number_of_experts_stays_with_the_most_mass() {
        let decision = decide(&[0.0, 0.0, 0.0], &[0.3, 0.9, 0.1], Unrouted::default(), (2, 4));
        assert_eq!(decision.action, Action::Apply(vec![prune(2)]));
        let decision = decide(&[0.0, 0.0, 0.0], &[0.3, 0.9, 0.1], Unrouted::default(), (1, 4));
        assert_eq!(decision.action, Action::Apply(vec![prune(2), prune(0)]));
    }

    #[test]
    fn a_full_layer_does_not_grow() {
        let decision = decide(&[1.0, 2.0], &[1.0; 2], tokens(&[1.0]), (1, 2));
        assert_eq!(decision.action, Action::Keep);
        assert_eq!(
            decision.reason,
            "layer 0 keeps 2 experts: 0 of 2 experts had no token, 2 of 10 tokens had no expert"
        );
    }

    #[test]
    fn rows_that_cancel_out_or_overflow_give_no_direction() {
        for sum in [vec![], vec![0.0, 0.0], vec![f64::INFINITY, 1.0], vec![f64::NAN]] {
            let decision = decide(&[1.0, 2.0], &[1.0; 2], tokens(&sum), (1, 4));
            assert_eq!(decision.action, Action::Apply(vec![grow(2, ExpertInit::Fresh)]));
        }
    }
}
