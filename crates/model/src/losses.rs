//! Auxiliary losses, unweighted.

use burn::tensor::{Tensor, TensorData};

use crate::{Dispatch, top_any::unit_rows};

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

/// Routing entropy as a part of `ln n_experts`: that of each row's router probabilities, averaged. It carries
/// gradient. A single expert has 0.
///
/// # Shapes
/// - router_probs: `[rows, n_experts]`
/// - output: `[1]`
pub fn routing_entropy(router_probs: Tensor<2>) -> Tensor<1> {
    let [rows, n_experts] = router_probs.dims();
    negative_p_ln_p(router_probs) / (rows as f64 * ln_of(n_experts))
}

/// Entropy of the mean router probabilities as a part of `ln n_experts`: what stands for load entropy where a
/// gradient is needed, which counts of rows do not carry. A single expert has 0.
///
/// # Shapes
/// - router_probs: `[rows, n_experts]`
/// - output: `[1]`
pub fn mean_entropy(router_probs: Tensor<2>) -> Tensor<1> {
    let [_, n_experts] = router_probs.dims();
    negative_p_ln_p(router_probs.mean_dim(0)) / ln_of(n_experts)
}

/// `−Σ p ln p`.
fn negative_p_ln_p(p: Tensor<2>) -> Tensor<1> {
    // Far below single precision's resolution of 1, and never ln 0.
    -(p.clone() * (p + 1e-12).log()).sum()
}

/// `ln n`, and 1 of a single expert, whose entropy is 0 anyway.
fn ln_of(n_experts: usize) -> f64 {
    if n_experts > 1 { (n_experts as f64).ln() } else { 1.0 }
}

/// The auxiliary loss of top-any routing (DynMoE, Guo et al. 2024): `‖Ŵ Ŵᵀ − I‖_F + meanₑ ‖Wₑ‖`, with
/// `Ŵ` the rows of W at norm 1. The first term, diversity, keeps the experts' directions apart; the
/// second, simplicity, keeps their norms, which the scores do not depend on, from growing.
///
/// # Shapes
/// - weight: `[n_experts, d_model]`
/// - output: `[1]`
pub fn diversity_and_simplicity_loss(weight: Tensor<2>) -> Tensor<1> {
    let ([n_experts, _], device) = (weight.dims(), weight.device());
    let unit = unit_rows(weight.clone());
    let overlap = unit.clone().matmul(unit.transpose()) - Tensor::eye(n_experts, &device);
    let diversity = finite_sqrt(overlap.square().sum());
    diversity + finite_sqrt(weight.square().sum_dim(1)).mean()
}

/// `√(x + 10⁻¹²)`: the root of a sum of squares has no gradient at 0, where a single expert's diversity is.
fn finite_sqrt<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    (x + 1e-12).sqrt()
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
    fn hand_worked_entropies() {
        let probs = Tensor::<2>::from_data([[0.5, 0.5], [1.0, 0.0]], &Device::flex());
        // Rows: ln 2 and 0. Their mean, (0.75, 0.25): 0.562335; ln 2 = 0.693147.
        assert!((routing_entropy(probs.clone()).into_scalar::<f32>() - 0.5).abs() < 1e-6);
        assert!((mean_entropy(probs).into_scalar::<f32>() - 0.562_335 / 2f32.ln()).abs() < 1e-5);
        let single = Tensor::<2>::ones([3, 1], &Device::flex());
        assert_eq!(routing_entropy(single).into_scalar::<f32>(), 0.0);
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

    #[test]
    fn hand_worked_diversity_and_simplicity() {
        // Directions (1, 0), (0, 1), (−1, 0): two entries of −1 beside the diagonal. Norms 1, 2, 3.
        let weight = Tensor::from_data([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], &Device::flex());
        let loss = diversity_and_simplicity_loss(weight).into_scalar::<f32>();
        assert!((loss - (2f32.sqrt() + 2.0)).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn a_single_expert_and_a_row_of_zeros_have_finite_gradients() {
        let device = Device::flex().autodiff();
        for rows in [vec![3.0, 4.0], vec![0.0; 4]] {
            let shape = [rows.len() / 2, 2];
            let weight = Tensor::<2>::from_data(TensorData::new(rows, shape), &device).require_grad();
            let gradients = diversity_and_simplicity_loss(weight.clone()).backward();
            let gradient = weight.grad(&gradients).unwrap().try_into_vec_as::<f32>().unwrap();
            assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
        }
    }
}
