//! Growth criteria of each layer with a top-k router.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use moelt_control::{ExpertGradients, LayerGradients, TestedExpert, TokensToTest, growth_criteria};
use moelt_data::TokenBatch;
use moelt_model::{Experts, RoutedTokens, rows_of};
use moelt_schema::{Flops, GrowthCriteria, LayerId, Stream};

use super::{Paid, model_input};
use crate::{
    TrainState,
    evaluate::host,
    state::{scalar, task_loss},
    trial::Arena,
};

impl Arena<'_> {
    pub(super) fn criteria(
        &self,
        state: &TrainState,
        wanted: &TokensToTest,
    ) -> Paid<Vec<(LayerId, GrowthCriteria)>> {
        let (tested, mut flops) = self.split_tests(state, wanted)?;
        let batches = self.training_batches(state, wanted.texts);
        let mut found = Vec::new();
        for id in (0..state.layout.layers().len() as u32).map(LayerId) {
            let (gradients, passes) = self.gradients(state, id, &batches)?;
            flops += passes;
            let Some(gradients) = gradients else { continue };
            let mut rng = state.streams.rng(Stream::RandomUnits, id.0.into());
            let (criteria, products) = growth_criteria(&gradients, split_gain(&tested, id), &mut rng);
            flops += Flops::unpadded(products);
            found.extend(criteria.map(|criteria| (id, criteria)));
        }
        Ok((found, flops))
    }

    /// None where the layer has no top-k router.
    fn gradients(
        &self,
        state: &TrainState,
        layer: LayerId,
        batches: &[TokenBatch],
    ) -> Paid<Option<LayerGradients>> {
        let (mut seen, mut flops) = (Seen::default(), Flops::default());
        for batch in batches {
            self.interrupt.check()?;
            let n_texts = batch.n_texts() as f64;
            let objective = |logits: Tensor<2>| {
                let loss = task_loss(logits, &batch.labels);
                seen.loss += scalar(&loss) * n_texts;
                // Gradients are of single texts: they must not shrink with the batch.
                loss * n_texts
            };
            let input = model_input(batch);
            let Some((gradient, routed, cost)) = state.model().gradient_at(&input, layer, objective) else {
                return Ok((None, flops));
            };
            seen.texts += n_texts;
            flops += cost + seen.add(&state.model().layer(layer).experts, gradient, routed);
        }
        Ok((Some(seen.gradients(state, layer)), flops))
    }
}

/// The most that a split promises of a layer's experts, nats per token of the layer.
fn split_gain(tested: &[TestedExpert], layer: LayerId) -> f64 {
    let of_layer = tested.iter().filter(|one| one.layer == layer);
    let promised = |one: &TestedExpert| one.evidence.as_ref().map(|evidence| evidence.gain * one.utilization);
    of_layer.filter_map(promised).fold(0.0, f64::max)
}

/// What was seen of a layer so far.
#[derive(Default)]
struct Seen {
    /// Sum over texts, nats.
    loss: f64,
    texts: f64,
    inputs: Vec<f32>,
    gradients: Vec<f32>,
    /// By position.
    experts: BTreeMap<u32, ExpertGradients>,
}

impl Seen {
    /// Adds a batch, and says what that took. `gradient` is `[tokens, d_model]`.
    fn add(&mut self, experts: &Experts, gradient: Tensor<2>, routed: RoutedTokens) -> Flops {
        let RoutedTokens { inputs, dispatch, expert_weights, .. } = routed;
        let (inputs, weights) = (inputs.inner(), expert_weights.inner().reshape([-1, 1]));
        let ([_, d_model, d_ff], k) = (experts.w_in.dims(), dispatch.k());
        let mut flops = Flops::default();
        for position in 0..dispatch.loads().len() as u32 {
            let chosen = dispatch.experts().iter().enumerate().filter(|(_, expert)| **expert == position);
            let pairs: Vec<u32> = chosen.map(|(pair, _)| pair as u32).collect();
            if pairs.is_empty() {
                continue;
            }
            let seen = self.experts.entry(position).or_insert_with(|| nothing(experts));
            seen.tokens += pairs.len();
            let room = ExpertGradients::MOST_TOKENS.saturating_sub(seen.inputs.len() / d_model);
            let pairs = &pairs[..pairs.len().min(room)];
            if pairs.is_empty() {
                continue;
            }
            let places: Vec<u32> = pairs.iter().map(|pair| pair / k as u32).collect();
            let tokens = rows_of(&inputs, &places);
            let gradient = rows_of(&gradient, &places) * rows_of(&weights, pairs);
            let sums = experts.hidden_sums(position as usize, tokens.clone());
            let back = experts.hidden_gradient(position as usize, sums.clone(), gradient.clone());
            let [_, d_sums] = back.dims();
            flops += Flops::unpadded(2 * (pairs.len() * d_model * (d_sums + d_ff)) as u64);
            seen.inputs.extend(host(tokens));
            seen.gradients.extend(host(gradient));
            seen.hidden.extend(host(experts.hidden(sums)));
            seen.hidden_gradients.extend(host(back));
        }
        self.inputs.extend(host(inputs));
        self.gradients.extend(host(gradient));
        flops
    }

    fn gradients(self, state: &TrainState, layer: LayerId) -> LayerGradients {
        let [_, d_model, _] = state.model().layer(layer).experts.w_in.dims();
        LayerGradients {
            loss: self.loss / self.texts,
            inputs: self.inputs,
            gradients: self.gradients,
            d_model,
            experts: self.experts.into_values().collect(),
        }
    }
}

fn nothing(experts: &Experts) -> ExpertGradients {
    let [_, d_model, d_ff] = experts.w_in.dims();
    ExpertGradients {
        tokens: 0,
        inputs: Vec::new(),
        hidden: Vec::new(),
        hidden_gradients: Vec::new(),
        gradients: Vec::new(),
        d_model,
        d_ff,
        d_sums: experts.d_sums(),
    }
}
