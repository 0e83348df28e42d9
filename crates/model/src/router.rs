//! The router: which experts a row goes to, and with which weights.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData, activation::softmax, assert_shape},
};
use moelt_schema::{ExpertId, LayerId, Streams};

use crate::{
    Dispatch,
    init::{ExpertPart, expert_rng, param, uniform},
};

/// Softmax top-k router (Shazeer et al. 2017, without noise): `router_probs = softmax(x Wᵀ)`.
///
/// Expert weights are the probabilities of the chosen experts, renormalised to sum to 1 for two or
/// more. A single chosen expert keeps its full-softmax probability: renormalised it would be 1 and
/// give the router no gradient from the task (davidmrau/mixture-of-experts#27).
#[derive(Module, Debug)]
pub struct Router {
    /// `[n_experts, d_model]`: one row an expert.
    pub weight: Param<Tensor<2>>,
}

/// What the router decided for a batch.
#[derive(Debug)]
pub struct Routed {
    /// `[rows, n_experts]`, with gradient.
    pub router_probs: Tensor<2>,
    /// `[rows, top_k]`, with gradient.
    pub expert_weights: Tensor<2>,
    /// Where each row goes.
    pub dispatch: Dispatch,
    /// Sum over rows of the entropy of `router_probs`, nats.
    pub entropy: f64,
}

impl Router {
    /// One row from `U(±1/√d_model)` for each expert.
    pub fn new(
        layer: LayerId,
        experts: &[ExpertId],
        d_model: usize,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let row = |id: &ExpertId| {
            uniform(d_model, d_model, &mut expert_rng(streams, layer, *id, ExpertPart::Router))
        };
        let values = experts.iter().flat_map(row).collect();
        Self { weight: param(values, [experts.len(), d_model], device) }
    }

    /// Routes each row to `min(top_k, n_experts)` experts. The probabilities are read back once: the
    /// dispatch is planned on the host.
    ///
    /// # Shapes
    /// - x: `[rows, d_model]`
    pub fn forward(&self, x: Tensor<2>, top_k: usize) -> Routed {
        let weight = self.weight.val();
        let [n_experts, d_model] = weight.dims();
        assert_shape!(x, [.., d_model]);
        let device = x.device();
        let router_probs = softmax(x.matmul(weight.transpose()), 1);
        let host: Vec<f32> = router_probs
            .clone()
            .inner()
            .try_into_vec_as()
            .expect("router probabilities are f32 on every backend");
        let top_k = top_k.min(n_experts);
        let dispatch = Dispatch::top_k(&host, n_experts, top_k);
        let chosen: Vec<i64> = dispatch.experts().iter().map(|e| i64::from(*e)).collect();
        let chosen = TensorData::new(chosen, [host.len() / n_experts, top_k]);
        let probs = router_probs.clone().gather(1, Tensor::<2, Int>::from_data(chosen, &device));
        let expert_weights = if top_k > 1 { probs.clone() / probs.sum_dim(1) } else { probs };
        Routed { router_probs, expert_weights, dispatch, entropy: entropy_sum(&host) }
    }
}

/// `−Σ p ln p` over all values, with `0 ln 0 = 0`.
fn entropy_sum(probs: &[f32]) -> f64 {
    probs.iter().filter(|p| **p > 0.0).map(|p| -f64::from(*p) * f64::from(p.ln())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(rows: [[f32; 2]; 3]) -> Router {
        Router { weight: param(rows.concat(), [3, 2], &Device::flex()) }
    }

    #[test]
    fn hand_worked_weights_and_entropy() {
        // Logits ln 1, ln 2, ln 5 for the row (1, 0): probabilities 1/8, 2/8, 5/8.
        let router = router([[0.0, 0.0], [2f32.ln(), 0.0], [5f32.ln(), 0.0]]);
        let x = || Tensor::<2>::from_data([[1.0, 0.0]], &Device::flex());
        let two = router.forward(x(), 2);
        assert_eq!(two.dispatch.experts(), [2, 1]);
        let weights = two.expert_weights.try_into_vec_as::<f32>().unwrap();
        assert!((weights[0] - 5.0 / 7.0).abs() < 1e-6 && (weights[1] - 2.0 / 7.0).abs() < 1e-6);
        // −(⅛ ln ⅛ + ¼ ln ¼ + ⅝ ln ⅝) = 0.900256
        assert!((two.entropy - 0.900_256).abs() < 1e-5);
        let one = router.forward(x(), 1).expert_weights.into_scalar::<f32>();
        assert!((one - 5.0 / 8.0).abs() < 1e-6, "a single expert keeps its probability");
    }

    #[test]
    fn top_k_is_bounded_by_the_experts() {
        let routed = router([[1.0, 0.0]; 3]).forward(Tensor::ones([4, 2], &Device::flex()), 8);
        assert_eq!(routed.dispatch.k(), 3);
    }
}
