//! One layer with a router, as a policy sees it at a decision point.

use moelt_schema::{
    Evidence, ExpertId, LayerEvidence, LayerId, LayerKind, LayerLayout, LayerSums, Layout, RoutingStats,
};

use crate::StatsWindow;

/// A layer's experts and what its router did.
pub(crate) struct LayerView<'a> {
    pub(crate) id: LayerId,
    pub(crate) layout: &'a LayerLayout,
    pub(crate) sums: &'a LayerSums,
    ramping_in: &'a [(LayerId, ExpertId)],
    stats: RoutingStats,
}

impl<'a> LayerView<'a> {
    /// Every layer that is not dense, with its sums.
    ///
    /// # Panics
    /// When the window is of another layout.
    pub(crate) fn all(window: &StatsWindow<'a>, layout: &'a Layout) -> Vec<Self> {
        let layers = layout.layers().iter().zip(0..).filter(|(layer, _)| layer.kind != LayerKind::Dense);
        let layers: Vec<_> = layers.collect();
        assert_eq!(window.sums.len(), layers.len(), "routing sums of another number of MoE layers");
        let view = |((layout, id), sums): ((&'a LayerLayout, u32), &'a LayerSums)| {
            assert_eq!(
                sums.tokens_per_expert.len(),
                layout.n_experts(),
                "routing sums of other experts in layer {id}"
            );
            let (stats, ramping_in) = (RoutingStats::from_sums(sums), window.ramping_in);
            Self { id: LayerId(id), layout, sums, ramping_in, stats }
        };
        layers.into_iter().zip(window.sums).map(view).collect()
    }

    /// Number of experts.
    pub(crate) fn n(&self) -> usize {
        self.layout.n_experts()
    }

    /// Routing entropy as a part of `ln n`. A single expert says nothing and counts as 1.
    pub(crate) fn routing_entropy(&self) -> f64 {
        self.part_of_ln_n(self.stats.routing_entropy)
    }

    /// Load entropy as a part of `ln n`. A single expert carries everything, evenly: 1.
    pub(crate) fn load_entropy(&self) -> f64 {
        self.part_of_ln_n(self.stats.load_entropy)
    }

    fn part_of_ln_n(&self, entropy: f64) -> f64 {
        if self.n() == 1 { 1.0 } else { entropy / (self.n() as f64).ln() }
    }

    /// Mean router weight × output norm over the tokens of each expert.
    pub(crate) fn mean_weighted_norm(&self) -> Vec<f64> {
        self.stats.weighted_norm.clone()
    }

    /// Part of the (token, choice) pairs of each expert.
    pub(crate) fn utilization(&self) -> &[f64] {
        &self.stats.utilization
    }

    /// Number of dead experts.
    pub(crate) fn dead(&self) -> usize {
        self.stats.dead_experts.len()
    }

    /// Whether an expert is still ramping in.
    pub(crate) fn is_ramping_in(&self, expert: ExpertId) -> bool {
        self.ramping_in.contains(&(self.id, expert))
    }

    /// The expert with the most tokens, the first of several.
    pub(crate) fn busiest(&self) -> ExpertId {
        let by_tokens = self.layout.experts.iter().zip(&self.sums.tokens_per_expert);
        let busiest = by_tokens.reduce(|best, other| if other.1 > best.1 { other } else { best });
        *busiest.expect("a layer has at least one expert").0
    }

    /// What the routers of these layers did, as evidence.
    pub(crate) fn evidence_of(layers: &[Self]) -> Evidence {
        Evidence { layers: layers.iter().map(Self::evidence).collect(), ..Evidence::default() }
    }

    /// What the router did, as evidence.
    pub(crate) fn evidence(&self) -> LayerEvidence {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        LayerEvidence {
            tokens: self.sums.tokens,
            routing_entropy: finite(self.routing_entropy()),
            load_entropy: finite(self.load_entropy()),
            ..LayerEvidence::new(self.id, self.n())
        }
    }
}

/// The layers in which a router chooses.
pub(crate) fn routed(layout: &Layout) -> impl Iterator<Item = (LayerId, &LayerLayout)> {
    let layers = (0..).map(LayerId).zip(layout.layers());
    layers.filter(|(_, layer)| matches!(layer.kind, LayerKind::TopK { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropies_are_parts_of_the_largest_there_can_be() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 4);
        let sums = LayerSums {
            tokens: 10.0,
            tokens_per_expert: vec![5.0, 0.0, 5.0, 0.0],
            entropy: 10.0 * 4f64.ln(),
            ..LayerSums::zeros(4)
        };
        let window = StatsWindow { step: 1, total_steps: 2, sums: &[sums], loss: 1.0, ramping_in: &[] };
        let layer = &LayerView::all(&window, &layout)[0];
        assert_eq!(layer.routing_entropy(), 1.0);
        assert!((layer.load_entropy() - 0.5).abs() < 1e-12);
        assert_eq!(layer.busiest(), ExpertId(0));
    }

    #[test]
    fn a_single_expert_counts_as_unsure_and_busy() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 1);
        let window =
            StatsWindow { step: 1, total_steps: 2, sums: &[LayerSums::zeros(1)], loss: 1.0, ramping_in: &[] };
        let layer = &LayerView::all(&window, &layout)[0];
        assert_eq!((layer.routing_entropy(), layer.load_entropy()), (1.0, 1.0));
    }

    #[test]
    #[should_panic(expected = "routing sums of other experts in layer 0")]
    fn sums_of_another_layout_are_a_mistake() {
        let layout = Layout::uniform(1, LayerKind::TopAny, 3);
        LayerView::all(
            &StatsWindow {
                step: 1,
                total_steps: 2,
                sums: &[LayerSums::zeros(2)],
                loss: 1.0,
                ramping_in: &[],
            },
            &layout,
        );
    }
}
