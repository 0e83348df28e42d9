//! A batch as the model sees it: token ids and lengths, on the host.

/// A batch of token sequences. Each token is a bag of rows of the embedding table; row 0 is no row.
///
/// Everything up to pooling works on the real tokens of all sequences, laid end to end: there is no padding.
#[derive(Clone, Debug)]
pub struct ModelInput {
    lengths: Vec<usize>,
    /// Table rows of all real tokens.
    pub(crate) bag_rows: Vec<u32>,
    /// For each of `bag_rows`, the token it belongs to.
    pub(crate) bag_tokens: Vec<u32>,
    /// Groups of each sequence, the likeliest first; empty where experts are not assigned by them.
    groups: Vec<Vec<u32>>,
}

impl ModelInput {
    /// From tokens that lie end to end already.
    ///
    /// # Shapes
    /// - rows: rows of the embedding table, token by token, none of them 0
    /// - tokens: for each of `rows` the token it belongs to, counted over all sequences; a token may have no row
    /// - lengths: tokens of each sequence, at least 1
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn packed(rows: Vec<u32>, tokens: Vec<u32>, lengths: Vec<usize>) -> Self {
        assert_eq!(rows.len(), tokens.len(), "every row needs its token");
        assert!(lengths.iter().all(|n| *n > 0), "every sequence needs a token");
        let n_tokens: usize = lengths.iter().sum();
        assert!(tokens.iter().all(|token| (*token as usize) < n_tokens), "there are {n_tokens} tokens only");
        Self { lengths, bag_rows: rows, bag_tokens: tokens, groups: Vec::new() }
    }

    /// The same batch with the groups of each sequence, the likeliest first: layers whose experts are assigned need them.
    ///
    /// # Panics
    /// When there is not one list per sequence.
    #[must_use]
    pub fn in_groups(self, groups: Vec<Vec<u32>>) -> Self {
        assert_eq!(groups.len(), self.lengths.len(), "every sequence needs its groups");
        Self { groups, ..self }
    }

    /// The same batch by the rows that it uses, in the order in which they come: each row is named by its place among them.
    ///
    /// # Panics
    /// When a row is not one of `n_rows`.
    pub(crate) fn by_used_rows(&self, n_rows: usize) -> (Self, Vec<u32>) {
        const UNSEEN: u32 = u32::MAX;
        let (mut places, mut rows) = (vec![UNSEEN; n_rows], Vec::new());
        let place = |row: &u32| {
            let place = places.get_mut(*row as usize);
            let place = place.unwrap_or_else(|| {
                panic!("a token's row lies outside the table of {n_rows} rows: another vocabulary?")
            });
            if *place == UNSEEN {
                *place = rows.len() as u32;
                rows.push(*row);
            }
            *place
        };
        let bag_rows = self.bag_rows.iter().map(place).collect();
        let Self { lengths, bag_tokens, groups, .. } = self.clone();
        (Self { lengths, bag_rows, bag_tokens, groups }, rows)
    }

    /// The groups of each sequence.
    pub(crate) fn groups_of_sequences(&self) -> Vec<&[u32]> {
        self.groups.iter().map(Vec::as_slice).collect()
    }

    /// The groups of the sequence that each token belongs to.
    pub(crate) fn groups_of_tokens(&self) -> Vec<&[u32]> {
        if self.groups.iter().all(Vec::is_empty) {
            return Vec::new();
        }
        let sequences = self.groups.iter().zip(&self.lengths);
        sequences.flat_map(|(groups, length)| std::iter::repeat_n(groups.as_slice(), *length)).collect()
    }

    /// From padded ids. Padding is skipped.
    ///
    /// # Shapes
    /// - rows: `[lengths.len(), seq, rows_per_token]`, row-major; 0 where a token has fewer rows
    /// - lengths: tokens of each sequence, at least 1 and at most `seq`
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn new(rows: &[u32], seq: usize, rows_per_token: usize, lengths: &[usize]) -> Self {
        let stride = seq * rows_per_token;
        assert_eq!(
            rows.len(),
            lengths.len() * stride,
            "rows must be [{}, {seq}, {rows_per_token}]",
            lengths.len()
        );
        assert!(lengths.iter().all(|n| (1..=seq).contains(n)), "lengths must lie in 1..={seq}");
        let (mut bag_rows, mut bag_tokens, mut token) = (Vec::new(), Vec::new(), 0);
        for (sequence, length) in rows.chunks_exact(stride).zip(lengths) {
            for bag in sequence.chunks_exact(rows_per_token).take(*length) {
                for row in bag.iter().filter(|row| **row != 0) {
                    bag_rows.push(*row);
                    bag_tokens.push(token);
                }
                token += 1;
            }
        }
        Self::packed(bag_rows, bag_tokens, lengths.to_vec())
    }

    /// Sequences.
    pub fn batch(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Real tokens in all sequences.
    pub fn n_tokens(&self) -> usize {
        self.lengths.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_and_empty_places_vanish() {
        let rows = [5, 0, 6, 7, /**/ 8, 9, 0, 0];
        let input = ModelInput::new(&rows, 2, 2, &[2, 1]);
        assert_eq!(input.bag_rows, [5, 6, 7, 8, 9]);
        assert_eq!(input.bag_tokens, [0, 1, 1, 2, 2]);
        assert_eq!((input.batch(), input.n_tokens()), (2, 3));
    }

    #[test]
    fn used_rows_are_named_by_their_places() {
        let (input, rows) = ModelInput::new(&[7, 2, 7, 5], 2, 1, &[2, 2]).by_used_rows(8);
        assert_eq!((&input.bag_rows[..], &rows[..]), (&[0, 1, 0, 2][..], &[7, 2, 5][..]));
    }
}
