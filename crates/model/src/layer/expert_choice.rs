//! Expert choice (Zhou et al. 2022): experts choose tokens, so that each of them has as many.

use super::Dispatch;

/// Which tokens the experts of a layer take, expert by expert, each expert's in the tokens' order.
#[derive(Debug, PartialEq)]
pub(super) struct ChosenTokens {
    /// `[pairs]`
    pub(super) tokens: Vec<u32>,
    /// The pairs, each as a token of its own with one expert.
    pub(super) dispatch: Dispatch,
}

/// How many tokens an expert takes: `⌈tokens · top_k / n_open⌉`, as far as there are so many, of `n_open` experts that can choose.
pub(crate) fn tokens_per_expert(tokens: usize, top_k: usize, n_open: usize) -> usize {
    (tokens * top_k.min(n_open)).div_ceil(n_open.max(1)).min(tokens)
}

impl ChosenTokens {
    /// For each expert the `taken` tokens to which it has the largest probability; the earlier token wins a tie. An expert that is
    /// closed takes nothing. A probability that is not a number is the largest, so that the loss tells of it.
    ///
    /// # Shapes
    /// - probs: `[tokens, n_experts]`, row-major
    pub(super) fn new(probs: &[f32], n_experts: usize, taken: usize) -> Self {
        let n_tokens = probs.len() / n_experts;
        let (mut tokens, mut experts) = (Vec::new(), Vec::new());
        for expert in 0..n_experts {
            let prob = |token: u32| probs[token as usize * n_experts + expert];
            let mut best: Vec<u32> = (0..n_tokens as u32).filter(|token| prob(*token) != 0.0).collect();
            best.sort_by(|one, other| prob(*other).abs().total_cmp(&prob(*one).abs()));
            best.truncate(taken);
            best.sort_unstable();
            experts.resize(experts.len() + best.len(), expert as u32);
            tokens.extend(best);
        }
        Self { tokens, dispatch: Dispatch::new(experts, n_experts, 1) }
    }

    /// The pairs' own numbers.
    pub(super) fn pairs(&self) -> Vec<u32> {
        (0..self.tokens.len() as u32).collect()
    }

    /// For every pair its place among `[tokens · n_experts]` probabilities.
    pub(super) fn places(&self, n_experts: usize) -> Vec<u32> {
        let place = |(token, expert): (&u32, &u32)| token * n_experts as u32 + expert;
        self.tokens.iter().zip(self.dispatch.experts()).map(place).collect()
    }

    /// Those of `n_tokens` tokens that no expert took.
    pub(super) fn unchosen(&self, n_tokens: usize) -> Vec<u32> {
        let mut is_chosen = vec![false; n_tokens];
        self.tokens.iter().for_each(|token| is_chosen[*token as usize] = true);
        (0..n_tokens as u32).filter(|token| !is_chosen[*token as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Device, Tensor},
    };
    use moelt_schema::LayerKind;

    use super::*;
    use crate::{Choice, LayerContext, MoeLayer, MoeLayerConfig, MoeOutput, Router, host::to_host};

    /// Three tokens for two experts are two for each. The first gives 1.0 to token 2 and 0.5 to token 0, the second 0.6 to token 1 and
    /// 0.5 to token 0. An expert that is closed to all takes nothing, and of equals the earlier are taken.
    #[test]
    fn hand_worked_choice() {
        let chosen = ChosenTokens::new(&[0.5, 0.5, 0.4, 0.6, 1.0, 0.0], 2, tokens_per_expert(3, 1, 2));
        assert_eq!(chosen.tokens, [0, 2, 0, 1]);
        assert_eq!(chosen.dispatch.experts(), [0, 0, 1, 1]);
        assert_eq!(chosen.dispatch.loads(), [2, 2]);
        assert_eq!(chosen.places(2), [0, 4, 1, 3]);
        assert!(chosen.unchosen(3).is_empty());
        let one_open = ChosenTokens::new(&[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], 2, 2);
        assert_eq!((&*one_open.tokens, one_open.dispatch.loads()), (&[0, 1][..], &[2, 0][..]));
        assert_eq!(one_open.unchosen(3), [2]);
        let not_a_number = ChosenTokens::new(&[0.2, 0.8, f32::NAN, f32::NAN, 0.9, 0.1], 2, 1);
        assert_eq!(not_a_number.tokens, [1, 1]);
    }

    #[test]
    fn experts_that_can_choose_share_all_tokens() {
        assert_eq!(tokens_per_expert(5, 2, 4), 3);
        assert_eq!(tokens_per_expert(5, 2, 1), 5, "of one open expert all");
        assert_eq!(tokens_per_expert(16, 1, 64), 1);
        assert_eq!(tokens_per_expert(3, 9, 2), 3);
    }

    /// A layer of two experts that add 1 and 10, by the same probability for each token.
    fn layer() -> MoeLayer {
        let device = Device::flex();
        let config = MoeLayerConfig::new(1, 1).with_n_experts(2).with_kind(LayerKind::TopK { k: 1 });
        let mut layer = config.with_layer_norm(false).init(&device);
        let zeros = || Param::from_tensor(Tensor::zeros([2, 1, 1], &device));
        (layer.experts.w_in, layer.experts.w_out) = (zeros(), zeros());
        layer.experts.b_out = Param::from_data([[1.0], [10.0]], &device);
        if let Some(Router::TopK(router)) = &mut layer.router {
            router.weight = Param::from_data([[0.0], [1.0]], &device);
        }
        layer
    }

    fn pass(choice: Choice, x: [f32; 3]) -> MoeOutput {
        let x = Tensor::<1>::from_data(x, &Device::flex()).reshape([3, 1]);
        layer().forward_in(x, LayerContext { choice, ..LayerContext::default() })
    }

    /// The second expert's probabilities are σ(x) = ½, ⅘ and ⅕ for x = 0, ln 4 and −ln 4: it takes the first two tokens, the first
    /// expert takes the first and the third.
    #[test]
    fn a_token_gets_what_those_make_of_it_that_chose_it() {
        let output = pass(Choice::Experts, [0.0, 4f32.ln(), -(4f32.ln())]);
        let added: Vec<f32> =
            to_host(output.x).iter().zip([0.0, 4f32.ln(), -(4f32.ln())]).map(|(y, x)| y - x).collect();
        for (added, expected) in added.iter().zip([0.5 + 5.0, 8.0, 0.8]) {
            assert!((added - expected).abs() < 1e-5, "{added} {expected}");
        }
        let sums = output.routing.unwrap();
        assert_eq!((sums.tokens, &*sums.tokens_per_expert), (3.0, &[2.0, 2.0][..]));
        assert!((sums.expert_weight[0] - 1.3).abs() < 1e-5 && (sums.expert_weight[1] - 1.3).abs() < 1e-5);
        assert!((sums.weighted_norm[1] - 13.0).abs() < 1e-4);
        assert_eq!(sums.unrouted.tokens, 0.0);
        assert!(output.aux_losses.load_balancing.is_none() && output.routed.is_none());
        assert!(
            output.flops.computed > pass(Choice::Tokens, [0.0; 3]).flops.computed,
            "four pairs and not three"
        );
    }

    /// The first token goes to the first of its two experts, which are as likely: ½ · 1.
    #[test]
    fn afterwards_tokens_choose_again() {
        let x = [0.0, 4f32.ln(), -(4f32.ln())];
        let added =
            |choice| -> Vec<f32> { to_host(pass(choice, x).x).iter().zip(x).map(|(y, x)| y - x).collect() };
        for choice in [Choice::Tokens, Choice::TokensAfterExperts] {
            for (added, expected) in added(choice).iter().zip([0.5, 8.0, 0.8]) {
                assert!((added - expected).abs() < 1e-5, "{choice:?}: {added} {expected}");
            }
        }
    }
}
