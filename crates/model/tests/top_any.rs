//! Top-any routing by hand: who is active, what comes out, what is counted, and which way gradients point.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use burn::{
    module::Param,
    tensor::{Device, Tensor, activation::sigmoid},
};
use moelt_model::{MoeLayer, MoeLayerConfig, Router, TopAnyRouter};
use moelt_schema::LayerKind;

/// What experts 0, 1 and 2 give for every row: they are their output biases.
const OUTPUTS: [[f32; 2]; 3] = [[1.0, 0.0], [3.0, 4.0], [0.0, -2.0]];

/// Directions (1, 0), (0, 1), (−1, 0), thresholds ½, 0, 0, no norm.
fn layer(device: &Device) -> MoeLayer {
    let config =
        MoeLayerConfig::new(2, 1).with_n_experts(3).with_kind(LayerKind::TopAny).with_layer_norm(false);
    let mut layer = config.init(device);
    let router = router(&mut layer);
    router.weight = Param::from_data([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], device);
    router.threshold = Param::from_data([0.5, 0.0, 0.0], device);
    layer.experts.w_out = Param::from_tensor(Tensor::zeros([3, 1, 2], device));
    layer.experts.b_out = Param::from_data(OUTPUTS, device);
    layer
}

fn router(layer: &mut MoeLayer) -> &mut TopAnyRouter {
    match layer.router.as_mut().unwrap() {
        Router::TopAny(router) => router,
        Router::TopK(_) | Router::Assigned(_) => panic!("another router than was asked for"),
    }
}

/// Cosines of row 0: 0.6, 0.8, −0.6; it passes experts 0 and 1. Of row 1: 0.28, −0.96, −0.28; it passes
/// none, and expert 0 is the best.
fn rows(device: &Device) -> Tensor<2> {
    Tensor::from_data([[3.0, 4.0], [7.0, -24.0]], device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

#[track_caller]
fn assert_close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} and {b:?}");
}

#[test]
fn hand_worked_output_and_sums() {
    let device = Device::flex();
    let output = layer(&device).forward(rows(&device));
    // (3, 4) + ½ ((1, 0) + (3, 4)), and (7, −24) + (1, 0).
    assert_eq!(values(output.x), [5.0, 6.0, 8.0, -24.0]);
    let (losses, sums) = (output.aux_losses, output.routing.unwrap());
    // Experts 0 and 2 are opposite; norms are 1, 2 and 3.
    assert!((losses.diversity.unwrap().into_scalar::<f32>() - 2f32.sqrt()).abs() < 1e-6);
    assert!((losses.simplicity.unwrap().into_scalar::<f32>() - 2.0).abs() < 1e-6);
    assert!(losses.load_balancing.is_none());
    assert_eq!((sums.tokens, &sums.tokens_per_expert), (2.0, &vec![2.0, 1.0, 0.0]));
    assert_eq!(sums.entropy, 2f64.ln());
    assert_eq!(sums.expert_weight, [1.5, 0.5, 0.0]);
    // Output norms 1, 5, 2.
    assert_close(&sums.weighted_norm, &[1.5, 2.5, 0.0]);
    let score = |cos: f64| 1.0 / (1.0 + (-cos).exp());
    let mass = [(0.6, 0.28), (0.8, -0.96), (-0.6, -0.28)].map(|(a, b)| score(a) + score(b));
    assert_close(&sums.mass, &mass);
    assert_eq!((sums.unrouted.tokens, sums.unrouted.sum), (1.0, vec![7.0, -24.0]));
}

#[test]
fn a_batch_whose_rows_all_pass_has_nothing_unrouted() {
    let device = Device::flex();
    let sums = layer(&device).forward(rows(&device).narrow(0, 0, 1)).routing.unwrap();
    assert_eq!((sums.unrouted.tokens, sums.unrouted.sum.len()), (0.0, 0));
}

#[test]
fn gradients_go_straight_through_to_router_and_thresholds() {
    let device = Device::flex().autodiff();
    let mut layer = layer(&device);
    let gradients = layer.forward(rows(&device)).x.sum().backward();
    let router = router(&mut layer);
    // ∂ sum(x) / ∂ weightₑ is the sum of expert e's output, 1, 7 and −2, whether e is active or not; the
    // weight's slope in σ(thresholdₑ) is −1/k, summed over rows −(½ + 1).
    let (at, gradient) = (sigmoid(router.threshold.val().inner()), router.threshold.val().grad(&gradients));
    let expected = values(at.clone() * (at * -1.0 + 1.0) * -1.5);
    for ((gradient, slope), sum) in values(gradient.unwrap()).into_iter().zip(expected).zip([1.0, 7.0, -2.0])
    {
        assert!((gradient - slope * sum).abs() < 1e-5, "{gradient} and {}", slope * sum);
    }
    let weight = values(router.weight.val().grad(&gradients).unwrap());
    assert!(weight.chunks_exact(2).all(|row| row.iter().any(|g| g.abs() > 1e-3)), "{weight:?}");
    // Expert 2 got no row: its own gradient is exactly zero.
    let b_out = values(layer.experts.b_out.val().grad(&gradients).unwrap());
    assert_eq!(b_out, [1.5, 1.5, 0.5, 0.5, 0.0, 0.0]);
}
