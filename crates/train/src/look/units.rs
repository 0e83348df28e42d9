//! Hidden units that do not fire on the tokens of their expert.

use burn::{module::Module, tensor::Tensor};
use moelt_control::FiringUnits;
use moelt_model::{Mode, RoutedTokens};
use moelt_schema::{ExpertId, Flops, LayerId};

use super::{Paid, model_input};
use crate::{TrainState, evaluate::host, trial::Arena};

/// Sums over the tokens of one expert.
struct Sums {
    tokens: f64,
    fired: Vec<f64>,
    x: Vec<f64>,
}

impl Arena<'_> {
    pub(super) fn firing_units(
        &self,
        state: &TrainState,
        experts: &[(LayerId, ExpertId)],
        texts: usize,
    ) -> Paid<Vec<FiringUnits>> {
        let model = state.model().valid();
        let mut sums: Vec<Option<Sums>> = experts.iter().map(|_| None).collect();
        let mut flops = Flops::default();
        for batch in self.training_batches(state, texts) {
            self.interrupt.check()?;
            let output = model.forward(&model_input(&batch), Mode::Eval);
            flops += output.flops;
            for (sums, (layer, expert)) in sums.iter_mut().zip(experts) {
                let position = state.layout.layer(*layer).and_then(|layer| layer.position(*expert));
                let routed = output.routed.iter().find(|(id, _)| id == layer);
                let Some((position, (_, routed))) = position.zip(routed) else { continue };
                let Some(x) = tokens_of(routed, position) else { continue };
                let experts = &model.layer(*layer).experts;
                let sums_of_units = experts.hidden_sums(position, x.clone());
                let ([tokens, d_model], [_, d_sums]) = (x.dims(), sums_of_units.dims());
                flops += Flops::unpadded(2 * (tokens * d_model * d_sums) as u64);
                let firing = experts.firing(sums_of_units);
                let [_, units] = firing.dims();
                sums.get_or_insert_with(|| Sums::of(d_model, units)).add(&host(x), &host(firing));
            }
        }
        let found = experts.iter().zip(sums).map(|((layer, expert), sums)| FiringUnits {
            layer: *layer,
            expert: *expert,
            share: sums.as_ref().map_or(Vec::new(), Sums::share),
            centre: sums.as_ref().map_or(Vec::new(), Sums::centre),
        });
        Ok((found.collect(), flops))
    }
}

/// What an expert saw; none if nothing was sent to it.
fn tokens_of(routed: &RoutedTokens, position: usize) -> Option<Tensor<2>> {
    let k = routed.dispatch.k();
    let sent =
        routed.dispatch.experts().iter().enumerate().filter(|(_, expert)| **expert as usize == position);
    let tokens: Vec<u32> = sent.map(|(pair, _)| (pair / k) as u32).collect();
    (!tokens.is_empty()).then(|| routed.inputs_of(&tokens))
}

impl Sums {
    fn of(d_model: usize, units: usize) -> Self {
        Self { tokens: 0.0, fired: vec![0.0; units], x: vec![0.0; d_model] }
    }

    /// `firing` is above 0 where a unit fires.
    fn add(&mut self, x: &[f32], firing: &[f32]) {
        self.tokens += (x.len() / self.x.len().max(1)) as f64;
        for token in x.chunks_exact(self.x.len().max(1)) {
            self.x.iter_mut().zip(token).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        for token in firing.chunks_exact(self.fired.len().max(1)) {
            let fires = token.iter().map(|value| f64::from(u8::from(*value > 0.0)));
            self.fired.iter_mut().zip(fires).for_each(|(sum, fires)| *sum += fires);
        }
    }

    fn share(&self) -> Vec<f64> {
        self.fired.iter().map(|fired| fired / self.tokens).collect()
    }

    fn centre(&self) -> Vec<f32> {
        self.x.iter().map(|sum| (sum / self.tokens) as f32).collect()
    }
}
