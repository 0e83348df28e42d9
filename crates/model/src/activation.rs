//! Which experts a row goes to when it may go to any number: planned on the host, a plain value.

use crate::dispatch::best_expert;

/// The decision of top-any routing for a batch. It is discrete; the straight-through gradient is added
/// where the expert weights become a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    n_experts: usize,
    /// `[rows, n_experts]`: 1/k at the k experts of a row, 0 elsewhere.
    expert_weights: Vec<f32>,
    /// `[rows]`: experts of each row, one at least.
    counts: Vec<u32>,
    /// Rows that passed no threshold.
    unrouted: Vec<u32>,
}

impl Activation {
    /// For each row every expert whose score lies above its threshold, or the best-scoring one alone if
    /// there is none.
    ///
    /// # Shapes
    /// - scores: `[rows, n_experts]`, row-major
    /// - thresholds: `[n_experts]`, on the scale of the scores
    ///
    /// # Panics
    /// When there is no expert.
    pub fn top_any(scores: &[f32], thresholds: &[f32]) -> Self {
        let n_experts = thresholds.len();
        let mut activation = Self {
            n_experts,
            expert_weights: vec![0.0; scores.len()],
            counts: Vec::new(),
            unrouted: Vec::new(),
        };
        for (row, scores) in scores.chunks_exact(n_experts).enumerate() {
            let mut active: Vec<usize> = (0..n_experts).filter(|e| scores[*e] > thresholds[*e]).collect();
            if active.is_empty() {
                active.push(best_expert(scores, &[]) as usize);
                activation.unrouted.push(row as u32);
            }
            let weight = 1.0 / active.len() as f32;
            active.iter().for_each(|expert| activation.expert_weights[row * n_experts + expert] = weight);
            activation.counts.push(active.len() as u32);
        }
        activation
    }

    /// `[rows, n_experts]`: 1/k at the k experts of a row, 0 elsewhere.
    pub fn expert_weights(&self) -> &[f32] {
        &self.expert_weights
    }

    /// Experts of each row, one at least.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Rows that passed no threshold.
    pub fn unrouted(&self) -> &[u32] {
        &self.unrouted
    }

    /// Every (row, expert, weight) that is active, in row order.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize, f32)> + '_ {
        let active = self.expert_weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
        active.map(|(at, weight)| (at / self.n_experts, at % self.n_experts, *weight))
    }

    /// Sum over rows of the entropy of the expert weights, nats: `ln k` for a row with k experts.
    pub fn entropy(&self) -> f64 {
        self.counts.iter().map(|k| f64::from(*k).ln()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_thresholds() {
        // Row 0 passes experts 0 and 2, row 1 none (a score on its threshold does not pass; expert 1 is
        // the best), row 2 all three.
        let scores = [0.6, 0.5, 0.4, 0.5, 0.7, 0.2, 0.9, 0.9, 0.9];
        let activation = Activation::top_any(&scores, &[0.5, 0.8, 0.3]);
        let third = 1.0 / 3.0;
        assert_eq!(activation.expert_weights(), [0.5, 0.0, 0.5, 0.0, 1.0, 0.0, third, third, third]);
        assert_eq!(activation.counts(), [2, 1, 3]);
        assert_eq!(activation.unrouted(), [1]);
        assert_eq!(activation.pairs().take(3).collect::<Vec<_>>(), [(0, 0, 0.5), (0, 2, 0.5), (1, 1, 1.0)]);
        assert_eq!(activation.entropy(), 2f64.ln() + 3f64.ln());
    }

    #[test]
    fn nan_scores_are_routed_all_the_same() {
        assert_eq!(Activation::top_any(&[f32::NAN; 2], &[0.5; 2]).expert_weights(), [1.0, 0.0]);
    }
}
