//! A text as tokens, each of which is a few rows of the embedding table.

/// A text ready for the embedding table.
///
/// A token is a set of rows whose vectors are summed: the word's own and those of its parts. All tokens
/// of a text take the same number of places; unused places hold row 0, whose vector is zero. An empty
/// text is one token without rows, so that every text has a length of at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    rows: Vec<u32>,
    rows_per_token: usize,
}

impl Encoded {
    /// Packs tokens given as their rows, with as many places as the longest needs.
    ///
    /// ```
    /// use moelt_data::Encoded;
    /// let text = Encoded::from_tokens(&[vec![5], vec![2, 9]]);
    /// assert_eq!((text.n_tokens(), text.rows_per_token()), (2, 2));
    /// assert_eq!(text.token(0), [5, 0]);
    /// ```
    pub fn from_tokens(tokens: &[Vec<u32>]) -> Self {
        let rows_per_token = tokens.iter().map(Vec::len).max().unwrap_or(0).max(1);
        Self::pack(tokens, rows_per_token)
    }

    /// Packs tokens into `rows_per_token` places each.
    ///
    /// # Panics
    /// When a token has more rows than that.
    pub(crate) fn pack(tokens: &[Vec<u32>], rows_per_token: usize) -> Self {
        let mut rows = vec![0; tokens.len().max(1) * rows_per_token];
        for (places, token) in rows.chunks_exact_mut(rows_per_token).zip(tokens) {
            places[..token.len()].copy_from_slice(token);
        }
        Self { rows, rows_per_token }
    }

    /// The rows of each token, without the places that are unused. Inverse of [`Self::from_tokens`].
    pub fn to_tokens(&self) -> Vec<Vec<u32>> {
        self.tokens().map(|token| token.iter().copied().filter(|&row| row != 0).collect()).collect()
    }

    /// Tokens, at least 1.
    pub fn n_tokens(&self) -> usize {
        self.rows.len() / self.rows_per_token
    }

    /// Places per token, P.
    pub fn rows_per_token(&self) -> usize {
        self.rows_per_token
    }

    /// The P places of token `i`; unused ones are 0.
    ///
    /// # Panics
    /// When there is no such token.
    pub fn token(&self, i: usize) -> &[u32] {
        &self.rows[i * self.rows_per_token..][..self.rows_per_token]
    }

    /// All tokens in order.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &[u32]> {
        self.rows.chunks_exact(self.rows_per_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        let tokens = vec![vec![3, 1], vec![], vec![7]];
        let text = Encoded::pack(&tokens, 4);
        assert_eq!(text.token(0), [3, 1, 0, 0]);
        assert_eq!(text.token(1), [0; 4]);
        assert_eq!(text.to_tokens(), tokens);
        assert_eq!(Encoded::from_tokens(&tokens).to_tokens(), tokens);
    }

    #[test]
    fn an_empty_text_is_one_token_without_rows() {
        let text = Encoded::from_tokens(&[]);
        assert_eq!(text.n_tokens(), 1);
        assert_eq!(text.token(0), [0]);
        assert_eq!(Encoded::from_tokens(&text.to_tokens()), text);
    }
}
