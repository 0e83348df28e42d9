//! Attention against plain loops in `f64`: both forms, there and back.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod common;

use burn::tensor::{Device, Tensor};
use common::{
    assert_close, assert_same_bits_on_any_threads, exact, finite_differences, host, rng, scattered, tensor,
    weighted,
};
use moelt_kernels::{composed, self_attention};
use proptest::prelude::*;

type Form = fn(Tensor<2>, &[usize], usize) -> Tensor<2>;

const FORMS: [Form; 2] = [self_attention, composed::self_attention];

#[derive(Debug)]
struct Case {
    lengths: Vec<usize>,
    n_heads: usize,
    d_head: usize,
    qkv: Vec<f32>,
    weights: Vec<f32>,
}

impl Case {
    fn new(lengths: Vec<usize>, [n_heads, d_head]: [usize; 2], seed: u64) -> Self {
        let (mut rng, n) = (rng(seed), lengths.iter().sum::<usize>() * n_heads * d_head);
        // Scores that differ, so that distributions are not even.
        let qkv = scattered(3 * n, &mut rng).iter().map(|value| 2.0 * value).collect();
        let weights = scattered(n, &mut rng);
        Self { lengths, n_heads, d_head, qkv, weights }
    }

    fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn d_model(&self) -> usize {
        self.n_heads * self.d_head
    }

    /// Outputs and the gradient of `qkv`.
    fn run(&self, form: Form) -> [Vec<f32>; 2] {
        let device = Device::flex().autodiff();
        let qkv = tensor(&self.qkv, [self.tokens(), 3 * self.d_model()], &device).require_grad();
        let y = form(qkv.clone(), &self.lengths, self.n_heads);
        let gradients = (y.clone() * tensor(&self.weights, y.dims(), &device)).sum().backward();
        [host(y.inner()), host(qkv.grad(&gradients).unwrap())]
    }

    /// Outputs by plain loops.
    fn outputs(&self, qkv: &[f64]) -> Vec<f64> {
        let (d_model, d_head) = (self.d_model(), self.d_head);
        let part = |part: usize, token: usize, column: usize| qkv[(token * 3 + part) * d_model + column];
        let (mut y, mut start) = (Vec::new(), 0);
        for length in &self.lengths {
            let keys = start..start + length;
            for query in keys.clone() {
                for column in 0..d_model {
                    let head = column / d_head * d_head..(column / d_head + 1) * d_head;
                    let score = |key| head.clone().map(|i| part(0, query, i) * part(1, key, i)).sum::<f64>();
                    let weights: Vec<f64> =
                        keys.clone().map(|key| (score(key) / (d_head as f64).sqrt()).exp()).collect();
                    let sum: f64 =
                        keys.clone().zip(&weights).map(|(key, weight)| weight * part(2, key, column)).sum();
                    y.push(sum / weights.iter().sum::<f64>());
                }
            }
            start += length;
        }
        y
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn outputs_and_gradients_are_those_of_plain_loops(
        lengths in prop::collection::vec(0..6usize, 1..5).prop_filter("no token", |lengths| lengths.iter().sum::<usize>() > 0),
        n_heads in 1..4usize, d_head in 1..5usize, seed: u64,
    ) {
        let case = Case::new(lengths, [n_heads, d_head], seed);
        let loss = |inputs: &[Vec<f64>; 1]| weighted(&case.outputs(&inputs[0]), &case.weights);
        let [gradient] = finite_differences([exact(&case.qkv)], loss);
        for form in FORMS {
            let [y, qkv] = case.run(form);
            assert_close("y", &y, &case.outputs(&exact(&case.qkv)));
            assert_close("qkv", &qkv, &gradient);
        }
    }
}

/// Two sequences, two heads of one value. In the second sequence head 0 has queries (0, ln 2), keys (0, 1) and values
/// (3, 6): its first token weighs both alike, 4.5; its second one 1 : 2, 5. Head 1 has keys of 0 and gives the mean of 1
/// and −1. The token that is alone gets its own values, (7, 8), whatever its scores are.
#[test]
fn hand_worked_outputs() {
    let ln_2 = std::f32::consts::LN_2;
    let qkv =
        [[5.0, -5.0, 9.0, 9.0, 7.0, 8.0], [0.0, 4.0, 0.0, 0.0, 3.0, 1.0], [ln_2, 4.0, 1.0, 0.0, 6.0, -1.0]];
    for form in FORMS {
        let y = form(Tensor::from_data(qkv, &Device::flex()), &[1, 2], 2);
        assert_close("y", &host(y), &[7.0, 8.0, 4.5, 0.0, 5.0, 0.0]);
    }
}

/// With one token in each sequence y is V: queries and keys have no gradient.
#[test]
fn a_token_alone_keeps_its_values() {
    let case = Case::new(vec![1; 5], [2, 3], 1);
    for form in FORMS {
        let [y, qkv] = case.run(form);
        for (token, (y, weights)) in y.chunks(6).zip(case.weights.chunks(6)).enumerate() {
            assert_eq!(y, &case.qkv[token * 18 + 12..][..6]);
            let (of_scores, of_values) = qkv[token * 18..][..18].split_at(12);
            assert_close("q and k", of_scores, &[0.0; 12]);
            assert_eq!(of_values, weights);
        }
    }
}

#[test]
fn forms_agree_on_longer_sequences() {
    for (lengths, heads) in [(vec![25, 1, 128, 10], [4, 32]), (vec![70], [2, 16]), (vec![33, 17], [1, 20])] {
        let case = Case::new(lengths, heads, 7);
        let [fused, composed] = FORMS.map(|form| case.run(form));
        assert_close("y", &fused[0], &exact(&composed[0]));
        assert_close("qkv", &fused[1], &exact(&composed[1]));
    }
}

#[test]
fn threads_change_no_bit() {
    let case = Case::new((0..60).map(|i| 1 + i * 7 % 40).collect(), [3, 8], 3);
    assert_same_bits_on_any_threads(|| case.run(self_attention));
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_in_company() {
    let all = Case::new(vec![9, 25, 1, 40], [2, 16], 5);
    let [y, gradient] = all.run(self_attention);
    let (mut start, d_model) = (0, all.d_model());
    for length in &all.lengths {
        let rows = |values: &[f32], width: usize| values[start * width..][..length * width].to_vec();
        let alone = Case {
            lengths: vec![*length],
            qkv: rows(&all.qkv, 3 * d_model),
            weights: rows(&all.weights, d_model),
            ..all
        };
        assert_eq!(alone.run(self_attention), [rows(&y, d_model), rows(&gradient, 3 * d_model)]);
        start += length;
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let mut case = Case::new(vec![3, 2], [1, 4], 1);
    case.qkv.iter_mut().for_each(|value| *value *= 100.0);
    for form in FORMS {
        let [y, qkv] = case.run(form);
        assert!(y.iter().chain(&qkv).all(|value| value.is_finite()));
    }
}

#[test]
fn a_nan_stays_in_its_sequence() {
    let mut case = Case::new(vec![2, 3], [2, 2], 1);
    case.qkv[0] = f32::NAN;
    for form in FORMS {
        let [y, qkv] = case.run(form);
        assert!(y[..2].iter().all(|value| value.is_nan()));
        assert!(y[8..].iter().chain(&qkv[24..]).all(|value| value.is_finite()));
    }
}

#[test]
fn without_a_graph_the_outputs_are_the_same() {
    let case = Case::new(vec![4, 7], [2, 3], 1);
    let qkv = tensor(&case.qkv, [11, 18], &Device::flex());
    assert_eq!(host(self_attention(qkv, &case.lengths, 2)), case.run(self_attention)[0]);
}

#[test]
fn no_tokens_give_no_outputs() {
    for form in FORMS {
        for lengths in [&[][..], &[0, 0]] {
            assert_eq!(form(Tensor::zeros([0, 6], &Device::flex()), lengths, 2).dims(), [0, 2]);
        }
    }
}

#[test]
#[should_panic(expected = "sequences of 3 tokens in a tensor of 2")]
fn sequences_of_other_tokens_are_refused() {
    self_attention(Tensor::ones([2, 3], &Device::flex()), &[3], 1);
}

#[test]
#[should_panic(expected = "queries, keys and values of 2 heads in a width of 9")]
fn heads_of_another_width_are_refused() {
    self_attention(Tensor::ones([2, 9], &Device::flex()), &[2], 2);
}
