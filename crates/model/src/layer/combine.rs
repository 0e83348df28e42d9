//! What the chosen experts make of a layer's tokens together, with the routing sums.

use burn::tensor::{Tensor, TensorData};
use moelt_kernels::{ExpertOutput, sum_rows};
use moelt_schema::{LayerSums, Unrouted};

use super::{
    AuxLosses, Choice, Dispatch, ExpertTokens, Experts, LayerContext, RoutedTokens, Router, TopAnyRouter,
    TopKRouter, diversity_loss,
    expert_choice::{ChosenTokens, tokens_per_expert},
    load_balancing_loss, router_z_loss, simplicity_loss,
    top_any::RoutedTopAny,
    top_k::{RoutedTopK, RouterProbabilities},
};
use crate::{host::to_host, rows::rows_of};

/// The weighted sum of expert outputs for a batch, and what the router did.
pub(super) struct Combined {
    /// `[tokens, d_model]`
    pub(super) y: Tensor<2>,
    pub(super) aux_losses: AuxLosses,
    pub(super) sums: LayerSums,
    /// `[tokens, n_experts]`; with top-k routing only.
    pub(super) router_probs: Option<Tensor<2>>,
    /// With top-k routing only.
    pub(super) routed: Option<RoutedTokens>,
    /// What the experts did.
    pub(super) expert_tokens: ExpertTokens,
}

/// Each token through the experts that the router sends it to.
///
/// # Shapes
/// - x: `[tokens, d_model]`, what experts see
/// - seen: `[tokens, d_model]`, what a learned router sees
/// - `context.groups`: one list per token where experts are assigned by them
pub(super) fn combined(
    router: &Router,
    experts: &Experts,
    x: Tensor<2>,
    seen: Tensor<2>,
    context: &LayerContext<'_>,
) -> Combined {
    match router {
        Router::TopK(router) if context.choice == Choice::Experts => expert_choice(router, experts, x, seen),
        Router::TopK(router) => top_k(router, experts, x, seen, context),
        Router::TopAny(router) => top_any(router, experts, x, seen),
        Router::Assigned(_) => assigned(experts, x, context.groups),
    }
}

/// Each token through the expert of its group alone, with weight 1.
///
/// # Shapes
/// - x: `[tokens, d_model]`
fn assigned(experts: &Experts, x: Tensor<2>, groups: &[&[u32]]) -> Combined {
    let ([tokens, _], [n_experts, ..]) = (x.dims(), experts.w_in.dims());
    assert_eq!(groups.len(), tokens, "experts are assigned by groups: every token needs its own");
    let dispatch = Dispatch::assigned(groups, n_experts);
    let weights = Tensor::ones([tokens, 1], &x.device());
    let ExpertOutput { y, norms } = experts.forward_sparse(x, &dispatch, weights);
    let mut sums = LayerSums::zeros(n_experts);
    sums.tokens = tokens as f64;
    sums.tokens_per_expert = dispatch.loads().iter().map(|n| f64::from(*n)).collect();
    (sums.expert_weight, sums.mass) = (sums.tokens_per_expert.clone(), sums.tokens_per_expert.clone());
    for (expert, norm) in dispatch.experts().iter().zip(to_host(norms)) {
        sums.weighted_norm[*expert as usize] += f64::from(norm);
    }
    let expert_tokens = ExpertTokens::unpadded(tokens);
    Combined { y, aux_losses: AuxLosses::default(), sums, router_probs: None, routed: None, expert_tokens }
}

/// Each token through its `top_k` experts only, and through none that has no place for it.
///
/// # Shapes
/// - x, seen: `[tokens, d_model]`
fn top_k(
    router: &TopKRouter,
    experts: &Experts,
    x: Tensor<2>,
    seen: Tensor<2>,
    context: &LayerContext<'_>,
) -> Combined {
    let routed = router.forward_by(seen.clone(), context.choice);
    let (routed, dropped) = match context.capacity_factor {
        Some(factor) => within_capacity(routed, factor),
        None => (routed, 0.0),
    };
    let RoutedTopK { probabilities, expert_weights, dispatch } = routed;
    let ExpertOutput { y, norms } = experts.forward_sparse(x.clone(), &dispatch, expert_weights.clone());
    let sums = LayerSums { dropped, ..sums(&probabilities, &dispatch, expert_weights.clone(), norms) };
    let load_balancing = of_open(load_balancing_loss(probabilities.probs.clone(), &dispatch), router);
    let router_z = Some(router_z_loss(probabilities.logits));
    let aux_losses = AuxLosses { load_balancing: Some(load_balancing), router_z, ..AuxLosses::default() };
    let expert_tokens = ExpertTokens::unpadded(dispatch.n_pairs());
    let routed = Some(RoutedTokens { inputs: x, seen, dispatch, expert_weights });
    Combined { y, aux_losses, sums, router_probs: Some(probabilities.probs), routed, expert_tokens }
}

/// Each token through the experts that chose it. Loads are even by choice, so that no loss has to make them so.
///
/// # Shapes
/// - x, seen: `[tokens, d_model]`
fn expert_choice(router: &TopKRouter, experts: &Experts, x: Tensor<2>, seen: Tensor<2>) -> Combined {
    let [tokens, _] = x.dims();
    let (probabilities, read) = router.probabilities(seen.clone());
    let [_, n_experts] = probabilities.probs.dims();
    let n_open = n_experts - router.n_closed;
    let chosen = ChosenTokens::new(read.probs(), n_experts, tokens_per_expert(tokens, router.top_k, n_open));
    let (pairs, n_pairs) = (chosen.pairs(), chosen.dispatch.n_pairs());
    let weight_of_pair = probabilities.probs.clone().reshape([tokens * n_experts, 1]);
    let weights = sum_rows(weight_of_pair, &chosen.places(n_experts), &pairs, n_pairs);
    let inputs = sum_rows(x, &chosen.tokens, &pairs, n_pairs);
    let ExpertOutput { y, norms } = experts.forward_sparse(inputs, &chosen.dispatch, weights.clone());
    let y = sum_rows(y, &pairs, &chosen.tokens, tokens);
    let unrouted = unrouted(&chosen.unchosen(tokens), seen.inner());
    let sums = LayerSums {
        tokens: tokens as f64,
        unrouted,
        ..sums(&probabilities, &chosen.dispatch, weights, norms)
    };
    let router_z = Some(router_z_loss(probabilities.logits));
    let aux_losses = AuxLosses { router_z, ..AuxLosses::default() };
    let expert_tokens = ExpertTokens::unpadded(n_pairs);
    Combined { y, aux_losses, sums, router_probs: Some(probabilities.probs), routed: None, expert_tokens }
}

/// The same routing with a weight of 0 for every pair that its expert has no place for, and how many these are.
fn within_capacity(routed: RoutedTopK, factor: f64) -> (RoutedTopK, f64) {
    let kept = routed.dispatch.within_capacity(factor);
    let dropped = kept.iter().filter(|kept| !**kept).count() as f64;
    let mask: Vec<f32> = kept.into_iter().map(|kept| f32::from(u8::from(kept))).collect();
    let weights = routed.expert_weights;
    let mask = Tensor::<2>::from_data(TensorData::new(mask, weights.dims()), &weights.device());
    (RoutedTopK { expert_weights: weights * mask, ..routed }, dropped)
}

/// The load-balancing loss of a layer that has none of its closed experts: its factor is the number of those that can be chosen.
fn of_open(loss: Tensor<1>, router: &TopKRouter) -> Tensor<1> {
    let [n_experts, _] = router.weight.dims();
    match router.n_closed {
        0 => loss,
        closed => loss * ((n_experts - closed) as f64 / n_experts as f64),
    }
}

/// What a layer's router did, by pairs of a token and an expert.
///
/// # Shapes
/// - weights: as many as pairs, in their order
/// - norms: `[pairs]`, of the outputs
fn sums(
    probabilities: &RouterProbabilities,
    dispatch: &Dispatch,
    weights: Tensor<2>,
    norms: Tensor<1>,
) -> LayerSums {
    let mut sums = LayerSums::zeros(dispatch.loads().len());
    sums.tokens = (dispatch.n_pairs() / dispatch.k()) as f64;
    sums.entropy = probabilities.entropy;
    sums.mass.clone_from(&probabilities.mass);
    sums.tokens_per_expert = dispatch.loads().iter().map(|n| f64::from(*n)).collect();
    let pairs = dispatch.n_pairs();
    let read = to_host(Tensor::cat(vec![weights.inner().reshape([pairs]), norms], 0));
    let (weights, norms) = read.split_at(pairs);
    for ((expert, weight), norm) in dispatch.experts().iter().zip(weights).zip(norms) {
        sums.expert_weight[*expert as usize] += f64::from(*weight);
        sums.weighted_norm[*expert as usize] += f64::from(weight * norm);
    }
    sums
}

/// Every token through every expert, with weights that are 0 where an expert is not active: the cost
/// follows `n_experts`, however few are active.
///
/// # Shapes
/// - x, seen: `[tokens, d_model]`
fn top_any(router: &TopAnyRouter, experts: &Experts, x: Tensor<2>, seen: Tensor<2>) -> Combined {
    let [tokens, d_model] = x.dims();
    let routed = router.forward(seen.clone());
    let [_, n_experts] = routed.expert_weights.dims();
    let outputs = experts.forward(x.unsqueeze_dim::<3>(0).expand([n_experts, tokens, d_model]));
    let sums = top_any_sums(&routed, seen.inner(), outputs.clone().inner());
    let weights = routed.expert_weights.transpose().reshape([n_experts, tokens, 1]);
    let y = (outputs * weights).sum_dim(0).reshape([tokens, d_model]);
    let weight = router.weight.val();
    let (diversity, simplicity) = (Some(diversity_loss(weight.clone())), Some(simplicity_loss(weight)));
    let aux_losses = AuxLosses { diversity, simplicity, ..AuxLosses::default() };
    let expert_tokens =
        ExpertTokens { computed: n_experts * tokens, routed: routed.dispatch.pairs().count() };
    Combined { y, aux_losses, sums, router_probs: None, routed: None, expert_tokens }
}

/// `seen` is `[tokens, d_model]`, `outputs` `[n_experts, tokens, d_model]`.
fn top_any_sums(routed: &RoutedTopAny, seen: Tensor<2>, outputs: Tensor<3>) -> LayerSums {
    let [n_experts, tokens, _] = outputs.dims();
    let norms = to_host(outputs.square().sum_dim(2).sqrt());
    let mut sums = LayerSums::zeros(n_experts);
    sums.tokens = tokens as f64;
    sums.entropy = routed.dispatch.entropy();
    sums.mass.clone_from(&routed.mass);
    for (token, expert, weight) in routed.dispatch.pairs() {
        sums.tokens_per_expert[expert] += 1.0;
        sums.expert_weight[expert] += f64::from(weight);
        sums.weighted_norm[expert] += f64::from(weight * norms[expert * tokens + token]);
    }
    sums.unrouted = unrouted(routed.dispatch.unrouted(), seen);
    sums
}

/// How many tokens no expert claimed, and the sum of what the router saw of them.
fn unrouted(tokens: &[u32], seen: Tensor<2>) -> Unrouted {
    if tokens.is_empty() {
        return Unrouted::default();
    }
    let sum = to_host(rows_of(&seen, tokens).sum_dim(0)).into_iter().map(f64::from).collect();
    Unrouted { tokens: tokens.len() as f64, sum }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use moelt_schema::LayerKind;

    use super::*;
    use crate::MoeLayerConfig;

    /// Three tokens that are alike all go to the same expert of two, which has places for two.
    #[test]
    fn what_an_expert_has_no_place_for_it_does_not_touch() {
        let config = MoeLayerConfig::new(4, 3).with_n_experts(2).with_kind(LayerKind::TopK { k: 1 });
        let layer = config.init(&Device::flex());
        let x = Tensor::<2>::from_data([[1.0, 2.0, 3.0, -1.0]; 3], &Device::flex());
        let pass = |capacity_factor| {
            let context = LayerContext { capacity_factor, ..LayerContext::default() };
            let output = layer.forward_in(x.clone(), context);
            (to_host(output.x), output.routing.unwrap())
        };
        let (all, unbounded) = pass(None);
        let (y, sums) = pass(Some(1.2));
        assert_eq!(y[..8], all[..8]);
        assert_eq!(y[8..], [1.0, 2.0, 3.0, -1.0], "the token goes on as it came");
        assert_eq!((sums.dropped, unbounded.dropped), (1.0, 0.0));
        assert_eq!(sums.tokens_per_expert, unbounded.tokens_per_expert);
        assert_eq!(pass(Some(2.0)).0, all);
    }

    /// Logits 0, 0 and −∞: all tokens go to expert 0, f = (1, 0, 0), P = (½, ½, 0), and two experts are open: 2 · ½.
    #[test]
    fn closed_experts_do_not_count_in_the_load_balancing_loss() {
        let mut router = TopKRouter::from_rows(vec![0.0; 6], [3, 2], 1, &Device::flex());
        router.bias = router.bias.map(|old| Tensor::from_data([0.0, 0.0, f32::NEG_INFINITY], &old.device()));
        router.n_closed = 1;
        let routed = router.forward(Tensor::ones([4, 2], &Device::flex()));
        let loss = of_open(load_balancing_loss(routed.probabilities.probs, &routed.dispatch), &router);
        assert_eq!(loss.into_scalar::<f32>(), 1.0);
    }
}
