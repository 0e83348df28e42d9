//! The arithmetic of the fused form, on plain slices.
//!
//! Forward, each chunk is a task of its own: it gathers its tokens and multiplies twice. Backward there are two kinds of task. A
//! chunk goes back through both products, to the gradients of its hidden units and tokens. Then every weight has one sum over
//! all tokens of its expert, chunk after chunk. A large product is divided among threads by rows of what it gives and never
//! within a sum, so that a single busy expert occupies all threads and their number changes no bit.

use std::sync::{Arc, OnceLock};

use burn::{
    backend::{TensorMetadata, flex::FlexTensor},
    tensor::{Tensor, TensorData},
};
use moelt_schema::Activation;
use rayon::prelude::*;

use super::{
    ExpertOutput, StackedExperts,
    activation::{Slopes, activate},
    chunks::{Chunk, Chunks},
};
use crate::{
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    matrix::{Matrix, Old, multiply},
    rows::{add, add_scaled, dot, gathered, widest},
};

/// Tokens of a task that adds up rows.
const TOKENS: usize = 64;

/// The fewest rows of a part of a product, and values that come out of it. Smaller ones are not worth a task, and gemm
/// multiplies some of them in another order.
const PART_ROWS: usize = 128;
const PART_VALUES: usize = 1 << 14;

/// What [`expert_feed_forward`](crate::expert_feed_forward) gives, by the fused form.
pub(super) fn expert_feed_forward(
    x: Tensor<2>,
    expert_indices: &[u32],
    expert_weights: Tensor<2>,
    experts: StackedExperts,
) -> ExpertOutput {
    let ([_, top_k], [n_experts, ..]) = (expert_weights.dims(), experts.w_in.dims());
    let device = x.device().inner();
    let chunks = Arc::new(Chunks::new(expert_indices, n_experts, top_k));
    let StackedExperts { w_in, b_in, w_out, b_out, activation } = experts;
    let inputs = Inputs::default().with(x).with(expert_weights).with(w_in).with(b_in).with(w_out).with(b_out);
    let norms = Arc::new(OnceLock::new());
    let y = apply(FeedForward { chunks, activation, norms: norms.clone() }, inputs);
    let norms = norms.get().cloned().expect("a pass leaves its norms");
    let shape = [norms.len()];
    ExpertOutput { y, norms: Tensor::from_data(TensorData::new(norms, shape), &device) }
}

/// Who goes where, and what experts do.
#[derive(Debug)]
struct FeedForward {
    chunks: Arc<Chunks>,
    activation: Activation,
    /// What the pass leaves beside its output.
    norms: Arc<OnceLock<Vec<f32>>>,
}

impl Operation for FeedForward {
    fn forward(&self, inputs: Vec<FlexTensor>) -> FlexTensor {
        self.forward_tracked(inputs).0
    }

    fn forward_tracked(&self, inputs: Vec<FlexTensor>) -> (FlexTensor, WayBack) {
        let pass = Pass::new(exactly(inputs), self.chunks.clone(), self.activation);
        let kept: Vec<Kept> = pass.chunks.all.par_iter().map(|chunk| pass.forward_of(chunk)).collect();
        let (y, norms) = pass.mixed(&kept);
        // The first call is the only one: every pass has a place of its own.
        self.norms.get_or_init(|| norms);
        (y, WayBack::new(move |grad| pass.backward(&kept, values(grad)).into()))
    }
}

/// Tokens, experts and who goes where.
#[derive(Debug)]
struct Pass {
    x: FlexTensor,
    expert_weights: FlexTensor,
    w_in: FlexTensor,
    b_in: FlexTensor,
    w_out: FlexTensor,
    b_out: FlexTensor,
    chunks: Arc<Chunks>,
    activation: Activation,
    d_model: usize,
    d_ff: usize,
}

/// What a chunk has computed on its way forward and needs on its way back.
#[derive(Debug)]
struct Kept {
    /// `[pairs, d_model]`
    x: Vec<f32>,
    /// `[pairs, d_ff]`, after the activation.
    hidden: Vec<f32>,
    slopes: Slopes,
    /// `[pairs, d_model]`, not weighted.
    y: Vec<f32>,
}

/// Gradients of a chunk.
struct ChunkGradients {
    /// `[pairs]`, of the weights of the outputs.
    expert_weights: Vec<f32>,
    /// `[pairs, d_model]`
    y: Vec<f32>,
    /// `[pairs, d_ff]`, before the activation.
    hidden: Vec<f32>,
    /// `[pairs, d_model]`
    x: Vec<f32>,
}

impl Pass {
    /// Of tensors whose shapes fit: `x`, `expert_weights`, `w_in`, `b_in`, `w_out`, `b_out`.
    fn new(
        [x, expert_weights, w_in, b_in, w_out, b_out]: [FlexTensor; 6],
        chunks: Arc<Chunks>,
        activation: Activation,
    ) -> Self {
        let [_, d_model, d_ff] = dims(&w_in);
        Self { x, expert_weights, w_in, b_in, w_out, b_out, chunks, activation, d_model, d_ff }
    }

    fn forward_of(&self, chunk: &Chunk) -> Kept {
        let (d_model, d_ff, n) = (self.d_model, self.d_ff, chunk.pairs.len());
        let tokens = chunk.pairs.iter().map(|pair| *pair as usize / self.chunks.top_k);
        let x = gathered(values(&self.x), d_model, tokens);
        // Products are added to the biases.
        let mut hidden = expert(&self.b_in, chunk.expert).repeat(n);
        multiply_side_by_side(&mut hidden, Old::Kept, Matrix::from_rows(&x, d_model), self.w_in(chunk));
        let slopes = activate(self.activation, &mut hidden);
        let mut y = expert(&self.b_out, chunk.expert).repeat(n);
        multiply_side_by_side(&mut y, Old::Kept, Matrix::from_rows(&hidden, d_ff), self.w_out(chunk));
        Kept { x, hidden, slopes, y }
    }

    /// The weighted sums of the outputs, `[tokens, d_model]`, and the norm of each output.
    fn mixed(&self, kept: &[Kept]) -> (FlexTensor, Vec<f32>) {
        let (d_model, top_k) = (self.d_model, self.chunks.top_k);
        let outputs: Vec<&[f32]> = kept.iter().map(|kept| &kept.y[..]).collect();
        let weights = values(&self.expert_weights);
        let (mut y, mut norms) = (vec![0.0; values(&self.x).len()], vec![0.0; weights.len()]);
        let tasks = y.par_chunks_mut(TOKENS * d_model).zip(norms.par_chunks_mut((TOKENS * top_k).max(1)));
        tasks.enumerate().for_each(|(task, (rows, norms))| {
            let pairs = (task * TOKENS * top_k..).zip(norms);
            widest(|| {
                for (at, (pair, norm)) in pairs.enumerate() {
                    let output = self.chunks.places[pair].row_of(&outputs, d_model);
                    *norm = dot(output, output).sqrt();
                    add_scaled(&mut rows[at / top_k * d_model..][..d_model], weights[pair], output);
                }
            });
        });
        (tensor(y, self.x.shape()), norms)
    }

    /// The gradients of `x`, `expert_weights`, `w_in`, `b_in`, `w_out` and `b_out` from that of the output.
    fn backward(&self, kept: &[Kept], grad: &[f32]) -> [FlexTensor; 6] {
        let back = |(chunk, kept)| self.backward_of(chunk, kept, grad);
        let gradients: Vec<ChunkGradients> = self.chunks.all.par_iter().zip(kept).map(back).collect();
        let [w_in, b_in, w_out, b_out] = self.weight_gradients(kept, &gradients);
        let (x, expert_weights) =
            (self.token_gradients(&gradients), self.expert_weight_gradients(&gradients));
        [x, expert_weights, w_in, b_in, w_out, b_out]
    }

    fn backward_of(&self, chunk: &Chunk, kept: &Kept, grad: &[f32]) -> ChunkGradients {
        let (d_model, d_ff, n) = (self.d_model, self.d_ff, chunk.pairs.len());
        let tokens = chunk.pairs.iter().map(|pair| *pair as usize / self.chunks.top_k);
        let mut y = gathered(grad, d_model, tokens);
        let mut expert_weights = vec![0.0; n];
        let weights = values(&self.expert_weights);
        let rows = y.chunks_exact_mut(d_model).zip(kept.y.chunks_exact(d_model));
        let pairs = chunk.pairs.iter().zip(&mut expert_weights).zip(rows);
        widest(|| {
            pairs.for_each(|((pair, of_weight), (grad, output))| {
                *of_weight = dot(grad, output);
                grad.iter_mut().for_each(|grad| *grad *= weights[*pair as usize]);
            });
        });
        let mut hidden = vec![0.0; n * d_ff];
        let w_out = self.w_out(chunk).transposed();
        multiply_side_by_side(&mut hidden, Old::Overwritten, Matrix::from_rows(&y, d_model), w_out);
        kept.slopes.go_back(&kept.hidden, &mut hidden);
        let mut x = vec![0.0; n * d_model];
        multiply_side_by_side(
            &mut x,
            Old::Overwritten,
            Matrix::from_rows(&hidden, d_ff),
            self.w_in(chunk).transposed(),
        );
        ChunkGradients { expert_weights, y, hidden, x }
    }

    /// `[d_model, d_ff]` of the chunk's expert.
    fn w_in(&self, chunk: &Chunk) -> Matrix<'_> {
        Matrix::from_rows(expert(&self.w_in, chunk.expert), self.d_ff)
    }

    /// `[d_ff, d_model]` of the chunk's expert.
    fn w_out(&self, chunk: &Chunk) -> Matrix<'_> {
        Matrix::from_rows(expert(&self.w_out, chunk.expert), self.d_model)
    }

    /// The gradient of each pair's weight, where it belongs.
    fn expert_weight_gradients(&self, gradients: &[ChunkGradients]) -> FlexTensor {
        let gradients: Vec<&[f32]> =
            gradients.iter().map(|gradients| &gradients.expert_weights[..]).collect();
        let weights = self.chunks.places.iter().map(|place| place.row_of(&gradients, 1)[0]).collect();
        tensor(weights, self.expert_weights.shape())
    }

    /// A token's gradient is the sum over its choices, in their order.
    fn token_gradients(&self, gradients: &[ChunkGradients]) -> FlexTensor {
        let (d_model, top_k) = (self.d_model, self.chunks.top_k);
        let gradients: Vec<&[f32]> = gradients.iter().map(|gradients| &gradients.x[..]).collect();
        let mut x = vec![0.0; values(&self.x).len()];
        x.par_chunks_mut(TOKENS * d_model).enumerate().for_each(|(task, rows)| {
            for (token, row) in (task * TOKENS..).zip(rows.chunks_exact_mut(d_model)) {
                let places = &self.chunks.places[token * top_k..][..top_k];
                widest(|| places.iter().for_each(|place| add(row, place.row_of(&gradients, d_model))));
            }
        });
        tensor(x, self.x.shape())
    }

    /// Gradients of `w_in`, `b_in`, `w_out` and `b_out`: zero for an expert without tokens.
    fn weight_gradients(&self, kept: &[Kept], gradients: &[ChunkGradients]) -> [FlexTensor; 4] {
        let (d_model, d_ff) = (self.d_model, self.d_ff);
        let zeros = |tensor| vec![0.0; values(tensor).len()];
        let [mut w_in, mut w_out] = [&self.w_in, &self.w_out].map(zeros);
        let [mut b_in, mut b_out] = [&self.b_in, &self.b_out].map(zeros);
        let linear_in = w_in.par_chunks_mut(d_model * d_ff).zip(b_in.par_chunks_mut(d_ff));
        let linear_out = w_out.par_chunks_mut(d_ff * d_model).zip(b_out.par_chunks_mut(d_model));
        let experts = linear_in.zip(linear_out).zip(&self.chunks.of_expert);
        experts.for_each(|((linear_in, linear_out), chunks)| {
            let chunks = || kept[chunks.clone()].iter().zip(&gradients[chunks.clone()]);
            let of_in: Vec<_> = chunks().map(|(kept, grad)| (&kept.x[..], &grad.hidden[..])).collect();
            let of_out: Vec<_> = chunks().map(|(kept, grad)| (&kept.hidden[..], &grad.y[..])).collect();
            rayon::join(|| add_linear(linear_in, &of_in), || add_linear(linear_out, &of_out));
        });
        [
            tensor(w_in, self.w_in.shape()),
            tensor(b_in, self.b_in.shape()),
            tensor(w_out, self.w_out.shape()),
            tensor(b_out, self.b_out.shape()),
        ]
    }
}

/// Adds the gradients of a weight and a bias from what came in and the gradient of what came out, chunk after chunk.
///
/// # Shapes
/// - weight: `[n_in, n_out]`
/// - bias: `[n_out]`
/// - chunks: `[pairs, n_in]` and `[pairs, n_out]`
fn add_linear((weight, bias): (&mut [f32], &mut [f32]), chunks: &[(&[f32], &[f32])]) {
    let n_out = bias.len();
    let n_in = weight.len() / n_out;
    for (x, grad) in chunks {
        let x = Matrix::from_rows(x, n_in).transposed();
        multiply_side_by_side(weight, Old::Kept, x, Matrix::from_rows(grad, n_out));
    }
    widest(|| chunks.iter().for_each(|(_, grad)| grad.chunks_exact(n_out).for_each(|row| add(bias, row))));
}

/// [`multiply`] with the rows divided among threads. A row's bits do not depend on it; each part costs one more look at all
/// of `b`, which is why there are no more parts than threads.
fn multiply_side_by_side(out: &mut [f32], old: Old, a: Matrix<'_>, b: Matrix<'_>) {
    let n_rows = a.n_rows();
    let most = (n_rows / PART_ROWS).min(out.len() / PART_VALUES);
    let rows = n_rows.div_ceil(rayon::current_num_threads().min(most).max(1));
    let width = out.len() / n_rows;
    out.par_chunks_mut(rows * width).enumerate().for_each(|(part, out)| {
        multiply(out, old, a.narrow_rows(part * rows, out.len() / width), b);
    });
}

/// An expert's part of a stacked parameter.
fn expert(tensor: &FlexTensor, expert: usize) -> &[f32] {
    let all = values(tensor);
    let n = all.len() / tensor.shape()[0];
    &all[expert * n..][..n]
}
