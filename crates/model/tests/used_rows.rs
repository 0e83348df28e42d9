//! A model of the rows that a batch uses says the same of it, and its table has the gradient of these rows.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::{Device, Tensor};
use common::{TOP_K, model, params};
use moelt_model::{Classifier, Mode, ModelInput};
use moelt_schema::{Stream, Streams};

/// Row 7 twice, 2 and 5; two rows in the second token.
fn input() -> ModelInput {
    ModelInput::new(&[7, 0, 2, 7, 5, 0, 0, 0], 2, 2, &[2, 1])
}

/// Logits with the noise of a step, and the gradients of the embedding table and of a bias.
fn pass(model: &Classifier, input: &ModelInput) -> [Vec<f32>; 3] {
    let host = |tensor: Tensor<2>| tensor.inner().try_into_vec_as::<f32>().unwrap();
    let logits = model.forward(input, Mode::Train(&mut Streams::new(1).rng(Stream::Dropout, 0))).logits;
    let gradients = (logits.clone() * logits.clone().exp()).sum().backward();
    let of_bias = model.layer(moelt_schema::LayerId(0)).experts.b_out.val().grad(&gradients).unwrap();
    [host(logits), host(model.embedding().table.val().grad(&gradients).unwrap()), host(of_bias)]
}

#[test]
fn it_says_the_same_and_its_gradient_is_that_of_the_rows() {
    let model = model(TOP_K, &Device::flex().autodiff());
    let (small, places, rows) = model.with_used_rows(&input());
    assert_eq!(rows, [7, 2, 5]);
    let ([logits, table, bias], [small_logits, small_table, small_bias]) =
        (pass(&model, &input()), pass(&small, &places));
    assert_eq!((small_logits, small_bias), (logits, bias));
    for (row, small) in rows.iter().zip(small_table.chunks_exact(5)) {
        assert_eq!(small, &table[*row as usize * 5..][..5]);
    }
    let unused = (0..9).filter(|row| !rows.contains(row));
    assert!(unused.flat_map(|row| &table[row as usize * 5..][..5]).all(|value| *value == 0.0));
}

#[test]
fn everything_else_stays_as_it_is() {
    let model = model(TOP_K, &Device::flex().autodiff());
    let (small, ..) = model.with_used_rows(&input());
    let (mut all, mut small) = (params(&model, None), params(&small, None));
    let (table, small_table) =
        (all.remove("embedding.table").unwrap(), small.remove("embedding.table").unwrap());
    assert_eq!(all, small);
    assert_eq!((small_table.shape, small_table.tracked), (vec![3, 5], table.tracked));
    assert_eq!(small_table.values[..5], table.values[35..40]);
}

#[test]
#[should_panic(expected = "outside the table of 9 rows")]
fn a_row_that_is_not_in_the_table_is_refused() {
    model(TOP_K, &Device::flex()).with_used_rows(&ModelInput::new(&[9], 1, 1, &[1]));
}
