//! Which tokens go to which experts: planned on the host, a plain value.

/// Top-k routing of a batch. It is discrete and carries no gradient;
/// the expert weights do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    top_k: usize,
    /// `[tokens · top_k]`: chosen experts of each token, best first.
    experts: Vec<u32>,
    /// Pairs at each expert.
    loads: Vec<u32>,
}

impl Dispatch {
    /// The `top_k` experts with the largest score in each token; the lower position wins a tie.
    ///
    /// # Shapes
    /// - scores: `[tokens, n_experts]`, row-major
    ///
    /// # Panics
    /// When `top_k` exceeds `n_experts`.
    pub fn top_k(scores: &[f32], n_experts: usize, top_k: usize) -> Self {
        assert!((1..=n_experts).contains(&top_k), "top_k {top_k} of {n_experts} experts");
        let n_pairs = scores.len() / n_experts * top_k;
        let mut experts: Vec<u32> = Vec::with_capacity(n_pairs);
        for token in scores.chunks_exact(n_experts) {
            let first = experts.len();
            for _ in 0..top_k {
                experts.push(best_expert(token, &experts[first..]));
            }
        }
        Self::new(experts, n_experts, top_k)
    }

    /// The expert of each token by its groups, the likeliest first: expert `i` serves group `i`. A token goes by the first of
    /// its groups that has an expert of its own; without one it goes to the last expert.
    ///
    /// # Panics
    /// When there is no expert.
    pub fn assigned(groups: &[&[u32]], n_experts: usize) -> Self {
        assert!(n_experts > 0, "no experts to assign");
        let expert = |groups: &&[u32]| {
            let own = groups.iter().find(|group| (**group as usize) < n_experts);
            own.copied().unwrap_or(n_experts as u32 - 1)
        };
        Self::new(groups.iter().map(expert).collect(), n_experts, 1)
    }

    /// Which pairs their experts have a place for when each takes at most `⌈factor · pairs / n_experts⌉`: tokens come in their
    /// order, and the choices of a token in theirs. The others are dropped.
    pub fn within_capacity(&self, factor: f64) -> Vec<bool> {
        let capacity = (factor * self.n_pairs() as f64 / self.loads.len() as f64).ceil();
        let mut taken = vec![0; self.loads.len()];
        let has_place = |expert: &u32| {
            let taken: &mut u32 = &mut taken[*expert as usize];
            *taken += 1;
            f64::from(*taken) <= capacity
        };
        self.experts.iter().map(has_place).collect()
    }

    /// What has been chosen, `[tokens · top_k]`.
    pub(super) fn new(experts: Vec<u32>, n_experts: usize, top_k: usize) -> Self {
        let mut loads = vec![0; n_experts];
        experts.iter().for_each(|expert| loads[*expert as usize] += 1);
        Self { top_k, experts, loads }
    }

    /// Experts per token.
    pub fn k(&self) -> usize {
        self.top_k
    }

    /// (token, choice) pairs: `tokens · top_k`.
    pub fn n_pairs(&self) -> usize {
        self.experts.len()
    }

    /// Chosen experts, `[tokens · top_k]`, best first within a token.
    pub fn experts(&self) -> &[u32] {
        &self.experts
    }

    /// Pairs at each expert.
    pub fn loads(&self) -> &[u32] {
        &self.loads
    }
}

/// Top-any routing of a batch: each token goes to any number of experts. It is discrete; the straight-through gradient is
/// added where the expert weights become a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TopAnyDispatch {
    n_experts: usize,
    /// `[tokens, n_experts]`: 1/k at the k experts of a token, 0 elsewhere.
    expert_weights: Vec<f32>,
    /// `[tokens]`: experts of each token, one at least.
    counts: Vec<u32>,
    /// Tokens that passed no threshold.
    unrouted: Vec<u32>,
}

impl TopAnyDispatch {
    /// For each token every expert whose score lies above its threshold, or the best-scoring one alone if
    /// there is none.
    ///
    /// # Shapes
    /// - scores: `[tokens, n_experts]`, row-major
    /// - thresholds: `[n_experts]`, on the scale of the scores
    ///
    /// # Panics
    /// When there is no expert.
    pub fn new(scores: &[f32], thresholds: &[f32]) -> Self {
        let n_experts = thresholds.len();
        let mut dispatch = Self {
            n_experts,
            expert_weights: vec![0.0; scores.len()],
            counts: Vec::new(),
            unrouted: Vec::new(),
        };
        for (token, scores) in scores.chunks_exact(n_experts).enumerate() {
            let mut active: Vec<usize> = (0..n_experts).filter(|e| scores[*e] > thresholds[*e]).collect();
            if active.is_empty() {
                active.push(best_expert(scores, &[]) as usize);
                dispatch.unrouted.push(token as u32);
            }
            let weight = 1.0 / active.len() as f32;
            active.iter().for_each(|expert| dispatch.expert_weights[token * n_experts + expert] = weight);
            dispatch.counts.push(active.len() as u32);
        }
        dispatch
    }

    /// `[tokens, n_experts]`: 1/k at the k experts of a token, 0 elsewhere.
    pub fn expert_weights(&self) -> &[f32] {
        &self.expert_weights
    }

    /// Experts of each token, one at least.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Tokens that passed no threshold.
    pub fn unrouted(&self) -> &[u32] {
        &self.unrouted
    }

    /// Every (token, expert, weight) that is active, in token order.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize, f32)> + '_ {
        let active = self.expert_weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
        active.map(|(at, weight)| (at / self.n_experts, at % self.n_experts, *weight))
    }

    /// Sum over tokens of the entropy of the expert weights, nats: `ln k` for a token with k experts.
    pub fn entropy(&self) -> f64 {
        self.counts.iter().map(|k| f64::from(*k).ln()).sum()
    }
}

/// Position of the largest score that is not taken yet. A NaN is never larger than anything, so a
/// token of NaNs still has a best expert and the loss, not the routing, reports the NaN.
fn best_expert(scores: &[f32], taken: &[u32]) -> u32 {
    let free = (0..scores.len() as u32).filter(|expert| !taken.contains(expert));
    let better = |best: u32, expert: u32| {
        if scores[expert as usize] > scores[best as usize] { expert } else { best }
    };
    free.reduce(better).expect("an expert is left: top_k is at most n_experts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_top_2_of_3() {
        let dispatch = Dispatch::top_k(&[0.1, 0.6, 0.3, 0.4, 0.4, 0.2], 3, 2);
        assert_eq!(dispatch.experts(), [1, 2, 0, 1]);
        assert_eq!(dispatch.loads(), [1, 2, 1]);
        assert_eq!((dispatch.k(), dispatch.n_pairs()), (2, 4));
    }

    #[test]
    fn hand_worked_groups() {
        // Group 1 has an expert; of groups 7 and 0 the second has; group 9 has none and no other guess.
        let dispatch = Dispatch::assigned(&[&[1], &[7, 0], &[9], &[]], 3);
        assert_eq!(
            (dispatch.experts(), dispatch.loads(), dispatch.k()),
            (&[1, 0, 2, 2][..], &[1, 1, 2][..], 1)
        );
    }

    #[test]
    fn hand_worked_capacity() {
        // Pairs (0, 1), (0, 2), (0, 1) of 3 experts: two places each; one with half of that; the last choice of 0 is its third.
        let scores = [0.6, 0.3, 0.1, 0.6, 0.1, 0.3, 0.6, 0.3, 0.1];
        let dispatch = Dispatch::top_k(&scores, 3, 2);
        assert_eq!(dispatch.experts(), [0, 1, 0, 2, 0, 1]);
        assert_eq!(dispatch.within_capacity(1.0), [true, true, true, true, false, true]);
        assert_eq!(dispatch.within_capacity(0.5), [true, true, false, true, false, false]);
        // 1.01 · 2 is no whole number of places: there are three.
        assert_eq!(dispatch.within_capacity(1.01), [true; 6]);
    }

    #[test]
    fn nan_scores_are_dispatched_all_the_same() {
        assert_eq!(Dispatch::top_k(&[f32::NAN; 3], 3, 2).experts(), [0, 1]);
    }

    #[test]
    fn hand_worked_thresholds() {
        // Row 0 passes experts 0 and 2, token 1 none (a score on its threshold does not pass; expert 1 is
        // the best), token 2 all three.
        let scores = [0.6, 0.5, 0.4, 0.5, 0.7, 0.2, 0.9, 0.9, 0.9];
        let dispatch = TopAnyDispatch::new(&scores, &[0.5, 0.8, 0.3]);
        let third = 1.0 / 3.0;
        assert_eq!(dispatch.expert_weights(), [0.5, 0.0, 0.5, 0.0, 1.0, 0.0, third, third, third]);
        assert_eq!(dispatch.counts(), [2, 1, 3]);
        assert_eq!(dispatch.unrouted(), [1]);
        assert_eq!(dispatch.pairs().take(3).collect::<Vec<_>>(), [(0, 0, 0.5), (0, 2, 0.5), (1, 1, 1.0)]);
        assert_eq!(dispatch.entropy(), 2f64.ln() + 3f64.ln());
    }

    #[test]
    fn nan_scores_pass_no_threshold_and_are_routed_all_the_same() {
        assert_eq!(TopAnyDispatch::new(&[f32::NAN; 2], &[0.5; 2]).expert_weights(), [1.0, 0.0]);
    }
}
