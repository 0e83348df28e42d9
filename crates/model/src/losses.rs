//! Auxiliary losses, unweighted.

use burn::tensor::{Tensor, TensorData};

use crate::Dispatch;

/// Load-balancing loss of Switch Transformers (Fedus et al. 2021, eq. 4), for any top-k:
///
/// `n_experts · Σₑ fₑ Pₑ`, with `fₑ` the fraction of (row, choice) pairs sent to expert e and `Pₑ` its
/// mean router probability. It is 1 when the load is even; `f` carries no gradient.
///
/// # Shapes
/// - router_probs: `[rows, n_experts]`
/// - output: `[1]`
pub fn load_balancing_loss(router_probs: Tensor<2>, dispatch: &Dispatch) -> Tensor<1> {
    let [_, n_experts] = router_probs.dims();
    let total = dispatch.n_pairs() as f32;
    let fractions: Vec<f32> = dispatch.loads().iter().map(|n| *n as f32 / total).collect();
    let fractions =
        Tensor::<2>::from_data(TensorData::new(fractions, [1, n_experts]), &router_probs.device());
    (router_probs.mean_dim(0) * fractions).sum() * n_experts as f32
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn loss(probs: Vec<f32>, n_experts: usize, top_k: usize) -> f32 {
        let dispatch = Dispatch::top_k(&probs, n_experts, top_k);
        let rows = probs.len() / n_experts;
        let probs = Tensor::from_data(TensorData::new(probs, [rows, n_experts]), &Device::flex());
        load_balancing_loss(probs, &dispatch).into_scalar::<f32>()
    }

    #[test]
    fn hand_worked_values() {
        // Both rows to expert 0: f = (1, 0), P = (0.7, 0.3): 2 · 0.7.
        assert!((loss(vec![0.8, 0.2, 0.6, 0.4], 2, 1) - 1.4).abs() < 1e-6);
        // One row each: f = (½, ½), P = (½, ½): 1.
        assert!((loss(vec![0.8, 0.2, 0.2, 0.8], 2, 1) - 1.0).abs() < 1e-6);
        // top-2 of 3: pairs (0,1) and (0,2): f = (½, ¼, ¼), P = (0.55, 0.2, 0.25): 3 · 0.3875.
        assert!((loss(vec![0.6, 0.3, 0.1, 0.5, 0.1, 0.4], 3, 2) - 1.1625).abs() < 1e-6);
    }
}
