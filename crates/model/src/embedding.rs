//! Token embedding: the sum of a token's rows.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use moelt_kernels::sum_rows;
use moelt_schema::Streams;

use crate::{
    Mode, ModelInput,
    init::{SharedPart, normal, param, shared_rng},
};

/// A table of vectors; a token is the sum of its rows (its word's, and those of its subwords:
/// Bojanowski et al. 2017). Row 0 is never used and never trained.
#[derive(Module, Debug)]
pub struct TokenEmbedding {
    /// `[n_rows, d_model]`
    pub table: Param<Tensor<2>>,
}

impl TokenEmbedding {
    /// A table with rows from `N(0, std)`.
    pub fn new(n_rows: usize, d_model: usize, std: f64, streams: &Streams, device: &Device) -> Self {
        let mut values = normal(std, n_rows * d_model, &mut shared_rng(streams, SharedPart::Embedding));
        values[..d_model].fill(0.0);
        Self { table: param(values, [n_rows, d_model], device) }
    }

    /// In training each row of each token is left out with probability `row_dropout`, so that the rows of
    /// a word's parts learn to stand for words that training never saw.
    ///
    /// # Shapes
    /// - output: `[n_tokens, d_model]`, the real tokens end to end
    ///
    /// # Panics
    /// When a row is not in the table.
    pub fn forward(&self, input: &ModelInput, row_dropout: f64, mode: &mut Mode<'_>) -> Tensor<2> {
        let table = self.table.val();
        let [n_rows, _] = table.dims();
        assert!(
            input.bag_rows.iter().all(|row| (*row as usize) < n_rows),
            "a token's row lies outside the table of {n_rows} rows: another vocabulary?"
        );
        let Some(keep) = mode.keep(input.bag_rows.len(), row_dropout) else {
            return sum_rows(table, &input.bag_rows, &input.bag_tokens, input.n_tokens());
        };
        let kept = |all: &[u32]| -> Vec<u32> {
            all.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(one, _)| *one).collect()
        };
        sum_rows(table, &kept(&input.bag_rows), &kept(&input.bag_tokens), input.n_tokens())
    }

    /// A table of these rows alone, which are copied. On an autodiff device it has a gradient of its own.
    ///
    /// # Panics
    /// When a row is not in the table.
    pub(crate) fn with_rows(&self, rows: &[u32]) -> Self {
        let table = self.table.val();
        let (is_autodiff, is_trained) = (table.is_autodiff(), table.is_require_grad());
        let places: Vec<u32> = (0..rows.len() as u32).collect();
        let copied = sum_rows(table.inner(), rows, &places, rows.len());
        let copied = if is_autodiff { copied.autodiff() } else { copied };
        Self { table: Param::from_tensor(copied).set_require_grad(is_trained) }
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::Stream;

    use super::*;

    #[test]
    fn rows_are_dropped_one_by_one_and_not_scaled() {
        let device = Device::flex();
        let embedding = TokenEmbedding { table: param(vec![0.0, 1.0, 10.0], [3, 1], &device) };
        let input = ModelInput::new(&[1, 2].repeat(200), 200, 2, &[200]);
        let mut rng = Streams::new(1).rng(Stream::Dropout, 0);
        let sums = embedding.forward(&input, 0.5, &mut Mode::Train(&mut rng));
        let sums: Vec<f32> = sums.try_into_vec_as().unwrap();
        for possible in [0.0, 1.0, 10.0, 11.0] {
            let n = sums.iter().filter(|sum| **sum == possible).count();
            assert!((30..70).contains(&n), "{n} times {possible}");
        }
    }

    #[test]
    fn a_token_is_the_sum_of_its_rows() {
        let device = Device::flex();
        let table = vec![0.0, 0.0, 1.0, 2.0, 10.0, 20.0];
        let embedding = TokenEmbedding { table: param(table, [3, 2], &device) };
        let input = ModelInput::new(&[1, 2, 2, 0, 0, 0], 3, 2, &[3]);
        let out = embedding.forward(&input, 0.5, &mut Mode::Eval).try_into_vec_as::<f32>().unwrap();
        assert_eq!(out, [11.0, 22.0, 10.0, 20.0, 0.0, 0.0]);
    }
}
