//! The top-any router: experts with thresholds, any number of experts per token.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, activation::sigmoid, assert_shape},
};
use moelt_kernels::exact_product;
use moelt_schema::{ExpertId, LayerId, Streams};

use super::{TopAnyDispatch, top_k::column_sums};
use crate::{
    host::to_host,
    init::{ExpertPart, expert_rows, param},
};

/// Top-any router (DynMoE, Guo et al. 2024, arXiv 2405.14297): `sₑ = cos(x, Wₑ)`, and expert e is active
/// for a token when `σ(sₑ) > σ(thresholdₑ)`. Each of the k active experts has the weight 1/k. A token that
/// activates none goes to its best-scoring expert alone.
///
/// Whether an expert is active has no gradient. Straight through, an expert weight is given that of `(σ(sₑ) −
/// σ(thresholdₑ))/k`, also where the expert is not active: router row and threshold learn from what the
/// expert would have added.
#[derive(Module, Debug)]
pub struct TopAnyRouter {
    /// `[n_experts, d_model]`: one row per expert; only its direction matters to the scores.
    pub weight: Param<Tensor<2>>,
    /// `[n_experts]`, 0 at first: a token passes within 90° of the expert's direction.
    pub threshold: Param<Tensor<1>>,
}

/// What the top-any router decided for a batch.
#[derive(Debug)]
pub struct RoutedTopAny {
    /// `[tokens, n_experts]`: the values of [`TopAnyDispatch::expert_weights`], with straight-through gradient.
    pub expert_weights: Tensor<2>,
    /// Where each token goes.
    pub dispatch: TopAnyDispatch,
    /// `[n_experts]`: sum over tokens of the scores `σ(sₑ)`.
    pub mass: Vec<f64>,
}

impl TopAnyRouter {
    /// One row from `U(±1/√d_model)` for each expert.
    pub fn new(
        layer: LayerId,
        experts: &[ExpertId],
        d_model: usize,
        streams: &Streams,
        device: &Device,
    ) -> Self {
        let values = expert_rows(ExpertPart::Router, d_model, d_model, layer, experts, streams);
        Self::from_rows(values, [experts.len(), d_model], device)
    }

    /// A router with these rows and thresholds of 0.
    ///
    /// # Shapes
    /// - rows: `[n_experts, d_model]`, row-major, as `shape` says
    pub(crate) fn from_rows(rows: Vec<f32>, shape: [usize; 2], device: &Device) -> Self {
        let n_experts = shape[0];
        Self {
            weight: param(rows, shape, device),
            threshold: param(vec![0.0; n_experts], [n_experts], device),
        }
    }

    /// Routes each token to the experts whose threshold it passes. Scores and thresholds are read back in
    /// one piece: who is active is decided on the host.
    ///
    /// # Shapes
    /// - x: `[tokens, d_model]`
    pub fn forward(&self, x: Tensor<2>) -> RoutedTopAny {
        let (weight, threshold) = (self.weight.val(), self.threshold.val());
        let [n_experts, d_model] = weight.dims();
        assert_shape!(x, [.., d_model]);
        assert_shape!(threshold, [n_experts]);
        let [tokens, _] = x.dims();
        let scores = sigmoid(exact_product(unit_rows(x), unit_rows(weight)));
        let thresholds = sigmoid(threshold).unsqueeze::<2>();
        let mut host = to_host(Tensor::cat(vec![scores.clone(), thresholds.clone()], 0));
        let host_thresholds = host.split_off(tokens * n_experts);
        let dispatch = TopAnyDispatch::new(&host, &host_thresholds);
        let expert_weights = straight_through(&dispatch, scores - thresholds);
        RoutedTopAny { expert_weights, dispatch, mass: column_sums(&host, n_experts) }
    }
}

/// The expert weights of `dispatch`, with the gradient of `margin/k`.
fn straight_through(dispatch: &TopAnyDispatch, margin: Tensor<2>) -> Tensor<2> {
    let ([tokens, n_experts], device) = (margin.dims(), margin.device());
    let tensor = |values, shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(values, shape), &device);
    let shares: Vec<f32> = dispatch.counts().iter().map(|k| 1.0 / *k as f32).collect();
    // The difference is exactly 0, so that the weights keep their value to the bit.
    let slope = (margin.clone() - margin.detach()) * tensor(shares, [tokens, 1]);
    tensor(dispatch.expert_weights().to_vec(), [tokens, n_experts]) + slope
}

/// Each token divided by its norm. A token of zeros stays zeros, and its gradient is finite: a token may have
/// no rows in the table.
///
/// # Shapes
/// - x: `[tokens, d_model]`
/// - output: the same
pub(super) fn unit_rows(x: Tensor<2>) -> Tensor<2> {
    let square = x.clone().square().sum_dim(1);
    let zero = square.clone().equal_elem(0.0);
    x / square.mask_fill(zero, 1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_zeros_has_score_one_half_and_a_finite_gradient() {
        let device = Device::flex().autodiff();
        let router = TopAnyRouter::from_rows(vec![1.0, 2.0, 3.0, 4.0], [2, 2], &device);
        let x = Tensor::<2>::zeros([1, 2], &device).require_grad();
        let routed = router.forward(x.clone());
        assert_eq!(routed.mass, [0.5, 0.5]);
        assert_eq!(routed.dispatch.unrouted(), [0], "½ does not lie above σ(0)");
        let gradient = x.grad(&routed.expert_weights.sum().backward()).unwrap();
        assert!(gradient.try_into_vec_as::<f32>().unwrap().iter().all(|g| g.is_finite()));
    }
}
