//! Several encoded texts, end to end.

use crate::Encoded;

/// A batch as the model takes it: the tokens of all texts, one text after the other, without padding. A token is the
/// rows of the embedding table that are summed to it; it may have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    /// Tokens of each text.
    pub lengths: Vec<usize>,
    /// Rows of the embedding table, token by token.
    pub rows: Vec<u32>,
    /// For each of `rows`, the token it belongs to, counted over all texts.
    pub tokens: Vec<u32>,
    /// Groups of each text, the likeliest first; empty where experts are not assigned by them.
    pub groups: Vec<Vec<u32>>,
    /// Label of each text.
    pub labels: Vec<u32>,
    /// Where each text stands in its split.
    pub examples: Vec<usize>,
}

impl TokenBatch {
    /// Lays out `(index in the split, text, label)` in the order given.
    ///
    /// ```
    /// use moelt_data::{Encoded, TokenBatch};
    /// let (long, short) = (Encoded::from_tokens(&[vec![4], vec![5, 6]]), Encoded::from_tokens(&[vec![7]]));
    /// let batch = TokenBatch::new(&[(7, &long, 1), (3, &short, 0)]);
    /// assert_eq!((batch.rows, batch.tokens), (vec![4, 5, 6, 7], vec![0, 1, 1, 2]));
    /// ```
    ///
    /// # Panics
    /// When there are no texts.
    pub fn new(examples: &[(usize, &Encoded, u32)]) -> Self {
        assert!(!examples.is_empty(), "a batch needs at least one text");
        let tokens = examples.iter().flat_map(|(_, text, _)| text.tokens());
        let rows = (0..).zip(tokens).flat_map(|(token, rows)| rows.iter().map(move |row| (*row, token)));
        let (rows, tokens) = rows.unzip();
        Self {
            lengths: examples.iter().map(|(_, text, _)| text.n_tokens()).collect(),
            rows,
            tokens,
            groups: examples.iter().map(|(_, text, _)| text.groups().to_vec()).collect(),
            labels: examples.iter().map(|&(_, _, label)| label).collect(),
            examples: examples.iter().map(|&(index, _, _)| index).collect(),
        }
    }

    /// Texts.
    pub fn n_texts(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of the longest text.
    pub fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_different_length_and_width_lie_end_to_end() {
        let a = Encoded::from_tokens(&[vec![1, 2], vec![3]]);
        let b = Encoded::from_tokens(&[vec![4], vec![], vec![6]]);
        let batch = TokenBatch::new(&[(10, &a, 0), (20, &b, 2)]);
        assert_eq!((batch.n_texts(), batch.longest()), (2, 3));
        assert_eq!(batch.rows, [1, 2, 3, 4, 6]);
        assert_eq!(batch.tokens, [0, 0, 1, 2, 4]);
        assert_eq!((batch.lengths.as_slice(), batch.labels.as_slice()), (&[2, 3][..], &[0, 2][..]));
        assert_eq!(batch.examples, [10, 20]);
    }

    #[test]
    fn an_empty_text_keeps_one_token() {
        let batch = TokenBatch::new(&[(0, &Encoded::from_tokens(&[]), 0)]);
        assert_eq!((batch.rows.len(), batch.lengths.as_slice()), (0, &[1][..]));
    }
}
