//! Which experts would be missed least.

use burn::module::Module;
use moelt_control::{Eliminated, Elimination, eliminate};
use moelt_data::in_order;
use moelt_model::{Classifier, ModelInput, Rerouting};
use moelt_schema::{ExpertId, Flops, LayerId};

use super::{Paid, model_input};
use crate::{Split, TrainState, effect::cross_entropies, evaluate::BATCH, trial::Arena};

/// A layer whose tokens can be sent another way, and how often that was done.
struct Judge<'a> {
    model: &'a Classifier,
    reroutings: Vec<(Rerouting<'a>, &'a [u32])>,
    flops: Flops,
}

impl Judge<'_> {
    /// Mean loss with these experts alone, nats.
    fn loss(&mut self, there: &[bool]) -> f64 {
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
    ) -> Paid<Vec<Elimination>> {
        let (model, texts) = (state.model().valid(), self.spread_texts(texts));
        let (mut found, mut flops) = (Vec::new(), Flops::default());
        for layer in layers {
            self.interrupt.check()?;
            let experts = state.layout.layer(*layer).map_or(&[][..], |layer| &layer.experts);
            let stays = |expert: &ExpertId| locked.contains(&(*layer, *expert));
            let locked: Vec<bool> = experts.iter().map(stays).collect();
            let (sets, cost) = sets(&model, *layer, &texts, &locked);
            flops += cost;
            let names = |there: Vec<bool>| {
                let left = experts.iter().zip(there).filter(|(_, there)| *there);
                left.map(|(expert, _)| *expert).collect()
            };
            let sets = sets.into_iter().map(|(there, loss)| Eliminated { experts: names(there), loss });
            found.push(Elimination { layer: *layer, sets: sets.collect() });
        }
        Ok((found, flops))
    }
}

fn sets(
    model: &Classifier,
    layer: LayerId,
    texts: &Split,
    locked: &[bool],
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
    let mut judge = Judge { model, reroutings, flops };
    let sets = eliminate(locked, |there| judge.loss(there));
    (sets, judge.flops)
}
