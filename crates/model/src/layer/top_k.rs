//! The top-k router: which experts a token goes to, and with which weights.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData, activation::softmax, assert_shape},
};
use moelt_kernels::exact_product;
use moelt_schema::{ExpertId, LayerId, Streams};

use super::{Choice, Dispatch};
use crate::{
    host::to_host,
    init::{ExpertPart, expert_rows, fixed_zeros, param},
};

/// Softmax top-k router (Shazeer et al. 2017, without noise): `router_probs = softmax(x Wᵀ + bias)`. The chosen experts are the best
/// by `x Wᵀ + bias + balance_bias` (Wang et al. 2024).
///
/// Expert weights are the probabilities of the chosen experts, renormalised to sum to 1 for two or
/// more. A single chosen expert keeps its full-softmax probability: renormalised it would be 1 and
/// give the router no gradient from the task (davidmrau/mixture-of-experts#27).
#[derive(Module, Debug)]
pub struct TopKRouter {
    /// `[n_experts, d_model]`: one row per expert.
    pub weight: Param<Tensor<2>>,
    /// `[n_experts]`, 0 at first, never trained. It is how a new expert ramps in gradually and how the
    /// halves of a split expert share its probability; the model does not know who sets it.
    pub bias: Param<Tensor<1>>,
    /// `[n_experts]`, 0 at first, never trained. It counts where experts are chosen, and in no probability or weight: whoever
    /// sets it evens out loads without a gradient that says so.
    pub balance_bias: Param<Tensor<1>>,
    /// Experts asked for per token. There may be fewer, now or later.
    #[module(skip)]
    pub top_k: usize,
    /// Experts whose bias is −∞, so that no token can choose them.
    #[module(skip)]
    pub n_closed: usize,
}

/// What the router decided for a batch.
#[derive(Debug)]
pub struct RoutedTopK {
    /// How likely each expert was.
    pub probabilities: RouterProbabilities,
    /// `[tokens, top_k]`, with gradient.
    pub expert_weights: Tensor<2>,
    /// Where each token goes.
    pub dispatch: Dispatch,
}

/// How likely each expert is for each token of a batch.
#[derive(Debug)]
pub struct RouterProbabilities {
    /// `[tokens, n_experts]`, with gradient: what the softmax is taken of.
    pub logits: Tensor<2>,
    /// `[tokens, n_experts]`, with gradient.
    pub probs: Tensor<2>,
    /// Sum over tokens of the entropy of `probs`, nats.
    pub entropy: f64,
    /// `[n_experts]`: sum over tokens of `probs`.
    pub mass: Vec<f64>,
}

impl TopKRouter {
    /// One row from `U(±1/√d_model)` for each expert.
    pub fn new(
        layer: LayerId,
        experts: &[ExpertId],
        d_model: usize,
        top_k: usize,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let values = expert_rows(ExpertPart::Router, d_model, d_model, layer, experts, streams);
        Self::from_rows(values, [experts.len(), d_model], top_k, device)
    }

    /// A router with these rows and no biases.
    ///
    /// # Shapes
    /// - rows: `[n_experts, d_model]`, row-major, as `shape` says
    pub(crate) fn from_rows(rows: Vec<f32>, shape: [usize; 2], top_k: usize, device: &Device) -> Self {
        let biases = || fixed_zeros(shape[0], device);
        Self {
            weight: param(rows, shape, device),
            bias: biases(),
            balance_bias: biases(),
            top_k,
            n_closed: 0,
        }
    }

    /// What the softmax is taken of, biases included.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    /// - output: `[tokens, n_experts]`
    pub(super) fn logits(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let [n_experts, _] = weight.dims();
        assert_shape!(bias, [n_experts]);
        exact_product(x, weight) + bias.unsqueeze()
    }

    /// Routes each token to `min(top_k, n_experts)` experts. The probabilities are read back once: the
    /// dispatch is planned on the host.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    pub fn forward(&self, x: Tensor<2>) -> RoutedTopK {
        self.forward_by(x, Choice::Tokens)
    }

    /// The same, with weights as `choice` says.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    pub(super) fn forward_by(&self, x: Tensor<2>, choice: Choice) -> RoutedTopK {
        let device = x.device();
        let (probabilities, read) = self.probabilities(x);
        let ([tokens, n_experts], router_probs) = (probabilities.probs.dims(), probabilities.probs.clone());
        let top_k = self.top_k.min(n_experts);
        let dispatch = Dispatch::top_k(&read.choice_scores(), n_experts, top_k);
        let chosen: Vec<i64> = dispatch.experts().iter().map(|e| i64::from(*e)).collect();
        let chosen = TensorData::new(chosen, [tokens, top_k]);
        let probs = router_probs.gather(1, Tensor::<2, Int>::from_data(chosen, &device));
        RoutedTopK { probabilities, expert_weights: chosen_weights(probs, choice), dispatch }
    }

    /// How likely each expert is for each token, as tensors and on the host.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    pub(super) fn probabilities(&self, x: Tensor<2>) -> (RouterProbabilities, ReadBack) {
        let [n_experts, d_model] = self.weight.dims();
        assert_shape!(x, [.., d_model]);
        let logits = self.logits(x);
        let probs = softmax(logits.clone(), 1);
        let read = ReadBack::of(&probs, self.balance_bias.val());
        let (entropy, mass) = (entropy_sum(read.probs()), column_sums(read.probs(), n_experts));
        (RouterProbabilities { logits, probs, entropy, mass }, read)
    }

    /// The balance biases, in router order.
    pub(crate) fn balance_biases(&self) -> Vec<f32> {
        let balance_bias = self.balance_bias.val();
        let [n_experts, _] = self.weight.dims();
        assert_shape!(balance_bias, [n_experts]);
        to_host(balance_bias)
    }
}

/// What the choice of experts needs on the host: probabilities, and balance biases below them, read back at once.
pub(super) struct ReadBack {
    /// `[tokens + 1, n_experts]`, row-major.
    values: Vec<f32>,
    n_experts: usize,
}

impl ReadBack {
    fn of(probs: &Tensor<2>, balance_bias: Tensor<1>) -> Self {
        let [n_experts] = balance_bias.dims();
        let rows = vec![probs.clone().inner(), balance_bias.inner().unsqueeze()];
        Self { values: to_host(Tensor::cat(rows, 0)), n_experts }
    }

    /// `[tokens, n_experts]`, row-major.
    pub(super) fn probs(&self) -> &[f32] {
        &self.values[..self.values.len() - self.n_experts]
    }

    /// `[n_experts]`
    fn balance_biases(&self) -> &[f32] {
        &self.values[self.values.len() - self.n_experts..]
    }

    /// What experts are chosen by, `probability · exp(balance bias)`: they are in the order of the logits with their balance biases.
    ///
    /// # Shapes
    /// - output: `[tokens, n_experts]`, row-major
    fn choice_scores(&self) -> Vec<f32> {
        let biases = self.balance_biases();
        // Only differences matter, and no factor beyond 1 overflows.
        let largest = biases.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let factors: Vec<f32> = biases.iter().map(|bias| (bias - largest).exp()).collect();
        let mut scores = self.probs().to_vec();
        for token in scores.chunks_exact_mut(factors.len()) {
            token.iter_mut().zip(&factors).for_each(|(score, factor)| *score *= factor);
        }
        scores
    }
}

/// Probabilities of the chosen experts as weights: they sum to 1, but that of a single one stays, and so do those of a network
/// whose experts have chosen.
///
/// # Shapes
/// - probs: `[tokens, top_k]`
/// - output: the same
pub(super) fn chosen_weights(probs: Tensor<2>, choice: Choice) -> Tensor<2> {
    let [_, top_k] = probs.dims();
    if top_k > 1 && choice == Choice::Tokens { probs.clone() / probs.sum_dim(1) } else { probs }
}

/// `−Σ p ln p` over all values, with `0 ln 0 = 0`.
fn entropy_sum(probs: &[f32]) -> f64 {
    probs.iter().filter(|p| **p > 0.0).map(|p| -f64::from(*p) * f64::from(p.ln())).sum()
}

/// The sum over rows of `values: [rows, n_columns]`.
pub(crate) fn column_sums(values: &[f32], n_columns: usize) -> Vec<f64> {
    let mut sums = vec![0.0; n_columns];
    for row in values.chunks_exact(n_columns) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(rows: [[f32; 2]; 3], top_k: usize) -> TopKRouter {
        TopKRouter::from_rows(rows.concat(), [3, 2], top_k, &Device::flex())
    }

    fn x() -> Tensor<2> {
        Tensor::from_data([[1.0, 0.0]], &Device::flex())
    }

    #[test]
    fn hand_worked_weights_and_entropy() {
        // Logits ln 1, ln 2, ln 5 for the token (1, 0): probabilities 1/8, 2/8, 5/8.
        let rows = [[0.0, 0.0], [2f32.ln(), 0.0], [5f32.ln(), 0.0]];
        let two = router(rows, 2).forward(x());
        assert_eq!(two.dispatch.experts(), [2, 1]);
        let weights = to_host(two.expert_weights);
        assert!((weights[0] - 5.0 / 7.0).abs() < 1e-6 && (weights[1] - 2.0 / 7.0).abs() < 1e-6);
        // −(⅛ ln ⅛ + ¼ ln ¼ + ⅝ ln ⅝) = 0.900256
        assert!((two.probabilities.entropy - 0.900_256).abs() < 1e-5);
        let one = router(rows, 1).forward(x()).expert_weights.into_scalar::<f32>();
        assert!((one - 5.0 / 8.0).abs() < 1e-6, "a single expert keeps its probability");
    }

    #[test]
    fn top_k_is_bounded_by_the_experts() {
        let routed = router([[1.0, 0.0]; 3], 8).forward(Tensor::ones([4, 2], &Device::flex()));
        assert_eq!(routed.dispatch.k(), 3);
    }

    #[test]
    fn biases_add_to_the_logits_and_mass_is_summed_over_rows() {
        // Logits 0, ln 2, ln 5, biases 0, ln 2, −ln 5: probabilities 1/6, 4/6, 1/6 for each of two tokens.
        let mut router = router([[0.0, 0.0], [2f32.ln(), 0.0], [5f32.ln(), 0.0]], 1);
        let bias = [0.0, 2f32.ln(), -5f32.ln()];
        router.bias = router.bias.map(|old| Tensor::from_data(bias, &old.device()));
        let routed = router.forward(x().repeat_dim(0, 2));
        assert_eq!(routed.dispatch.experts(), [1, 1]);
        for (mass, sixths) in routed.probabilities.mass.iter().zip([2.0, 8.0, 2.0]) {
            assert!((mass - sixths / 6.0).abs() < 1e-6, "{mass}");
        }
    }

    #[test]
    fn balance_biases_move_the_choice_and_no_weight() {
        // Probabilities 1/8, 2/8, 5/8, and scores 1/8 · 8, 2/8, 5/8 · 1/2.
        let rows = [[0.0, 0.0], [2f32.ln(), 0.0], [5f32.ln(), 0.0]];
        let balanced = |top_k| {
            let mut router = router(rows, top_k);
            let bias = [8f32.ln(), 0.0, -2f32.ln()];
            router.balance_bias = router.balance_bias.map(|old| Tensor::from_data(bias, &old.device()));
            router.forward(x())
        };
        let two = balanced(2);
        assert_eq!(two.dispatch.experts(), [0, 2]);
        let weights = to_host(two.expert_weights);
        assert!((weights[0] - 1.0 / 6.0).abs() < 1e-6 && (weights[1] - 5.0 / 6.0).abs() < 1e-6);
        let unbalanced = router(rows, 2).forward(x());
        assert_eq!(
            (two.probabilities.entropy, two.probabilities.mass),
            (unbalanced.probabilities.entropy, unbalanced.probabilities.mass)
        );
        let one = balanced(1);
        assert_eq!(one.dispatch.experts(), [0]);
        assert!((one.expert_weights.into_scalar::<f32>() - 1.0 / 8.0).abs() < 1e-6);
    }

    #[test]
    fn weights_sum_to_one_unless_they_were_trained_as_probabilities() {
        let probs = || Tensor::<2>::from_data([[0.5, 0.3]], &Device::flex());
        let renormalised = to_host(chosen_weights(probs(), Choice::Tokens));
        assert!((renormalised[0] - 0.625).abs() < 1e-6 && (renormalised[1] - 0.375).abs() < 1e-6);
        assert_eq!(to_host(chosen_weights(probs(), Choice::TokensAfterExperts)), [0.5, 0.3]);
        let one = || Tensor::<2>::from_data([[0.5]], &Device::flex());
        assert_eq!(to_host(chosen_weights(one(), Choice::Tokens)), [0.5]);
    }

    #[test]
    fn biases_of_zero_change_no_bit() {
        let device = Device::flex();
        let values: Vec<f32> = (0..60).map(|i| (i as f32 * 0.7).sin()).collect();
        let rows = |from: usize, n: usize| values[from..from + n * 6].to_vec();
        let router = TopKRouter::from_rows(rows(0, 4), [4, 6], 2, &device);
        let x = Tensor::<2>::from_data(TensorData::new(rows(24, 6), [6, 6]), &device);
        let plain = softmax(x.clone().matmul(router.weight.val().transpose()), 1);
        let ((probabilities, read), plain) = (router.probabilities(x), to_host(plain));
        assert_eq!(read.choice_scores(), plain);
        assert_eq!(to_host(probabilities.probs), plain);
    }
}
