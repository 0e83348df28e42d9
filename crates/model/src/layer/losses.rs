//! Auxiliary losses, unweighted.

use burn::tensor::{Tensor, TensorData, assert_shape};

use super::{Dispatch, top_any::unit_rows};

/// The auxiliary losses of one layer, or their means over several, each `[1]` and unweighted. Those that the routing
/// does not have are none.
#[derive(Clone, Debug, Default)]
pub struct AuxLosses {
    /// Top-k routing: [`load_balancing_loss`].
    pub load_balancing: Option<Tensor<1>>,
    /// Top-k routing: [`router_z_loss`].
    pub router_z: Option<Tensor<1>>,
    /// Top-any routing: [`diversity_loss`].
    pub diversity: Option<Tensor<1>>,
    /// Top-any routing: [`simplicity_loss`].
    pub simplicity: Option<Tensor<1>>,
}

impl AuxLosses {
    /// The sum of all but the router z-loss, which has a coefficient of its own, `[1]`: what is trained on, times a coefficient.
    /// None in a dense layer.
    pub fn total(&self) -> Option<Tensor<1>> {
        let Self { load_balancing, diversity, simplicity, router_z: _ } = self.clone();
        [load_balancing, diversity, simplicity].into_iter().flatten().reduce(|sum, loss| sum + loss)
    }

    /// The mean of each loss over the layers that have it.
    pub(crate) fn mean(layers: &[Self]) -> Self {
        let mean = |loss: fn(&Self) -> &Option<Tensor<1>>| {
            let losses: Vec<Tensor<1>> = layers.iter().filter_map(|layer| loss(layer).clone()).collect();
            (!losses.is_empty()).then(|| Tensor::cat(losses, 0).mean())
        };
        Self {
            load_balancing: mean(|losses| &losses.load_balancing),
            router_z: mean(|losses| &losses.router_z),
            diversity: mean(|losses| &losses.diversity),
            simplicity: mean(|losses| &losses.simplicity),
        }
    }
}

/// Load-balancing loss of Switch Transformers (Fedus et al. 2021, eq. 4), for any top-k:
///
/// `n_experts · Σₑ fₑ Pₑ`, with `fₑ` the fraction of (token, choice) pairs sent to expert e and `Pₑ` its
/// mean router probability. It is 1 when the load is even; `f` carries no gradient.
///
/// # Shapes
/// - router_probs: `[tokens, n_experts]`
/// - output: `[1]`
pub fn load_balancing_loss(router_probs: Tensor<2>, dispatch: &Dispatch) -> Tensor<1> {
    let n_experts = dispatch.loads().len();
    assert_shape!(router_probs, [.., n_experts]);
    let total = dispatch.n_pairs() as f32;
    let fractions: Vec<f32> = dispatch.loads().iter().map(|n| *n as f32 / total).collect();
    let fractions =
        Tensor::<2>::from_data(TensorData::new(fractions, [1, n_experts]), &router_probs.device());
    (router_probs.mean_dim(0) * fractions).sum() * n_experts as f32
}

/// Router z-loss (ST-MoE, Zoph et al. 2022, eq. 5): `(ln Σₑ exp(logitₑ))²`, averaged over tokens. It keeps router logits near 0,
/// where single precision tells them apart best.
///
/// # Shapes
/// - router_logits: `[tokens, n_experts]`
/// - output: `[1]`
pub fn router_z_loss(router_logits: Tensor<2>) -> Tensor<1> {
    // Taken out and put back, so that nothing overflows; the gradient is the same without it.
    let largest = router_logits.clone().detach().max_dim(1);
    let sum = (router_logits - largest.clone()).exp().sum_dim(1);
    (sum.log() + largest).square().mean()
}

/// Routing entropy as a part of `ln n_experts`: that of each token's router probabilities, averaged. It carries
/// gradient. A single expert has 0.
///
/// # Shapes
/// - router_probs: `[tokens, n_experts]`
/// - output: `[1]`
pub fn routing_entropy(router_probs: Tensor<2>) -> Tensor<1> {
    let [tokens, n_experts] = router_probs.dims();
    negative_p_ln_p(router_probs) / (tokens as f64 * ln_of(n_experts))
}

/// Entropy of the mean router probabilities as a part of `ln n_experts`: what stands for load entropy where a
/// gradient is needed, which counts of tokens do not carry. A single expert has 0.
///
/// # Shapes
/// - router_probs: `[tokens, n_experts]`
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

/// The first auxiliary loss of top-any routing (DynMoE, Guo et al. 2024): `‖Ŵ Ŵᵀ − I‖_F`, with `Ŵ` the rows of W at
/// norm 1. It keeps the experts' directions apart.
///
/// # Shapes
/// - weight: `[n_experts, d_model]`
/// - output: `[1]`
pub fn diversity_loss(weight: Tensor<2>) -> Tensor<1> {
    let ([n_experts, _], device) = (weight.dims(), weight.device());
    let unit = unit_rows(weight);
    let overlap = unit.clone().matmul(unit.transpose()) - Tensor::eye(n_experts, &device);
    finite_sqrt(overlap.square().sum())
}

/// The second auxiliary loss of top-any routing: `meanₑ ‖Wₑ‖`. It keeps the norms, which the scores do not depend on,
/// from growing.
///
/// # Shapes
/// - weight: `[n_experts, d_model]`
/// - output: `[1]`
pub fn simplicity_loss(weight: Tensor<2>) -> Tensor<1> {
    finite_sqrt(weight.square().sum_dim(1)).mean()
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
        let tokens = probs.len() / n_experts;
        let probs = Tensor::from_data(TensorData::new(probs, [tokens, n_experts]), &Device::flex());
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
        // Both tokens to expert 0: f = (1, 0), P = (0.7, 0.3): 2 · 0.7.
        assert!((loss(vec![0.8, 0.2, 0.6, 0.4], 2, 1) - 1.4).abs() < 1e-6);
        // One token each: f = (½, ½), P = (½, ½): 1.
        assert!((loss(vec![0.8, 0.2, 0.2, 0.8], 2, 1) - 1.0).abs() < 1e-6);
        // top-2 of 3: pairs (0,1) and (0,2): f = (½, ¼, ¼), P = (0.55, 0.2, 0.25): 3 · 0.3875.
        assert!((loss(vec![0.6, 0.3, 0.1, 0.5, 0.1, 0.4], 3, 2) - 1.1625).abs() < 1e-6);
    }

    #[test]
    fn hand_worked_z_loss_and_its_gradient() {
        let device = Device::flex().autodiff();
        let logits = [[1f32.ln(), 2f32.ln(), f32::NEG_INFINITY], [400.0, -400.0, 400.0]];
        let logits = Tensor::<2>::from_data(logits, &device).require_grad();
        let loss = router_z_loss(logits.clone());
        // ln 3 and 400 + ln 2, squared.
        let (first, second) = (3f32.ln(), 400.0 + 2f32.ln());
        let expected = (first.powi(2) + second.powi(2)) / 2.0;
        assert!((loss.clone().into_scalar::<f32>() / expected - 1.0).abs() < 1e-6);
        // 2 · logsumexp · softmax / tokens
        let gradient = logits.grad(&loss.backward()).unwrap().try_into_vec_as::<f32>().unwrap();
        let expected = [first / 3.0, first * 2.0 / 3.0, 0.0, second / 2.0, 0.0, second / 2.0];
        for (found, expected) in gradient.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected.max(1.0), "{gradient:?}");
        }
    }

    #[test]
    fn hand_worked_diversity_and_simplicity() {
        // Directions (1, 0), (0, 1), (−1, 0): two entries of −1 beside the diagonal. Norms 1, 2, 3.
        let weight = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]], &Device::flex());
        let diversity = diversity_loss(weight.clone()).into_scalar::<f32>();
        let simplicity = simplicity_loss(weight).into_scalar::<f32>();
        assert!((diversity - 2f32.sqrt()).abs() < 1e-6 && (simplicity - 2.0).abs() < 1e-6);
    }

    #[test]
    fn losses_are_added_within_a_layer_and_averaged_over_those_that_have_them() {
        let loss = |value: f32| Some(Tensor::<1>::from_data([value], &Device::flex()));
        let top_k = |value| AuxLosses {
            load_balancing: loss(value),
            router_z: loss(value + 2.0),
            ..AuxLosses::default()
        };
        let top_any = AuxLosses { diversity: loss(2.0), simplicity: loss(0.5), ..AuxLosses::default() };
        let scalar = |loss: Option<Tensor<1>>| loss.map(|loss| loss.into_scalar::<f32>());
        assert_eq!(scalar(top_any.total()), Some(2.5));
        assert_eq!(scalar(AuxLosses::default().total()), None);
        assert_eq!(scalar(top_k(1.0).total()), Some(1.0), "the z-loss has a coefficient of its own");
        let mean = AuxLosses::mean(&[top_k(1.0), AuxLosses::default(), top_any, top_k(4.0)]);
        let means = [mean.load_balancing, mean.router_z, mean.diversity, mean.simplicity].map(scalar);
        assert_eq!(means, [Some(2.5), Some(4.5), Some(2.0), Some(0.5)]);
    }

    #[test]
    fn a_single_expert_and_a_row_of_zeros_have_finite_gradients() {
        let device = Device::flex().autodiff();
        for rows in [vec![3.0, 4.0], vec![0.0; 4]] {
            let shape = [rows.len() / 2, 2];
            let weight = Tensor::<2>::from_data(TensorData::new(rows, shape), &device).require_grad();
            let loss = diversity_loss(weight.clone()) + simplicity_loss(weight.clone());
            let gradients = loss.backward();
            let gradient = weight.grad(&gradients).unwrap().try_into_vec_as::<f32>().unwrap();
            assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
        }
    }
}
