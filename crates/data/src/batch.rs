//! Several encoded texts side by side, padded to the longest.

use crate::Encoded;

/// A batch as the model takes it: flat arrays that become tensors without further work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    /// Texts, B.
    pub batch: usize,
    /// Tokens of the longest text, S.
    pub seq: usize,
    /// Places per token, P.
    pub rows_per_token: usize,
    /// Rows of the embedding table, `[B, S, P]`; padding and unused places are 0.
    pub rows: Vec<u32>,
    /// Tokens of each text, `[B]`.
    pub lengths: Vec<usize>,
    /// Label of each text, `[B]`.
    pub labels: Vec<u32>,
    /// Where each text stands in its split, `[B]`.
    pub examples: Vec<usize>,
}

impl TokenBatch {
    /// Lays out `(index in the split, text, label)` in the order given.
    ///
    /// ```
    /// use moelt_data::{Encoded, TokenBatch};
    /// let (long, short) = (Encoded::from_tokens(&[vec![4], vec![5]]), Encoded::from_tokens(&[vec![6]]));
    /// let batch = TokenBatch::new(&[(7, &long, 1), (3, &short, 0)]);
    /// assert_eq!(batch.rows, [4, 5, 6, 0]);
    /// ```
    ///
    /// # Panics
    /// When there are no texts.
    pub fn new(examples: &[(usize, &Encoded, u32)]) -> Self {
        assert!(!examples.is_empty(), "a batch needs at least one text");
        let widest = |size: fn(&Encoded) -> usize| examples.iter().map(|&(_, text, _)| size(text)).max();
        let seq = widest(Encoded::n_tokens).unwrap_or(0);
        let rows_per_token = widest(Encoded::rows_per_token).unwrap_or(0);
        let mut rows = vec![0; examples.len() * seq * rows_per_token];
        for ((_, text, _), places) in examples.iter().zip(rows.chunks_exact_mut(seq * rows_per_token)) {
            for (token, place) in text.tokens().zip(places.chunks_exact_mut(rows_per_token)) {
                place[..token.len()].copy_from_slice(token);
            }
        }
        Self {
            batch: examples.len(),
            seq,
            rows_per_token,
            rows,
            lengths: examples.iter().map(|(_, text, _)| text.n_tokens()).collect(),
            labels: examples.iter().map(|&(_, _, label)| label).collect(),
            examples: examples.iter().map(|&(index, _, _)| index).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_tokens_and_places() {
        let a = Encoded::from_tokens(&[vec![1, 2], vec![3]]);
        let b = Encoded::from_tokens(&[vec![4], vec![5], vec![6]]);
        let batch = TokenBatch::new(&[(10, &a, 0), (20, &b, 2)]);
        assert_eq!((batch.batch, batch.seq, batch.rows_per_token), (2, 3, 2));
        assert_eq!(batch.rows, [1, 2, 3, 0, 0, 0, 4, 0, 5, 0, 6, 0]);
        assert_eq!((batch.lengths.as_slice(), batch.labels.as_slice()), (&[2, 3][..], &[0, 2][..]));
        assert_eq!(batch.examples, [10, 20]);
    }

    #[test]
    fn an_empty_text_keeps_one_token() {
        let batch = TokenBatch::new(&[(0, &Encoded::from_tokens(&[]), 0)]);
        assert_eq!((batch.rows.as_slice(), batch.lengths.as_slice()), (&[0][..], &[1][..]));
    }
}
