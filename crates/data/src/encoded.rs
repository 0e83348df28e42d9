//! A text as tokens, each of which is a few rows of the embedding table.

use serde::{Deserialize, Serialize};

/// A text ready for the embedding table.
///
/// A token is a set of rows whose vectors are summed: the word's own and those of its parts. It may have none, and its
/// vector is zero then. An empty text is one token without rows, so that every text has a length of at least 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoded {
    /// Token after token.
    rows: Vec<u32>,
    /// Where each token ends in `rows`.
    ends: Vec<u32>,
    /// The groups that it may belong to, the likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<u32>,
}

impl Encoded {
    /// Lays out tokens given as their rows.
    ///
    /// ```
    /// use moelt_data::Encoded;
    /// let text = Encoded::from_tokens(&[vec![5], vec![2, 9]]);
    /// assert_eq!((text.n_tokens(), text.token(1)), (2, &[2, 9][..]));
    /// ```
    pub fn from_tokens(tokens: &[Vec<u32>]) -> Self {
        let tokens = if tokens.is_empty() { &[Vec::new()][..] } else { tokens };
        let mut end = 0;
        let ends = tokens.iter().map(|token| {
            end += token.len() as u32;
            end
        });
        Self { ends: ends.collect(), rows: tokens.concat(), groups: Vec::new() }
    }

    /// The same text with the groups that it may belong to, the likeliest first: by them experts are assigned where no
    /// router learns the way.
    #[must_use]
    pub fn in_groups(self, groups: Vec<u32>) -> Self {
        Self { groups, ..self }
    }

    /// The groups that it may belong to, the likeliest first; empty where experts are not assigned.
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Whether it is a text of a table with so many rows: one that was read from a file may be none.
    pub fn fits(&self, n_rows: usize) -> bool {
        let ends =
            self.ends.is_sorted() && self.ends.last().is_some_and(|end| *end as usize == self.rows.len());
        ends && self.rows.iter().all(|row| (*row as usize) < n_rows)
    }

    /// The rows of each token. Inverse of [`Self::from_tokens`].
    pub fn to_tokens(&self) -> Vec<Vec<u32>> {
        self.tokens().map(<[u32]>::to_vec).collect()
    }

    /// Tokens, at least 1.
    pub fn n_tokens(&self) -> usize {
        self.ends.len()
    }

    /// The rows of token `i`.
    ///
    /// # Panics
    /// When there is no such token.
    pub fn token(&self, i: usize) -> &[u32] {
        let from = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.rows[from as usize..self.ends[i] as usize]
    }

    /// All tokens in order.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.n_tokens()).map(|i| self.token(i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_being_laid_out() {
        let tokens = vec![vec![3, 1], vec![], vec![7]];
        let text = Encoded::from_tokens(&tokens);
        assert_eq!([text.token(0), text.token(1), text.token(2)], [&[3, 1][..], &[], &[7]]);
        assert_eq!(text.to_tokens(), tokens);
    }

    #[test]
    fn what_is_no_text_of_the_table_does_not_fit() {
        let text = Encoded::from_tokens(&[vec![3, 1], vec![7]]);
        assert!(text.fits(8) && !text.fits(7));
        let read = |json: &str| serde_json::from_str::<Encoded>(json).unwrap();
        assert_eq!(read(&serde_json::to_string(&text).unwrap()), text);
        for (rows, ends) in [("[3,1]", "[2,1]"), ("[3,1]", "[1]"), ("[3]", "[2]"), ("[]", "[]")] {
            assert!(!read(&format!("{{\"rows\":{rows},\"ends\":{ends}}}")).fits(8), "{rows} {ends}");
        }
    }

    #[test]
    fn an_empty_text_is_one_token_without_rows() {
        let text = Encoded::from_tokens(&[]);
        assert_eq!((text.n_tokens(), text.token(0)), (1, &[][..]));
        assert_eq!(Encoded::from_tokens(&text.to_tokens()), text);
    }
}
