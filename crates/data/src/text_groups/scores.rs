//! From counts to log-probabilities.

/// Occurrences of n-grams, spread as over all groups together, that every group is taken to have besides its own. From
/// 20 to 1,000 it hardly matters to texts of a few words, of which thousands were counted.
pub(super) const SMOOTHING: f64 = 200.0;

/// How often each group holds each n-gram.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counts {
    /// Texts per group.
    pub(super) texts: Vec<u64>,
    /// Occurrences, `[n-grams, groups]`.
    pub(super) grams: Vec<u64>,
}

impl Counts {
    /// Counts texts, given as rows of n-grams with the group of each.
    pub(super) fn of(texts: &[Vec<u16>], groups: &[u32], n_grams: usize, n_groups: usize) -> Self {
        let mut counts = Self { texts: vec![0; n_groups], grams: vec![0; n_grams * n_groups] };
        for (text, &group) in texts.iter().zip(groups) {
            let group = group as usize;
            counts.texts[group] += 1;
            text.iter().for_each(|&gram| counts.grams[gram as usize * n_groups + group] += 1);
        }
        counts
    }
}

/// Log-probabilities, in nats.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scores {
    /// Of each group.
    groups: Vec<f32>,
    /// Of each n-gram in each group, `[n-grams, groups]`.
    grams: Vec<f32>,
}

impl Scores {
    /// Groups are as probable as they are large.
    pub(super) fn with_shares(counts: &Counts) -> Self {
        let all: u64 = counts.texts.iter().sum();
        let share = |&texts: &u64| (texts as f64 / all.max(1) as f64).ln() as f32;
        let groups = counts.texts.iter().map(share).collect();
        Self { groups, ..Self::equal_groups(counts) }
    }

    /// Groups are equally probable.
    pub(super) fn equal_groups(counts: &Counts) -> Self {
        let n_groups = counts.texts.len();
        let grams: Vec<f64> = counts.grams.iter().map(|&count| count as f64).collect();
        let background: Vec<f64> = grams.chunks(n_groups).map(|row| row.iter().sum()).collect();
        Self::smoothed(&grams, &background, n_groups, SMOOTHING)
    }

    /// Equally probable groups, from occurrences `[n-grams, groups]` that need not be whole and from those of all texts,
    /// which are above 0.
    pub(super) fn smoothed(grams: &[f64], background: &[f64], n_groups: usize, smoothing: f64) -> Self {
        let mut totals = vec![smoothing; n_groups];
        for row in grams.chunks(n_groups) {
            totals.iter_mut().zip(row).for_each(|(total, count)| *total += count);
        }
        let all: f64 = background.iter().sum();
        let rows = grams.chunks(n_groups).zip(background);
        let probability = |(row, seen): (&[f64], &f64)| -> Vec<f32> {
            let prior = smoothing * seen / all;
            row.iter().zip(&totals).map(|(count, total)| ((count + prior) / total).ln() as f32).collect()
        };
        Self { groups: vec![0.0; n_groups], grams: rows.flat_map(probability).collect() }
    }

    /// `ln p(group) + ln p(text | group)` of each group, into `scores`.
    pub(super) fn of(&self, text: &[u16], scores: &mut Vec<f32>) {
        let n_groups = self.groups.len();
        scores.clone_from(&self.groups);
        for &gram in text {
            let row = &self.grams[gram as usize * n_groups..][..n_groups];
            scores.iter_mut().zip(row).for_each(|(score, gram)| *score += gram);
        }
    }

    /// The most probable group; the lower one on a tie.
    pub(super) fn best(&self, text: &[u16]) -> u32 {
        let mut scores = Vec::new();
        self.of(text, &mut scores);
        best_of(&scores, |_| true)
    }
}

/// The place of the greatest score among those that `may` be; the lower one on a tie.
pub(super) fn best_of(scores: &[f32], may: impl Fn(usize) -> bool) -> u32 {
    let mut best = None;
    for (group, &score) in scores.iter().enumerate().filter(|(group, _)| may(*group)) {
        if best.is_none_or(|(_, most)| score > most) {
            best = Some((group, score));
        }
    }
    best.map_or(0, |(group, _)| group as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f32, b: f64) -> bool {
        (f64::from(a) - b).abs() < 1e-5
    }

    #[test]
    fn a_hand_worked_naive_bayes() {
        // Three texts `x x`, `x y`, `x` in group 0, one text `y y y` in group 1; x is n-gram 0.
        let texts = [vec![0, 0], vec![0, 1], vec![0], vec![1, 1, 1]];
        let counts = Counts::of(&texts, &[0, 0, 0, 1], 2, 2);
        assert_eq!(counts, Counts { texts: vec![3, 1], grams: vec![4, 0, 1, 3] });
        // Half of all occurrences are x. p(x | 0) = (4 + 200 / 2) / (5 + 200), p(y | 0) = 101 / 205, and so on.
        let scores = Scores::with_shares(&counts);
        let mut of_text = Vec::new();
        scores.of(&[0, 1, 1], &mut of_text);
        let expected = |share: f64, x: f64, y: f64| share.ln() + x.ln() + 2.0 * y.ln();
        assert!(close(of_text[0], expected(0.75, 104.0 / 205.0, 101.0 / 205.0)), "{of_text:?}");
        assert!(close(of_text[1], expected(0.25, 100.0 / 203.0, 103.0 / 203.0)), "{of_text:?}");
        // y speaks for group 1 by ln(103/203 · 205/101) = 0.0294 nats each; the shares for group 0 by ln 3 = 1.0986.
        assert_eq!((scores.best(&[1; 37]), scores.best(&[1; 38]), scores.best(&[])), (0, 1, 0));
    }

    #[test]
    fn the_lower_group_on_a_tie_and_an_empty_one_never() {
        let counts = Counts::of(&[vec![0], vec![0]], &[1, 2], 1, 4);
        assert_eq!(Scores::with_shares(&counts).best(&[0]), 1);
        let nothing = Counts::of(&[], &[], 1, 3);
        assert_eq!(Scores::with_shares(&nothing).best(&[]), 0);
        assert_eq!(best_of(&[1.0, 3.0, 3.0, 9.0], |group| group < 3), 1);
    }
}
