//! In which order texts are seen, and which of them share a batch.
//!
//! Texts of like length belong together, or most of a batch is padding. For training the order must be
//! random all the same, so lengths are sorted only inside pools of [`POOL`] batches.

use moelt_schema::{Stream, Streams};
use rand::seq::SliceRandom;

use crate::{Encoded, TokenBatch};

/// Batches per pool: enough for little padding, few enough that an epoch's order stays random.
const POOL: usize = 50;

/// The training batches of a run: what step `n` sees depends on the seed and `n` alone.
///
/// An epoch shows every example exactly once; its last batch may be smaller, and may come at any place. Where the
/// data drifts, the steps of each [`Segment`] pass over its examples alone, epoch after epoch, the last of
/// which may be cut short.
///
/// ```
/// use moelt_data::{Batches, Encoded};
/// use moelt_schema::Streams;
/// let texts = (1..=5).map(|row| Encoded::from_tokens(&[vec![row]])).collect();
/// let mut batches = Batches::new(texts, vec![0, 1, 0, 1, 0], 2, Streams::new(7));
/// assert_eq!(batches.per_epoch(), 3);
/// let fourth = batches.at(4);
/// batches.at(0);
/// assert_eq!(batches.at(4), fourth);
/// ```
#[derive(Clone, Debug)]
pub struct Batches {
    texts: Vec<Encoded>,
    labels: Vec<u32>,
    batch_size: usize,
    streams: Streams,
    segments: Vec<Segment>,
    current: Option<Epoch>,
}

/// The training examples that the steps from one on see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The first of these steps, counted from 0.
    pub from: u64,
    /// Where the examples stand in the training split.
    pub examples: Vec<usize>,
}

/// The batches of one epoch, as indices of texts.
#[derive(Clone, Debug)]
struct Epoch {
    number: u64,
    batches: Vec<Vec<usize>>,
}

impl Batches {
    /// Batches of `batch_size` texts in the order of `streams`.
    ///
    /// # Panics
    /// When there are no texts, not as many labels as texts, or `batch_size` is 0.
    pub fn new(texts: Vec<Encoded>, labels: Vec<u32>, batch_size: usize, streams: Streams) -> Self {
        let all = Segment { from: 0, examples: (0..texts.len()).collect() };
        Self::drifting(texts, labels, batch_size, streams, vec![all])
    }

    /// The same, with steps that see only the examples of their segment. Segments are in order.
    ///
    /// # Panics
    /// When a segment has no examples, the first one does not begin at step 0, or as [`Self::new`].
    pub fn drifting(
        texts: Vec<Encoded>,
        labels: Vec<u32>,
        batch_size: usize,
        streams: Streams,
        segments: Vec<Segment>,
    ) -> Self {
        check(&texts, &labels, batch_size);
        let filled = segments.iter().all(|segment| !segment.examples.is_empty());
        assert!(filled, "training needs at least one text");
        assert_eq!(segments.first().map(|first| first.from), Some(0), "the first step is in no segment");
        assert!(segments.is_sorted_by(|a, b| a.from < b.from), "segments must be in order");
        Self { texts, labels, batch_size, streams, segments, current: None }
    }

    /// Batches for a rehearsal of what comes after `step`: the texts of that step's segment alone, as if the data drifted
    /// no more, in an order of its own, so that what is rehearsed is not the coming steps themselves with their luck.
    #[must_use]
    pub fn rehearsal(mut self, step: u64) -> Self {
        let (.., segment) = self.place(step.saturating_sub(1));
        self.segments.truncate(segment + 1);
        Self { streams: self.streams.rehearsal(step), current: None, ..self }
    }

    /// The same texts at the same steps in another order, one for each number.
    #[must_use]
    pub fn reordered(self, order: u64) -> Self {
        Self { streams: self.streams.rehearsal(order), current: None, ..self }
    }

    /// The texts with their labels, in the order of the training split.
    pub fn examples(&self) -> (&[Encoded], &[u32]) {
        (&self.texts, &self.labels)
    }

    /// Batches in a pass over all texts.
    pub fn per_epoch(&self) -> u64 {
        self.in_pass(self.texts.len())
    }

    /// The batch of a step, counted from 0 over all epochs. Cheap within an epoch; a step of another
    /// epoch has that epoch's order drawn first.
    pub fn at(&mut self, step: u64) -> TokenBatch {
        let (number, in_epoch, segment) = self.place(step);
        let epoch = match self.current.take() {
            Some(epoch) if epoch.number == number => epoch,
            _ => Epoch { number, batches: self.order(number, &self.segments[segment].examples) },
        };
        let batch = assemble(&epoch.batches[in_epoch], &self.texts, &self.labels);
        self.current = Some(epoch);
        batch
    }

    /// The epoch of a step, counted over all segments, the step's place in it, and the segment.
    fn place(&self, step: u64) -> (u64, usize, usize) {
        let mut before = 0;
        for (i, segment) in self.segments.iter().enumerate() {
            let (length, step) = (self.in_pass(segment.examples.len()), step - segment.from);
            match self.segments.get(i + 1).map(|next| next.from - segment.from) {
                Some(steps) if steps <= step => before += steps.div_ceil(length),
                _ => return (before + step / length, (step % length) as usize, i),
            }
        }
        unreachable!("the last segment has no end")
    }

    /// Batches in a pass over so many texts.
    fn in_pass(&self, texts: usize) -> u64 {
        texts.div_ceil(self.batch_size) as u64
    }

    fn order(&self, epoch: u64, examples: &[usize]) -> Vec<Vec<usize>> {
        let mut rng = self.streams.rng(Stream::DataOrder, epoch);
        let mut order = examples.to_vec();
        order.shuffle(&mut rng);
        let mut batches = cut(order, &self.texts, self.batch_size, POOL * self.batch_size);
        batches.shuffle(&mut rng);
        batches
    }
}

/// Batches for evaluation: every text once, shortest first. `examples` says which text is where.
///
/// ```
/// use moelt_data::{Encoded, in_order};
/// let text = |n| Encoded::from_tokens(&vec![vec![1]; n]);
/// let batches = in_order(&[text(3), text(1), text(2)], &[0, 1, 1], 2);
/// assert_eq!(batches[0].examples, [1, 2]);
/// assert_eq!(batches[1].examples, [0]);
/// ```
///
/// # Panics
/// When there are not as many labels as texts, or `batch_size` is 0.
pub fn in_order(texts: &[Encoded], labels: &[u32], batch_size: usize) -> Vec<TokenBatch> {
    check(texts, labels, batch_size);
    let order = (0..texts.len()).collect();
    let batches = cut(order, texts, batch_size, texts.len().max(1));
    batches.iter().map(|batch| assemble(batch, texts, labels)).collect()
}

fn check(texts: &[Encoded], labels: &[u32], batch_size: usize) {
    assert_eq!(texts.len(), labels.len(), "every text needs a label");
    assert!(batch_size > 0, "a batch needs at least one text");
}

/// Sorts `order` by length inside pools of `pool` texts, ties as they come, and cuts it into batches.
fn cut(mut order: Vec<usize>, texts: &[Encoded], batch_size: usize, pool: usize) -> Vec<Vec<usize>> {
    for pool in order.chunks_mut(pool) {
        pool.sort_by_key(|&i| texts[i].n_tokens());
    }
    order.chunks(batch_size).map(<[usize]>::to_vec).collect()
}

fn assemble(batch: &[usize], texts: &[Encoded], labels: &[u32]) -> TokenBatch {
    let examples: Vec<_> = batch.iter().map(|&i| (i, &texts[i], labels[i])).collect();
    TokenBatch::new(&examples)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(lengths: &[usize]) -> Vec<Encoded> {
        lengths.iter().map(|&n| Encoded::from_tokens(&vec![vec![1]; n])).collect()
    }

    fn batches(lengths: &[usize], batch_size: usize, seed: u64) -> Batches {
        let labels = (0..lengths.len() as u32).collect();
        Batches::new(texts(lengths), labels, batch_size, Streams::new(seed))
    }

    #[test]
    fn seeds_and_epochs_differ() {
        let lengths = vec![1; 40];
        let seen = |seed, step| batches(&lengths, 40, seed).at(step).examples;
        assert_eq!(seen(1, 0), seen(1, 0));
        assert_ne!(seen(1, 0), seen(1, 1));
        assert_ne!(seen(1, 0), seen(2, 0));
    }

    #[test]
    fn pools_keep_padding_low_and_order_random() {
        let lengths: Vec<usize> = (0..4000).map(|i| 1 + i * 7919 % 40).collect();
        let mut batches = batches(&lengths, 16, 3);
        let all: Vec<TokenBatch> = (0..batches.per_epoch()).map(|step| batches.at(step)).collect();
        let places: usize = all.iter().map(|b| b.n_texts() * b.longest()).sum();
        let tokens: usize = lengths.iter().sum();
        assert!((places as f64) < 1.1 * tokens as f64, "{places} places for {tokens} tokens");
        let first: usize = all[..125].iter().map(|b| b.longest()).sum();
        let second: usize = all[125..].iter().map(|b| b.longest()).sum();
        assert!(first.abs_diff(second) < 600, "short and long batches are mixed: {first}, {second}");
    }

    #[test]
    fn segments_pass_over_their_own_examples_and_share_no_epoch() {
        let segment = |from, examples: std::ops::Range<usize>| Segment { from, examples: examples.collect() };
        let segments = vec![segment(0, 0..4), segment(3, 2..12), segment(8, 0..4)];
        let new = || Batches::drifting(texts(&[1; 12]), vec![0; 12], 2, Streams::new(1), segments.clone());
        let mut batches = new();
        let epochs: Vec<u64> = (0..12).map(|step| batches.place(step).0).collect();
        assert_eq!(epochs, [0, 0, 1, 2, 2, 2, 2, 2, 3, 3, 4, 4]);
        let walked: Vec<TokenBatch> = (0..12).map(|step| batches.at(step)).collect();
        assert!((0..12).rev().all(|step| batches.at(step) == walked[step as usize]));
        assert!((0..12).all(|step| new().at(step) == walked[step as usize]));
        assert_eq!(batches.per_epoch(), 6);
        // After three steps the second segment has not been seen yet, after four it has.
        for (step, examples) in [(0, 0..4), (3, 0..4), (4, 2..12), (8, 2..12), (9, 0..4)] {
            let mut rehearsal = new().rehearsal(step);
            let mut seen: Vec<usize> = (20..32).flat_map(|later| rehearsal.at(later).examples).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, examples.collect::<Vec<_>>(), "after {step} steps");
        }
    }

    #[test]
    fn a_rehearsal_sees_the_same_texts_in_another_order() {
        let batches = || Batches::new(texts(&[1; 64]), vec![0; 64], 2, Streams::new(1));
        let epoch = |mut batches: Batches| -> Vec<usize> {
            (0..32).flat_map(|step| batches.at(step).examples).collect()
        };
        let (run, rehearsals) = (epoch(batches()), [1, 1, 2].map(|step| epoch(batches().rehearsal(step))));
        assert_eq!(rehearsals[0], rehearsals[1]);
        assert_ne!(rehearsals[0], rehearsals[2]);
        for rehearsal in rehearsals {
            assert_ne!(rehearsal, run);
            let [mut seen, mut all] = [rehearsal, run.clone()];
            seen.sort_unstable();
            all.sort_unstable();
            assert_eq!(seen, all);
        }
    }

    /// Whichever number an order has, a step sees the texts of its own stretch.
    #[test]
    fn another_order_keeps_to_the_stretch() {
        let segment = |from, examples: std::ops::Range<usize>| Segment { from, examples: examples.collect() };
        let segments = vec![segment(0, 0..32), segment(16, 32..64)];
        let of = |order| {
            let batches =
                Batches::drifting(texts(&[1; 64]), vec![0; 64], 2, Streams::new(1), segments.clone());
            let mut batches = batches.reordered(order);
            (16..32).flat_map(|step| batches.at(step).examples).collect::<Vec<_>>()
        };
        let [one, two] = [1, 2].map(of);
        assert!(one.iter().chain(&two).all(|example| *example >= 32) && one != two);
    }

    #[test]
    fn evaluation_of_nothing_is_nothing() {
        assert!(in_order(&[], &[], 4).is_empty());
    }

    proptest! {
        #[test]
        fn every_example_once_an_epoch(
            lengths in prop::collection::vec(1usize..9, 1..60),
            batch_size in 1usize..9,
            seed: u64,
            epoch in 0u64..3,
        ) {
            let mut batches = batches(&lengths, batch_size, seed);
            let n = batches.per_epoch();
            let mut seen: Vec<usize> = Vec::new();
            for step in epoch * n..(epoch + 1) * n {
                let batch = batches.at(step);
                prop_assert!(batch.n_texts() <= batch_size);
                prop_assert!(batch.examples.iter().zip(&batch.labels).all(|(&i, &label)| i as u32 == label));
                seen.extend(batch.examples);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        }

        #[test]
        fn a_batch_depends_on_seed_and_step_alone(
            lengths in prop::collection::vec(1usize..9, 1..60),
            seed: u64,
            steps in prop::collection::vec(0u64..40, 1..12),
        ) {
            let mut walked = batches(&lengths, 4, seed);
            for step in steps {
                prop_assert_eq!(walked.at(step), batches(&lengths, 4, seed).at(step));
            }
        }

        #[test]
        fn evaluation_sees_every_text_once(
            lengths in prop::collection::vec(1usize..9, 0..40),
            batch_size in 1usize..9,
        ) {
            let labels = vec![0; lengths.len()];
            let batches = in_order(&texts(&lengths), &labels, batch_size);
            let order: Vec<usize> = batches.iter().flat_map(|b| b.examples.clone()).collect();
            prop_assert!(order.is_sorted_by_key(|&i| lengths[i]));
            let mut sorted = order;
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
