//! What each expert carries, by one of several measures.

use std::collections::BTreeMap;

use moelt_schema::{Edit, ExpertId, Saliency};

use crate::{MeasuredEffect, layer_view::LayerView};

/// The saliency of a layer's experts. A share is a part of the even share `1/n`; a loss increase is in nats.
pub(crate) struct Saliencies {
    kind: Saliency,
    /// In router order, as far as they were measured; not finite where that went wrong. Without experts
    /// that are still ramping in.
    values: Vec<(ExpertId, f64)>,
}

impl Saliencies {
    /// From the window, or from the effects of pruning each expert.
    pub(crate) fn new(kind: Saliency, layer: &LayerView<'_>, effects: &[MeasuredEffect]) -> Self {
        let carried = match kind {
            Saliency::Utilization => layer.sums.tokens_per_expert.clone(),
            Saliency::RouterMass => layer.sums.mass.clone(),
            Saliency::Reap => layer.mean_weighted_norm(),
            Saliency::Loss => return Self { kind, values: loss_increases(layer, effects) },
        };
        let total: f64 = carried.iter().sum();
        // When nobody carries anything nobody carries least.
        let share = |carried: f64| if total > 0.0 { carried / total * layer.n() as f64 } else { f64::NAN };
        let experts = layer.layout.experts.iter().copied().zip(carried.into_iter().map(share));
        Self { kind, values: experts.filter(|(expert, _)| !layer.is_ramping_in(*expert)).collect() }
    }

    /// Every expert with its value.
    pub(crate) fn values(&self) -> &[(ExpertId, f64)] {
        &self.values
    }

    /// The expert that carries least, the first of several.
    pub(crate) fn weakest(&self) -> Option<(ExpertId, f64)> {
        self.weakest_first().first().copied()
    }

    /// Experts with a number, those that carry least first; in router order where they are equal.
    pub(crate) fn weakest_first(&self) -> Vec<(ExpertId, f64)> {
        let finite = self.values.iter().copied().filter(|(_, value)| value.is_finite());
        let mut finite: Vec<_> = finite.collect();
        finite.sort_by(|one, other| one.1.total_cmp(&other.1));
        finite
    }

    /// Experts that were measured without a number coming out.
    pub(crate) fn unknown(&self) -> Vec<ExpertId> {
        let unknown = self.values.iter().filter(|(_, value)| !value.is_finite());
        unknown.map(|(expert, _)| *expert).collect()
    }

    /// Whether these are losses that were measured.
    pub(crate) fn are_measured(&self) -> bool {
        self.kind == Saliency::Loss
    }

    /// A value for people, with what it is.
    pub(crate) fn describe(&self, value: f64) -> String {
        match self.kind {
            Saliency::Utilization => format!("utilization {value:.3} of the even share"),
            Saliency::RouterMass => format!("router mass {value:.3} of the even share"),
            Saliency::Reap => format!("weight × norm {value:.3} of the even share"),
            Saliency::Loss => format!("loss {value:+.4} nats without it"),
        }
    }

    /// Every value that is a number, as evidence.
    pub(crate) fn evidence(&self) -> BTreeMap<ExpertId, f64> {
        self.values.iter().copied().filter(|(_, value)| value.is_finite()).collect()
    }
}

/// What pruning each expert of the layer did to the loss, nats; experts that were not measured are left out.
fn loss_increases(layer: &LayerView<'_>, effects: &[MeasuredEffect]) -> Vec<(ExpertId, f64)> {
    let increase = |expert: &ExpertId| {
        let candidate = [Edit::Prune { layer: layer.id, expert: *expert }];
        let effect = effects.iter().find(|effect| effect.edits == candidate)?;
        Some((*expert, effect.loss_increase()))
    };
    layer.layout.experts.iter().filter(|expert| !layer.is_ramping_in(**expert)).filter_map(increase).collect()
}

#[cfg(test)]
mod tests {
    use moelt_schema::{LayerKind, LayerSums, Layout};

    use super::*;
    use crate::StatsWindow;

    fn values(kind: Saliency, sums: LayerSums) -> Vec<f64> {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, sums.tokens_per_expert.len());
        let window = StatsWindow { step: 1, total_steps: 2, sums: &[sums], loss: 1.0, ramping_in: &[] };
        let layer = &LayerView::all(&window, &layout)[0];
        Saliencies::new(kind, layer, &[]).values().iter().map(|(_, value)| *value).collect()
    }

    #[test]
    fn shares_are_parts_of_the_even_share() {
        let sums = LayerSums {
            tokens: 8.0,
            tokens_per_expert: vec![8.0, 0.0],
            weighted_norm: vec![2.0, 0.0],
            mass: vec![5.0, 3.0],
            ..LayerSums::zeros(2)
        };
        assert_eq!(values(Saliency::Utilization, sums.clone()), [2.0, 0.0]);
        assert_eq!(values(Saliency::RouterMass, sums.clone()), [1.25, 0.75]);
        assert_eq!(values(Saliency::Reap, sums.clone()), [2.0, 0.0]);
        assert_eq!(values(Saliency::Loss, sums), [0.0; 0]);
    }

    /// 90 tokens with a mean of 0.1 against 10 with a mean of 0.8: the specialist is worth more.
    #[test]
    fn reap_is_the_mean_over_an_experts_rows() {
        let sums = LayerSums {
            tokens: 100.0,
            tokens_per_expert: vec![90.0, 10.0],
            weighted_norm: vec![9.0, 8.0],
            ..LayerSums::zeros(2)
        };
        let [first, second] = values(Saliency::Reap, sums)[..] else { panic!("two experts") };
        assert!((first - 2.0 / 9.0).abs() < 1e-12 && (second - 16.0 / 9.0).abs() < 1e-12);
    }

    #[test]
    fn an_expert_that_is_being_let_in_is_not_judged() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        let sums = LayerSums { tokens: 9.0, tokens_per_expert: vec![9.0, 0.0], ..LayerSums::zeros(2) };
        let ramping_in = [(moelt_schema::LayerId(0), ExpertId(1))];
        let window =
            StatsWindow { step: 1, total_steps: 2, sums: &[sums], loss: 1.0, ramping_in: &ramping_in };
        let layer = &LayerView::all(&window, &layout)[0];
        assert_eq!(Saliencies::new(Saliency::Utilization, layer, &[]).weakest(), Some((ExpertId(0), 2.0)));
    }

    #[test]
    fn without_anything_carried_nobody_is_weakest() {
        assert!(values(Saliency::Reap, LayerSums::zeros(2)).iter().all(|value| value.is_nan()));
    }
}
