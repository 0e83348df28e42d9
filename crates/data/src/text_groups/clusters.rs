//! Balanced clusters of texts.
//!
//! 1. **Starts**: soft clusters of a sample of the texts, by expectation maximisation for a mixture of multinomials. It
//!    ends in an optimum near where it begins. So it begins softly: in the first half of its rounds a text's evidence
//!    counts less (deterministic annealing, [Ueda and Nakano 1998](https://doi.org/10.1016/S0893-6080(97)00133-0)). How
//!    much less is best depends on how much a text says: too little, and all clusters become the same. So there is a
//!    start for each of [`SOFTNESS`], from [`SEEDS`] random texts per cluster each, and the one under which the sample is
//!    most probable wins.
//! 2. **All texts** ([`ROUNDS`] times): hard clusters with a capacity, [`SLACK`] equal shares. The texts that lose
//!    most by their second choice choose first; a text whose cluster is full takes the best one that has room. Then the clusters
//!    are counted anew.
//!
//! Why a capacity: a group of texts is to train an expert, and a cluster of everything common would leave the others few
//! texts. Why more than an equal share, which is what c-BTM allows: real groups differ in size, and an exact balance cuts
//! the large ones in two. There is no least size.

use moelt_schema::{Stream, Streams};
use rand::seq::SliceRandom;

use super::scores::{Counts, SMOOTHING, Scores, best_of};

/// Texts in the sample, at most.
const SAMPLE: usize = 16_384;
/// Texts that a cluster begins from.
const SEEDS: usize = 8;
/// Smoothing of those few texts, in occurrences of n-grams.
const SEED_SMOOTHING: f64 = 20.0;
/// Rounds of a start.
const SOFT_ROUNDS: usize = 24;
/// What a text's log-likelihood is multiplied by in the first half of the rounds, for each start.
const SOFTNESS: [f32; 3] = [0.15, 0.4, 1.0];
/// Rounds over all texts.
const ROUNDS: usize = 5;
/// Capacity of a cluster, in equal shares: three halves.
const SLACK: (usize, usize) = (3, 2);

/// The cluster of each text.
pub(super) fn find(texts: &[Vec<u16>], n_grams: usize, n_groups: usize, streams: &Streams) -> Vec<u32> {
    if n_groups == 1 || texts.is_empty() {
        return vec![0; texts.len()];
    }
    let mut scores = best_start(texts, n_grams, n_groups, streams);
    let capacity = (texts.len() * SLACK.0).div_ceil(n_groups * SLACK.1);
    let mut groups = balanced(texts, &scores, n_groups, capacity);
    for _ in 1..ROUNDS {
        scores = Scores::equal_groups(&Counts::of(texts, &groups, n_grams, n_groups));
        groups = balanced(texts, &scores, n_groups, capacity);
    }
    groups
}

/// Scores of the soft clusters under which a sample of the texts is most probable.
fn best_start(texts: &[Vec<u16>], n_grams: usize, n_groups: usize, streams: &Streams) -> Scores {
    let mut sample: Vec<&[u16]> = texts.iter().map(Vec::as_slice).collect();
    sample.shuffle(&mut streams.rng(Stream::TextGroups, 0));
    sample.truncate(SAMPLE);
    // Above 0 for n-grams outside the sample too: they are scored in the end.
    let mut background = vec![0.0; n_grams];
    texts.iter().flatten().for_each(|&gram| background[gram as usize] += 1.0);
    let start = |(start, softness)| {
        sample.shuffle(&mut streams.rng(Stream::TextGroups, start));
        Mixture { texts: &sample, background: &background, n_groups }.fit(softness)
    };
    let starts = (1..).zip(SOFTNESS).map(start);
    let best = starts.reduce(|best, start| if start.1 > best.1 { start } else { best });
    best.expect("there is a start at least").0
}

/// Soft clusters of some texts, all of them equally probable.
struct Mixture<'a> {
    texts: &'a [&'a [u16]],
    background: &'a [f64],
    n_groups: usize,
}

impl Mixture<'_> {
    /// The estimate that starts from the first texts, softly at first, and the log-likelihood of all of them.
    fn fit(&self, softness: f32) -> (Scores, f64) {
        let mut scores = self.scores(&self.first_counts(), SEED_SMOOTHING);
        let mut likelihood = f64::NEG_INFINITY;
        for round in 0..SOFT_ROUNDS {
            let softness = if round < SOFT_ROUNDS / 2 { softness } else { 1.0 };
            let counts;
            (counts, likelihood) = self.soft_counts(&scores, softness);
            scores = self.scores(&counts, SMOOTHING);
        }
        (scores, likelihood)
    }

    fn scores(&self, counts: &[f64], smoothing: f64) -> Scores {
        Scores::smoothed(counts, self.background, self.n_groups, smoothing)
    }

    /// Counts `[n-grams, clusters]` of [`SEEDS`] texts per cluster; with few texts some are those of several clusters.
    fn first_counts(&self) -> Vec<f64> {
        let mut counts = vec![0.0; self.background.len() * self.n_groups];
        for (i, text) in self.texts.iter().cycle().take(SEEDS * self.n_groups).enumerate() {
            let group = i % self.n_groups;
            text.iter().for_each(|&gram| counts[gram as usize * self.n_groups + group] += 1.0);
        }
        counts
    }

    /// Counts in which a text belongs to every cluster in part, and the log-likelihood of the texts.
    fn soft_counts(&self, scores: &Scores, softness: f32) -> (Vec<f64>, f64) {
        let mut counts = vec![0.0; self.background.len() * self.n_groups];
        let mut likelihood = 0.0;
        let mut parts = Vec::new();
        for text in self.texts {
            scores.of(text, &mut parts);
            parts.iter_mut().for_each(|part| *part *= softness);
            likelihood += f64::from(softmax(&mut parts));
            for &gram in *text {
                let row = &mut counts[gram as usize * self.n_groups..][..self.n_groups];
                row.iter_mut().zip(&parts).for_each(|(count, part)| *count += f64::from(*part));
            }
        }
        (counts, likelihood)
    }
}

/// Scores become probabilities; gives the logarithm of what the exponentials summed to.
fn softmax(scores: &mut [f32]) -> f32 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|score| *score = (*score - most).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    most + sum.ln()
}

/// The cluster of each text, with at most `capacity` texts in one.
fn balanced(texts: &[Vec<u16>], scores: &Scores, n_groups: usize, capacity: usize) -> Vec<u32> {
    let mut of_text = Vec::new();
    let mut choices: Vec<Choice> = Vec::with_capacity(texts.len());
    for (text, grams) in texts.iter().enumerate() {
        scores.of(grams, &mut of_text);
        let best = best_of(&of_text, |_| true);
        let second = best_of(&of_text, |group| group != best as usize);
        let loss = of_text[best as usize] - of_text[second as usize];
        choices.push(Choice { text, best, loss });
    }
    choices.sort_by(|a, b| b.loss.total_cmp(&a.loss));
    let mut room = vec![capacity; n_groups];
    let mut groups = vec![0; texts.len()];
    for Choice { text, mut best, .. } in choices {
        if room[best as usize] == 0 {
            scores.of(&texts[text], &mut of_text);
            best = best_of(&of_text, |group| room[group] > 0);
        }
        room[best as usize] -= 1;
        groups[text] = best;
    }
    groups
}

/// What a text would choose.
struct Choice {
    text: usize,
    best: u32,
    /// Nats that the second best cluster loses.
    loss: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` texts of each of three languages, which share n-gram 0: 11 n-grams each.
    fn planted(n: usize) -> Vec<Vec<u16>> {
        (0..3 * n as u16).map(|i| [vec![0; 3], vec![1 + i % 3; 4], vec![4 + i % 3; 4]].concat()).collect()
    }

    fn sizes(groups: &[u32], n_groups: usize) -> Vec<usize> {
        (0..n_groups as u32).map(|group| groups.iter().filter(|&&other| other == group).count()).collect()
    }

    #[test]
    fn as_many_clusters_as_languages_are_the_languages() {
        let groups = find(&planted(50), 7, 3, &Streams::new(1));
        assert_eq!(sizes(&groups, 3), [50; 3]);
        assert!(groups.chunks(3).all(|chunk| chunk == &groups[..3]), "{groups:?}");
    }

    #[test]
    fn who_loses_most_chooses_first_and_a_full_cluster_takes_no_more() {
        // N-gram 0 speaks for cluster 0, n-gram 1 strongly so; n-gram 2 speaks for cluster 1.
        let counts = [4.0, 2.0, 4.0, 0.0, 0.0, 6.0];
        let scores = Scores::smoothed(&counts, &[6.0, 4.0, 6.0], 2, 1.0);
        let texts = [vec![0], vec![0], vec![], vec![1], vec![2], vec![1]];
        assert_eq!(balanced(&texts, &scores, 2, 6), [0, 0, 0, 0, 1, 0]);
        assert_eq!(balanced(&texts, &scores, 2, 3), [0, 1, 1, 0, 1, 0]);
    }

    #[test]
    fn no_cluster_is_beyond_its_capacity() {
        let mut texts = planted(40);
        texts.retain(|text| text[3] != 2);
        texts.extend(vec![vec![]; 20]);
        let largest =
            |n_groups| sizes(&find(&texts, 7, n_groups, &Streams::new(3)), n_groups).into_iter().max();
        assert_eq!([largest(1), largest(2)], [Some(100), Some(60)]);
        assert!(largest(8) <= Some(19) && largest(99) <= Some(2) && largest(1000) == Some(1));
    }

    #[test]
    fn probabilities_and_what_they_summed_to() {
        let mut scores = [2_f32.ln(), 6_f32.ln()];
        let sum = softmax(&mut scores);
        assert!((sum - 8_f32.ln()).abs() < 1e-6);
        assert!((scores[0] - 0.25).abs() < 1e-6 && (scores[1] - 0.75).abs() < 1e-6);
    }
}
