//! What a router did over a window of steps, as plain numbers.

use serde::{Deserialize, Serialize};

use crate::LayerSums;

/// Statistics of one MoE layer over a window. Padding is never counted. Lists are in router order.
///
/// *Routing entropy* is of one token's router probabilities, averaged over tokens: low when the router
/// is sure. *Load entropy* is of the utilization: low when few experts do all the work. They tend
/// to move in opposite directions. Both in nats, at most `ln n_experts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingStats {
    /// Tokens (or sequences) that reached the layer.
    pub tokens: f64,
    /// (token, choice) pairs sent to each expert: sums to `tokens × top_k`.
    pub tokens_per_expert: Vec<f64>,
    /// `tokens_per_expert` as fractions.
    pub utilization: Vec<f64>,
    /// Mean entropy of a token's router probabilities, nats.
    pub routing_entropy: f64,
    /// Entropy of the utilization, nats.
    pub load_entropy: f64,
    /// Positions of experts whose utilization lies under the floor.
    pub dead_experts: Vec<usize>,
    /// Mean expert weight over the tokens an expert got; 0 for an expert without tokens.
    pub mean_expert_weight: Vec<f64>,
    /// Mean of expert weight × output norm over the tokens an expert got: REAP's saliency
    /// (Lasby et al. 2025); 0 for an expert without tokens.
    pub weighted_norm: Vec<f64>,
    /// Mean router probability of each expert over all tokens: router mass. Sums to 1 (with top-any routing
    /// it is the mean of the score instead).
    pub router_mass: Vec<f64>,
    /// Fraction of the (token, choice) pairs that came when their expert was full; 0 without `model.capacity_factor`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: f64,
    /// Fraction of the tokens that passed no threshold or, with `model.expert_choice`, that no expert chose; 0 otherwise.
    pub unrouted: f64,
}

impl RoutingStats {
    /// Utilization below which an expert counts as dead, as a share of the even load `1/n_experts`.
    pub const DEAD_SHARE: f64 = 0.05;

    /// Turns the sums of a window into statistics.
    pub fn from_sums(sums: &LayerSums) -> Self {
        let tokens = sums.tokens;
        let tokens_per_expert: Vec<f64> = sums.tokens_per_expert.clone();
        let total: f64 = tokens_per_expert.iter().sum();
        let utilization: Vec<f64> = tokens_per_expert.iter().map(|n| ratio(*n, total)).collect();
        let floor = Self::DEAD_SHARE / tokens_per_expert.len().max(1) as f64;
        let per_token =
            |sums: &[f64]| sums.iter().zip(&tokens_per_expert).map(|(sum, n)| ratio(*sum, *n)).collect();
        Self {
            tokens,
            routing_entropy: ratio(sums.entropy, tokens),
            load_entropy: entropy(&utilization),
            dead_experts: (0..utilization.len()).filter(|e| utilization[*e] < floor).collect(),
            mean_expert_weight: per_token(&sums.expert_weight),
            weighted_norm: per_token(&sums.weighted_norm),
            router_mass: sums.mass.iter().map(|sum| ratio(*sum, tokens)).collect(),
            dropped: ratio(sums.dropped, total),
            unrouted: ratio(sums.unrouted.tokens, tokens),
            tokens_per_expert,
            utilization,
        }
    }
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Entropy of a distribution, nats, with `0 ln 0 = 0`.
fn entropy(shares: &[f64]) -> f64 {
    shares.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unrouted;

    #[test]
    fn hand_worked_window() {
        // 4 tokens, top-1, loads 3 / 1 / 0.
        let stats = RoutingStats::from_sums(&LayerSums {
            tokens: 4.0,
            tokens_per_expert: vec![3.0, 1.0, 0.0],
            entropy: 2.0,
            expert_weight: vec![2.4, 0.5, 0.0],
            weighted_norm: vec![6.0, 0.25, 0.0],
            mass: vec![2.0, 1.0, 1.0],
            dropped: 1.0,
            unrouted: Unrouted { tokens: 1.0, sum: vec![0.5] },
        });
        assert_eq!(stats.router_mass, [0.5, 0.25, 0.25]);
        assert_eq!((stats.dropped, stats.unrouted), (0.25, 0.25));
        assert_eq!(stats.utilization, [0.75, 0.25, 0.0]);
        assert_eq!(stats.routing_entropy, 0.5);
        // -(0.75 ln 0.75 + 0.25 ln 0.25) = 0.5623
        assert!((stats.load_entropy - 0.562_335_144_618_808).abs() < 1e-12);
        assert_eq!(stats.dead_experts, [2]);
        assert!((stats.mean_expert_weight[0] - 0.8).abs() < 1e-6);
        assert_eq!(stats.weighted_norm, [2.0, 0.25, 0.0]);
    }

    #[test]
    fn an_empty_window_has_no_nan() {
        let stats = RoutingStats::from_sums(&LayerSums::zeros(2));
        assert_eq!(stats.routing_entropy, 0.0);
        assert_eq!(stats.load_entropy, 0.0);
    }
}
