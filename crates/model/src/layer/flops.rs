//! What a forward pass through one expert layer costs.

use moelt_schema::Flops;

use super::{Experts, MoeLayer, Router};

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

    /// The most experts that a token may need: those it is sent to, with top-any routing all.
    pub(crate) fn experts_per_token(&self) -> usize {
        let [n_experts, ..] = self.experts.w_in.dims();
        match &self.router {
            Some(Router::TopK(router)) => router.top_k.min(n_experts),
            Some(Router::Assigned(_)) => 1,
            Some(Router::TopAny(_)) | None => n_experts,
        }
    }
}

impl Experts {
    /// Multiplications of one expert for one token.
    fn row_products(&self) -> u64 {
        let [_, d_model, d_ff] = self.w_in.dims();
        2 * product(&[d_model, d_ff])
    }
}

pub(crate) fn product(shape: &[usize]) -> u64 {
    shape.iter().map(|n| *n as u64).product()
}
