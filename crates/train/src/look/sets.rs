//! Which experts would be missed least.

use std::collections::BTreeMap;

use burn::module::Module;
use moelt_control::{Eliminated, Elimination, eliminate, eliminate_in_order};
use moelt_data::in_order;
use moelt_model::{Classifier, ModelInput, Rerouting};
use moelt_schema::{
    EliminationOrder, ExpertId, Flops, LayerId, LayerKind, LayerLayout, Layout, RoutingStats,
};

use super::{Paid, model_input};
use crate::{
    Split, TrainState,
    effect::cross_entropies,
    evaluate::{BATCH, pass},
    interrupt::Interrupt,
    trial::Arena,
};

/// What experts carry, by layer and position.
type Saliencies = BTreeMap<LayerId, Vec<f64>>;

/// A layer whose tokens can be sent another way, and how often that was done.
struct Judge<'a> {
    interrupt: Interrupt<'a>,
    model: &'a Classifier,
    reroutings: Vec<(Rerouting<'a>, &'a [u32])>,
    flops: Flops,
}

impl Judge<'_> {
    /// Mean loss with these experts alone, nats; no number when the run is asked to stop.
    fn loss(&mut self, there: &[bool]) -> f64 {
        if self.interrupt.check().is_err() {
            return f64::NAN;
        }
        let (mut sum, mut n) = (0.0, 0);
        for (rerouting, labels) in &self.reroutings {
            let (logits, flops) = self.model.rerouted(rerouting, there);
            self.flops += flops;
            sum += cross_entropies(logits, labels).iter().sum::<f64>();
            n += labels.len();
        }
        sum / n.max(1) as f64
    }
}

impl Arena<'_> {
    pub(super) fn eliminations(
        &self,
        state: &TrainState,
        layers: &[LayerId],
        texts: usize,
        locked: &[(LayerId, ExpertId)],
        order: EliminationOrder,
    ) -> Paid<Vec<Elimination>> {
        let (model, texts) = (state.model().valid(), self.spread_texts(texts));
        let (saliencies, mut flops) = match order {
            EliminationOrder::Loss => (Saliencies::new(), Flops::default()),
            EliminationOrder::Saliency => self.saliencies(&model, &state.layout, &texts)?,
        };
        let mut found = Vec::new();
        for layer in layers {
            let experts = state.layout.layer(*layer).map_or(&[][..], |layer| &layer.experts);
            let stays = |expert: &ExpertId| locked.contains(&(*layer, *expert));
            let locked: Vec<bool> = experts.iter().map(stays).collect();
            let saliency = saliencies.get(layer).map(Vec::as_slice);
            let order = saliency.map(least_first);
            let (sets, cost) = self.sets(&model, *layer, &texts, &locked, order.as_deref());
            self.interrupt.check()?;
            flops += cost;
            let names = |there: Vec<bool>| {
                let left = experts.iter().zip(there).filter(|(_, there)| *there);
                left.map(|(expert, _)| *expert).collect()
            };
            let sets = sets.into_iter().map(|(there, loss)| Eliminated { experts: names(there), loss });
            let saliency = saliency.map_or(BTreeMap::new(), |saliency| shares(experts, saliency));
            found.push(Elimination { layer: *layer, sets: sets.collect(), saliency });
        }
        Ok((found, flops))
    }

    /// Sets of fewer and fewer experts: those go first that `order` names first, or that are missed least.
    fn sets(
        &self,
        model: &Classifier,
        layer: LayerId,
        texts: &Split,
        locked: &[bool],
        order: Option<&[usize]>,
    ) -> (Vec<(Vec<bool>, f64)>, Flops) {
        let batches = in_order(&texts.texts, &texts.labels, BATCH);
        let inputs: Vec<ModelInput> = batches.iter().map(model_input).collect();
        let reroutings: Option<Vec<_>> = inputs
            .iter()
            .zip(&batches)
            .map(|(input, batch)| Some((model.rerouting(input, layer)?, batch.labels.as_slice())))
            .collect();
        let Some(reroutings) = reroutings else { return (Vec::new(), Flops::default()) };
        let flops = reroutings.iter().fold(Flops::default(), |sum, (rerouting, _)| sum + rerouting.flops);
        let mut judge = Judge { interrupt: self.interrupt, model, reroutings, flops };
        let loss = |there: &[bool]| judge.loss(there);
        let sets = match order {
            Some(order) => eliminate_in_order(order, locked, loss),
            None => eliminate(locked, loss),
        };
        (sets, judge.flops)
    }

    /// What each expert carries: mean of router weight × output norm over the tokens that it gets of the texts, 0 without any.
    fn saliencies(&self, model: &Classifier, layout: &Layout, texts: &Split) -> Paid<Saliencies> {
        let passed = pass(self.interrupt, model, texts)?;
        let layers = layout.layers().iter().zip((0..).map(LayerId));
        let routed = layers.filter(|(layer, _): &(&LayerLayout, _)| layer.kind != LayerKind::Dense);
        let of_layer = |((_, id), sums)| (id, RoutingStats::from_sums(sums).weighted_norm);
        Ok((routed.zip(&passed.routing).map(of_layer).collect(), passed.flops))
    }
}

/// Positions, those that carry least first; in router order where they are equal.
fn least_first(saliency: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..saliency.len()).collect();
    order.sort_by(|one, other| saliency[*one].total_cmp(&saliency[*other]));
    order
}

/// As fractions of the even share, where these are numbers.
fn shares(experts: &[ExpertId], saliency: &[f64]) -> BTreeMap<ExpertId, f64> {
    let even = saliency.iter().sum::<f64>() / saliency.len().max(1) as f64;
    let share = |(expert, carried): (&ExpertId, &f64)| (*expert, carried / even);
    experts.iter().zip(saliency).map(share).filter(|(_, share)| share.is_finite()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weight × norm 0.9, 0.3 and 1.8: their even share is 1.
    #[test]
    fn hand_worked_order_and_shares() {
        assert_eq!(least_first(&[0.9, 0.3, 1.8]), [1, 0, 2]);
        assert_eq!(least_first(&[0.0, 0.5, 0.0]), [0, 2, 1]);
        let experts = [ExpertId(4), ExpertId(7), ExpertId(9)];
        let expected = BTreeMap::from([(experts[0], 0.9), (experts[1], 0.3), (experts[2], 1.8)]);
        assert_eq!(shares(&experts, &[0.9, 0.3, 1.8]), expected);
        assert_eq!(shares(&experts, &[0.0; 3]), BTreeMap::new(), "nobody carries anything");
    }
}
