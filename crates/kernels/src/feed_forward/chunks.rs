//! The order in which experts compute: chunks of tokens of one expert.

use std::ops::Range;

/// The most pairs of a chunk. Fewer would read an expert's weights more often for each token; more would leave threads idle
/// when one expert has most of the tokens.
const LONGEST: usize = 512;

/// (token, choice) pairs by experts, in both directions.
#[derive(Debug)]
pub(super) struct Chunks {
    /// Choices of each token.
    pub(super) top_k: usize,
    /// Experts in order; an expert's pairs in token order.
    pub(super) all: Vec<Chunk>,
    /// The chunks of each expert; none where it has no tokens.
    pub(super) of_expert: Vec<Range<usize>>,
    /// For every pair where it is computed.
    pub(super) places: Vec<Place>,
}

/// Pairs of one expert that are computed together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) expert: usize,
    /// `token · top_k + choice`, one at least.
    pub(super) pairs: Vec<u32>,
}

/// Where a pair is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    chunk: u32,
    row: u32,
}

impl Chunks {
    /// Chunks of at most [`LONGEST`] pairs. They follow from the choices alone, so that what is summed over them does not
    /// depend on the number of threads.
    pub(super) fn new(expert_indices: &[u32], n_experts: usize, top_k: usize) -> Self {
        let mut queues: Vec<Vec<u32>> = vec![Vec::new(); n_experts];
        for (pair, expert) in (0..).zip(expert_indices) {
            queues[*expert as usize].push(pair);
        }
        let (mut all, mut of_expert) = (Vec::new(), Vec::with_capacity(n_experts));
        for (expert, queue) in queues.iter().enumerate() {
            let start = all.len();
            all.extend(queue.chunks(LONGEST).map(|pairs| Chunk { expert, pairs: pairs.to_vec() }));
            of_expert.push(start..all.len());
        }
        let mut places = vec![Place::default(); expert_indices.len()];
        for (chunk, Chunk { pairs, .. }) in (0..).zip(&all) {
            for (row, pair) in (0..).zip(pairs) {
                places[*pair as usize] = Place { chunk, row };
            }
        }
        Self { top_k, all, of_expert, places }
    }
}

impl Place {
    /// The row of this pair in the rows of all chunks, each of `width` values.
    pub(super) fn row_of<'a>(&self, chunks: &[&'a [f32]], width: usize) -> &'a [f32] {
        &chunks[self.chunk as usize][self.row as usize * width..][..width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_runs_of_two_choices() {
        // Token 0 goes to experts 2 and 0, token 1 to 0 and 2; expert 1 has none.
        let chunks = Chunks::new(&[2, 0, 0, 2], 3, 2);
        let chunk = |expert, pairs: [u32; 2]| Chunk { expert, pairs: pairs.to_vec() };
        assert_eq!(chunks.top_k, 2);
        assert_eq!(chunks.all, [chunk(0, [1, 2]), chunk(2, [0, 3])]);
        assert_eq!(chunks.of_expert, [0..1, 1..1, 1..2]);
        let rows: [&[f32]; 2] = [&[1.0, 2.0], &[0.0, 3.0]];
        let pairs: Vec<f32> =
            chunks.places.iter().flat_map(|place| place.row_of(&rows, 1)).copied().collect();
        assert_eq!(pairs, [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_long_queue_is_divided() {
        let chunks = Chunks::new(&[1; 2 * LONGEST + 1], 2, 1);
        assert_eq!(chunks.of_expert, [0..0, 0..3]);
        assert_eq!(
            chunks.all.iter().map(|chunk| chunk.pairs.len()).collect::<Vec<_>>(),
            [LONGEST, LONGEST, 1]
        );
        assert_eq!(chunks.places[LONGEST + 3], Place { chunk: 1, row: 3 });
    }

    #[test]
    fn no_tokens_are_no_runs() {
        let chunks = Chunks::new(&[], 2, 1);
        assert_eq!((chunks.top_k, chunks.all.len(), chunks.of_expert), (1, 0, vec![0..0, 0..0]));
    }
}
