//! What a forward pass through one expert layer costs.

use moelt_schema::Flops;

use super::{Choice, Experts, MoeLayer, Router, expert_choice::tokens_per_expert};

/// Tokens that experts compute, each counted once for each expert that computes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExpertTokens {
    /// All of them.
    pub(crate) computed: usize,
    /// Those that the routing asked for.
    pub(crate) routed: usize,
}

impl ExpertTokens {
    /// Where every token that is computed was asked for: with every routing but top-any.
    pub(crate) fn unpadded(tokens: usize) -> Self {
        Self { computed: tokens, routed: tokens }
    }
}

impl MoeLayer {
    /// What a pass took that routed `tokens` tokens and sent `expert_tokens` through experts.
    pub(crate) fn flops(&self, tokens: usize, expert_tokens: ExpertTokens) -> Flops {
        let one = 2 * self.experts.row_products();
        let experts = Flops {
            computed: one * expert_tokens.computed as u64,
            unpadded: one * expert_tokens.routed as u64,
        };
        let shared = self.shared.as_ref().map_or(0, Experts::row_products);
        experts + Flops::unpadded(2 * tokens as u64 * (self.router_products() + shared))
    }

    /// Multiplications of the router for one token; none where there is nothing to learn about the way.
    fn router_products(&self) -> u64 {
        self.router.as_ref().and_then(Router::weight).map_or(0, |weight| product(&weight.dims()))
    }

    /// The most (token, expert) pairs that a pass on so many tokens may need: those that are asked for, with top-any routing all.
    pub(crate) fn pairs(&self, tokens: usize, choice: Choice) -> usize {
        let [n_experts, ..] = self.experts.w_in.dims();
        match &self.router {
            Some(Router::TopK(router)) if choice == Choice::Experts => {
                let n_open = n_experts - router.n_closed;
                n_open * tokens_per_expert(tokens, router.top_k, n_open)
            }
            Some(Router::TopK(router)) => tokens * router.top_k.min(n_experts),
            Some(Router::Assigned(_)) => tokens,
            Some(Router::TopAny(_)) | None => tokens * n_experts,
        }
    }
}

impl Experts {
    /// Multiplications of one expert for one token.
    fn row_products(&self) -> u64 {
        let [_, d_model, d_ff] = self.w_in.dims();
        let n_products = if self.activation.is_gated() { 3 } else { 2 };
        n_products * product(&[d_model, d_ff])
    }
}

pub(crate) fn product(shape: &[usize]) -> u64 {
    shape.iter().map(|n| *n as u64).product()
}
