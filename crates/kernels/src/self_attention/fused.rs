//! Attention, one head of one sequence at a time.
//!
//! With `S = Q Kᵀ / √d_head`, `P = softmax(S)` row by row and `Y = P V`, the gradients are `∂V = Pᵀ ∂Y`, `∂P = ∂Y Vᵀ`,
//! `∂S = P ∘ (∂P − rowsum(P ∘ ∂P))`, `∂Q = ∂S K / √d_head` and `∂K = ∂Sᵀ Q / √d_head`. P is kept for them.

use std::sync::Arc;

use burn::{backend::flex::FlexTensor, tensor::Tensor};
use rayon::prelude::*;

use crate::{
    exp::exp,
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    matrix::{Matrix, Old, multiply},
    rows::{dot, largest, sum, widest},
    stretches::{stretches, stretches_mut},
};

/// What [`self_attention`](crate::self_attention) gives, by the fused form.
pub(super) fn self_attention(qkv: Tensor<2>, lengths: &[usize], n_heads: usize) -> Tensor<2> {
    let [_, width] = qkv.dims();
    // Nobody asks what becomes of no tokens.
    let lengths = lengths.iter().copied().filter(|length| *length > 0).collect();
    let heads = Heads { lengths, n_heads, d_head: width / (3 * n_heads) };
    apply(heads, Inputs::default().with(qkv))
}

/// Which tokens see one another, and in how many ways.
#[derive(Clone, Debug)]
struct Heads {
    lengths: Arc<[usize]>,
    n_heads: usize,
    d_head: usize,
}

/// For each head of a sequence `[length, length]`: for each query a distribution over keys.
type Probabilities = Vec<Vec<f32>>;

/// What one head of a sequence gives.
struct HeadOutput {
    /// `[length, length]`
    probabilities: Vec<f32>,
    /// `[length, d_head]`
    y: Vec<f32>,
}

impl Operation for Heads {
    fn forward(&self, inputs: Vec<FlexTensor>) -> FlexTensor {
        self.forward_tracked(inputs).0
    }

    fn forward_tracked(&self, inputs: Vec<FlexTensor>) -> (FlexTensor, WayBack) {
        let [qkv] = exactly(inputs);
        let (y, probabilities) = self.attended(&qkv);
        let heads = self.clone();
        (y, WayBack::new(move |grad| vec![heads.backward(&qkv, &probabilities, grad)]))
    }
}

impl Heads {
    fn d_model(&self) -> usize {
        self.n_heads * self.d_head
    }

    /// `1 / √d_head`
    fn scale(&self) -> f32 {
        (self.d_head as f32).sqrt().recip()
    }

    /// `[n_tokens, d_model]`, and the probabilities of each sequence.
    fn attended(&self, qkv: &FlexTensor) -> (FlexTensor, Vec<Probabilities>) {
        let ([tokens, width], d_model) = (dims(qkv), self.d_model());
        let mut y = vec![0.0; tokens * d_model];
        let of_sequences = stretches(values(qkv), &self.lengths, width);
        let sequences = stretches_mut(&mut y, &self.lengths, d_model).into_par_iter().zip(of_sequences);
        let probabilities = sequences.map(|(y, qkv)| self.sequence(qkv, y)).collect();
        (tensor(y, [tokens, d_model]), probabilities)
    }

    /// Writes what becomes of the tokens of a sequence, and gives its probabilities.
    fn sequence(&self, qkv: &[f32], y: &mut [f32]) -> Probabilities {
        let heads = (0..self.n_heads).into_par_iter();
        let outputs: Vec<HeadOutput> = heads.map(|head| self.head(qkv, head)).collect();
        for (head, output) in outputs.iter().enumerate() {
            self.write(&output.y, y, self.d_model(), head);
        }
        outputs.into_iter().map(|output| output.probabilities).collect()
    }

    fn head(&self, qkv: &[f32], head: usize) -> HeadOutput {
        let [q, k, v] = self.qkv(qkv, head);
        let n = q.n_rows();
        let mut probabilities = vec![0.0; n * n];
        multiply(&mut probabilities, Old::Overwritten, q, k.transposed());
        softmax(&mut probabilities, n, self.scale());
        let mut y = vec![0.0; n * self.d_head];
        multiply(&mut y, Old::Overwritten, Matrix::from_rows(&probabilities, n), v);
        HeadOutput { probabilities, y }
    }

    /// The gradient of `qkv`.
    fn backward(&self, qkv: &FlexTensor, probabilities: &[Probabilities], grad: &FlexTensor) -> FlexTensor {
        let ([tokens, width], d_model) = (dims(qkv), self.d_model());
        let mut of_qkv = vec![0.0; tokens * width];
        let sequences = stretches_mut(&mut of_qkv, &self.lengths, width)
            .into_par_iter()
            .zip(stretches(values(qkv), &self.lengths, width))
            .zip(stretches(values(grad), &self.lengths, d_model))
            .zip(probabilities);
        sequences.for_each(|(((of_qkv, qkv), grad), probabilities)| {
            self.sequence_back(qkv, probabilities, grad, of_qkv);
        });
        tensor(of_qkv, [tokens, width])
    }

    /// Writes the gradient of the queries, keys and values of a sequence.
    fn sequence_back(&self, qkv: &[f32], probabilities: &Probabilities, grad: &[f32], of_qkv: &mut [f32]) {
        let heads = probabilities.par_iter().enumerate();
        let gradients: Vec<[Vec<f32>; 3]> =
            heads.map(|(head, probabilities)| self.head_back(qkv, head, probabilities, grad)).collect();
        for (head, gradients) in gradients.iter().enumerate() {
            for (part, gradient) in gradients.iter().enumerate() {
                self.write(gradient, of_qkv, 3 * self.d_model(), part * self.n_heads + head);
            }
        }
    }

    /// The gradients of a head's queries, keys and values, `[length, d_head]` each.
    fn head_back(&self, qkv: &[f32], head: usize, probabilities: &[f32], grad: &[f32]) -> [Vec<f32>; 3] {
        let [q, k, v] = self.qkv(qkv, head);
        let grad = Matrix::from_rows(grad, self.d_model()).narrow_columns(head * self.d_head, self.d_head);
        let n = q.n_rows();
        let mut scores = vec![0.0; n * n];
        multiply(&mut scores, Old::Overwritten, grad, v.transposed());
        softmax_back(&mut scores, probabilities, n, self.scale());
        let product = |a, b| {
            let mut out = vec![0.0; n * self.d_head];
            multiply(&mut out, Old::Overwritten, a, b);
            out
        };
        let [scores, probabilities] = [&scores, probabilities].map(|rows| Matrix::from_rows(rows, n));
        [product(scores, k), product(scores.transposed(), q), product(probabilities.transposed(), grad)]
    }

    /// Queries, keys and values of one head, `[length, d_head]` each, from the rows of its sequence.
    fn qkv<'a>(&self, qkv: &'a [f32], head: usize) -> [Matrix<'a>; 3] {
        let all = Matrix::from_rows(qkv, 3 * self.d_model());
        [0, 1, 2].map(|part| all.narrow_columns((part * self.n_heads + head) * self.d_head, self.d_head))
    }

    /// Writes the rows of one head into rows of `width` values, of which it has the columns at `place`.
    fn write(&self, rows: &[f32], into: &mut [f32], width: usize, place: usize) {
        for (into, row) in into.chunks_exact_mut(width).zip(rows.chunks_exact(self.d_head)) {
            into[place * self.d_head..][..self.d_head].copy_from_slice(row);
        }
    }
}

/// Puts `softmax(scale · row)` in place of each row of `n` scores.
fn softmax(scores: &mut [f32], n: usize, scale: f32) {
    widest(|| {
        for row in scores.chunks_exact_mut(n) {
            let largest = largest(row);
            row.iter_mut().for_each(|score| *score = (*score - largest) * scale);
        }
        // All at once: a loop over a short row is hardly vectorised.
        scores.iter_mut().for_each(|score| *score = exp(*score));
        for row in scores.chunks_exact_mut(n) {
            let inverse = sum(row).recip();
            row.iter_mut().for_each(|score| *score *= inverse);
        }
    });
}

/// Puts the gradients of scores, before they are scaled, in place of those of their probabilities.
fn softmax_back(grad: &mut [f32], probabilities: &[f32], n: usize, scale: f32) {
    widest(|| {
        for (grad, row) in grad.chunks_exact_mut(n).zip(probabilities.chunks_exact(n)) {
            let mean = dot(grad, row);
            grad.iter_mut()
                .zip(row)
                .for_each(|(grad, probability)| *grad = (*grad - mean) * probability * scale);
        }
    });
}
