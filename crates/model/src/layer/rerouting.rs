//! What every expert would say of every token, kept: any set of experts can then be judged with its tokens re-routed.

use burn::tensor::{Tensor, TensorData};
use moelt_schema::{Flops, NormPlacement};

use super::{Choice, Dispatch, ExpertTokens, MoeLayer, Router, top_k::chosen_weights};
use crate::{
    LayerNorm,
    host::to_host,
    norm::{after, before},
    rows::rows_of,
};

/// A pass through all experts of a layer with top-k routing.
#[derive(Debug)]
pub struct DensePass {
    /// `[tokens, d_model]`: what came in, with what a shared expert adds.
    x: Tensor<2>,
    /// `[n_experts · tokens, d_model]`: what each expert says of each token.
    outputs: Tensor<2>,
    /// `[tokens, n_experts]`, row-major.
    router_logits: Vec<f32>,
    balance_biases: Vec<f32>,
    n_experts: usize,
    top_k: usize,
    choice: Choice,
    norm: Option<LayerNorm>,
    norm_placement: NormPlacement,
    flops: Flops,
}

impl MoeLayer {
    /// Sends each token through every expert; none where the layer has no top-k router.
    ///
    /// # Shapes
    /// - x, router_input: `[tokens, d_model]`
    pub(crate) fn dense_pass(
        &self,
        x: Tensor<2>,
        router_input: Option<Tensor<2>>,
        choice: Choice,
    ) -> Option<DensePass> {
        let Some(Router::TopK(router)) = &self.router else { return None };
        let ([tokens, d_model], [n_experts, ..]) = (x.dims(), self.experts.w_in.dims());
        let y = before(&self.norm, self.norm_placement, x.clone());
        let seen = self.seen_by_router(&y, router_input);
        let shared = self.shared.as_ref().map(|shared| shared.forward_only(y.clone()));
        let outputs = self.experts.forward(y.unsqueeze_dim::<3>(0).expand([n_experts, tokens, d_model]));
        Some(DensePass {
            x: shared.map_or(x.clone(), |shared| x + shared),
            outputs: outputs.reshape([n_experts * tokens, d_model]),
            router_logits: to_host(router.logits(seen)),
            balance_biases: router.balance_biases(),
            n_experts,
            top_k: router.top_k,
            choice,
            norm: self.norm.clone(),
            norm_placement: self.norm_placement,
            flops: self.flops(tokens, ExpertTokens::unpadded(n_experts * tokens)),
        })
    }
}

impl DensePass {
    /// What it took.
    pub(crate) fn flops(&self) -> Flops {
        self.flops
    }

    /// What the layer would give if only some of its experts were there, by position: each token goes to the best of them.
    ///
    /// # Shapes
    /// - output: `[tokens, d_model]`
    ///
    /// # Panics
    /// When `there` is not of all experts, or none is there.
    pub fn with_experts(&self, there: &[bool]) -> Tensor<2> {
        assert_eq!(there.len(), self.n_experts, "one word for each of {} experts", self.n_experts);
        let left = there.iter().filter(|there| **there).count();
        assert!(left > 0, "an expert must be there");
        let [tokens, d_model] = self.x.dims();
        let probs = self.probs(None, there);
        let is_biased = self.balance_biases.iter().any(|bias| *bias != 0.0);
        let scores = is_biased.then(|| self.probs(Some(&self.balance_biases), there));
        let dispatch =
            Dispatch::top_k(scores.as_ref().unwrap_or(&probs), self.n_experts, self.top_k.min(left));
        let k = dispatch.k();
        let pairs =
            || dispatch.experts().iter().enumerate().map(|(pair, expert)| (pair / k, *expert as usize));
        let weights: Vec<f32> =
            pairs().map(|(token, expert)| probs[token * self.n_experts + expert]).collect();
        let rows: Vec<u32> = pairs().map(|(token, expert)| (expert * tokens + token) as u32).collect();
        let device = self.x.device();
        let chosen = rows_of(&self.outputs, &rows).reshape([tokens, k, d_model]);
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [tokens, k]), &device);
        let weighted = chosen * chosen_weights(weights, self.choice).reshape([tokens, k, 1]);
        let sum = self.x.clone() + weighted.sum_dim(1).reshape([tokens, d_model]);
        after(&self.norm, self.norm_placement, sum)
    }

    /// Router probabilities of the experts that are there, with something added to their logits; 0 for the others.
    ///
    /// # Shapes
    /// - output: `[tokens, n_experts]`, row-major
    fn probs(&self, added: Option<&[f32]>, there: &[bool]) -> Vec<f32> {
        let mut probs = self.router_logits.clone();
        for of_token in probs.chunks_exact_mut(self.n_experts) {
            let biases = added.into_iter().flatten();
            of_token.iter_mut().zip(biases).for_each(|(logit, bias)| *logit += bias);
            softmax(of_token, there);
        }
        probs
    }
}

/// Softmax over the experts that are there; 0 for the others. Experts that are there always have a larger probability, so that none
/// of the others is chosen.
fn softmax(logits: &mut [f32], there: &[bool]) {
    let of_those_there = logits.iter().zip(there).filter(|(_, there)| **there);
    let largest = of_those_there.fold(f32::NEG_INFINITY, |largest, (logit, _)| largest.max(*logit));
    let mut sum = 0.0;
    for (logit, there) in logits.iter_mut().zip(there) {
        *logit = if *there { (*logit - largest).exp() } else { 0.0 };
        sum += *logit;
    }
    for (exp, _) in logits.iter_mut().zip(there).filter(|(_, there)| **there) {
        *exp = (*exp / sum).max(f32::MIN_POSITIVE);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use moelt_kernels::indices;
    use moelt_schema::{Activation, LayerKind};

    use super::*;
    use crate::MoeLayerConfig;

    fn layer(k: usize) -> MoeLayer {
        layer_with(Activation::Relu, k)
    }

    fn layer_with(activation: Activation, k: usize) -> MoeLayer {
        let config = MoeLayerConfig::new(4, 3).with_n_experts(5).with_kind(LayerKind::TopK { k });
        let mut layer = config.with_shared_d_ff(2).with_activation(activation).init(&Device::flex());
        let Some(Router::TopK(router)) = &mut layer.router else { panic!() };
        let biases = [0.3, -0.2, 0.1, 0.2, -0.4];
        router.balance_bias = router.balance_bias.clone().map(|old| Tensor::from_data(biases, &old.device()));
        layer
    }

    fn tokens() -> Tensor<2> {
        let values: Vec<f32> = (0..24).map(|i| (i as f32 * 1.3).sin()).collect();
        Tensor::from_data(TensorData::new(values, [6, 4]), &Device::flex())
    }

    fn assert_close(one: Tensor<2>, other: Tensor<2>) {
        let differences = to_host(one - other).into_iter().map(f32::abs);
        assert!(differences.fold(0.0, f32::max) < 1e-5);
    }

    #[test]
    fn with_all_experts_it_is_the_layer() {
        for (activation, k) in [(Activation::Relu, 1), (Activation::Relu, 2), (Activation::Swiglu, 2)] {
            let layer = layer_with(activation, k);
            let pass = layer.dense_pass(tokens(), None, Choice::Tokens).unwrap();
            assert_close(pass.with_experts(&[true; 5]), layer.forward(tokens()).x);
        }
    }

    /// Two experts that are left are a layer of two.
    #[test]
    fn with_some_experts_it_is_the_layer_without_the_others() {
        for k in [1, 2] {
            let mut small = layer(k);
            let kept = indices(&[1, 3], &Device::flex());
            let Some(Router::TopK(router)) = &mut small.router else { panic!() };
            router.weight = router.weight.clone().map(|w| w.select(0, kept.clone()));
            router.bias = router.bias.clone().map(|b| b.select(0, kept.clone()));
            router.balance_bias = router.balance_bias.clone().map(|b| b.select(0, kept.clone()));
            let experts = &mut small.experts;
            experts.w_in = experts.w_in.clone().map(|w| w.select(0, kept.clone()));
            experts.b_in = experts.b_in.clone().map(|b| b.select(0, kept.clone()));
            experts.w_out = experts.w_out.clone().map(|w| w.select(0, kept.clone()));
            experts.b_out = experts.b_out.clone().map(|b| b.select(0, kept.clone()));
            let pass = layer(k).dense_pass(tokens(), None, Choice::Tokens).unwrap();
            assert_close(pass.with_experts(&[false, true, false, true, false]), small.forward(tokens()).x);
        }
    }

    #[test]
    fn a_layer_without_a_router_has_none() {
        let dense =
            MoeLayerConfig::new(4, 3).with_n_experts(1).with_kind(LayerKind::Dense).init(&Device::flex());
        assert!(dense.dense_pass(tokens(), None, Choice::Tokens).is_none());
    }
}
