//! The arithmetic of the fused form, on plain slices.
//!
//! Forward, each chunk is a task of its own: it gathers its tokens and multiplies twice, or three times where units have gates.
//! Backward there are two kinds of task. A chunk goes back through all products, to the gradients of its hidden units and tokens. Then every weight has one sum over
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
    ExpertGate, ExpertOutput, StackedExperts,
    activation::{Slopes, activate},
    chunks::{Chunk, Chunks},
    linear::Linear,
};
use crate::{
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    matrix::Old,
    rows::{add, add_scaled, dot, gathered, widest},
};

/// Tokens of a task that adds up rows.
const TOKENS: usize = 64;

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
    let StackedExperts { w_in, b_in, w_out, b_out, gate, activation } = experts;
    let inputs = Inputs::default().with(x).with(expert_weights).with(w_in).with(b_in).with(w_out).with(b_out);
    let inputs = match gate {
        Some(ExpertGate { w_gate, b_gate }) => inputs.with(w_gate).with(b_gate),
        None => inputs,
    };
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
        let pass = Pass::new(inputs, self.chunks.clone(), self.activation);
        let kept: Vec<Kept> = pass.chunks.all.par_iter().map(|chunk| pass.forward_of(chunk)).collect();
        let (y, norms) = pass.mixed(&kept);
        // The first call is the only one: every pass has a place of its own.
        self.norms.get_or_init(|| norms);
        (y, WayBack::new(move |grad| pass.backward(&kept, values(grad))))
    }
}

/// Tokens, experts and who goes where.
#[derive(Debug)]
struct Pass {
    x: FlexTensor,
    expert_weights: FlexTensor,
    linear_in: Linear,
    linear_out: Linear,
    gate: Option<Linear>,
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
    /// `[pairs, d_ff]`, of the sums of hidden units.
    hidden: Vec<f32>,
    /// `[pairs, d_ff]`, of the sums of their gates.
    gate: Option<Vec<f32>>,
    /// `[pairs, d_model]`
    x: Vec<f32>,
}

impl Pass {
    /// Of tensors whose shapes fit: `x`, `expert_weights`, `w_in`, `b_in`, `w_out`, `b_out`, and `w_gate`, `b_gate` with gates.
    fn new(mut inputs: Vec<FlexTensor>, chunks: Arc<Chunks>, activation: Activation) -> Self {
        let gate = activation.is_gated().then(|| exactly(inputs.split_off(6)));
        let [x, expert_weights, w_in, b_in, w_out, b_out] = exactly(inputs);
        let [_, d_model, d_ff] = dims(&w_in);
        let (linear_in, linear_out) = (Linear::new(w_in, b_in), Linear::new(w_out, b_out));
        let gate = gate.map(|[w_gate, b_gate]| Linear::new(w_gate, b_gate));
        Self { x, expert_weights, linear_in, linear_out, gate, chunks, activation, d_model, d_ff }
    }

    fn forward_of(&self, chunk: &Chunk) -> Kept {
        let tokens = chunk.pairs.iter().map(|pair| *pair as usize / self.chunks.top_k);
        let x = gathered(values(&self.x), self.d_model, tokens);
        let mut hidden = self.linear_in.forward(chunk.expert, &x);
        let gate = self.gate.as_ref().map(|gate| gate.forward(chunk.expert, &x));
        let slopes = activate(self.activation, &mut hidden, gate);
        let y = self.linear_out.forward(chunk.expert, &hidden);
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

    /// The gradients of all inputs, in their order, from that of the output.
    fn backward(&self, kept: &[Kept], grad: &[f32]) -> Vec<FlexTensor> {
        let back = |(chunk, kept)| self.backward_of(chunk, kept, grad);
        let gradients: Vec<ChunkGradients> = self.chunks.all.par_iter().zip(kept).map(back).collect();
        let of_linear = self.linear_gradients(kept, &gradients);
        let of_tokens = [self.token_gradients(&gradients), self.expert_weight_gradients(&gradients)];
        of_tokens.into_iter().chain(of_linear).collect()
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
        self.linear_out.go_back(chunk.expert, &y, Old::Overwritten, &mut hidden);
        let gate = kept.slopes.go_back(&kept.hidden, &mut hidden);
        let mut x = vec![0.0; n * d_model];
        self.linear_in.go_back(chunk.expert, &hidden, Old::Overwritten, &mut x);
        if let Some((linear, grad)) = self.gate.as_ref().zip(gate.as_ref()) {
            linear.go_back(chunk.expert, grad, Old::Kept, &mut x);
        }
        ChunkGradients { expert_weights, y, hidden, gate, x }
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

    /// Gradients of weights and biases, in the order of the inputs.
    fn linear_gradients(&self, kept: &[Kept], gradients: &[ChunkGradients]) -> Vec<FlexTensor> {
        let chunks = || kept.iter().zip(gradients);
        let of_in: Vec<_> = chunks().map(|(kept, grad)| (&kept.x[..], &grad.hidden[..])).collect();
        let of_out: Vec<_> = chunks().map(|(kept, grad)| (&kept.hidden[..], &grad.y[..])).collect();
        let of_gate: Vec<_> =
            chunks().filter_map(|(kept, grad)| Some((&kept.x[..], grad.gate.as_deref()?))).collect();
        let maps =
            [(Some(&self.linear_in), of_in), (Some(&self.linear_out), of_out), (self.gate.as_ref(), of_gate)];
        let there = maps.into_par_iter().filter_map(|(linear, chunks)| Some((linear?, chunks)));
        let gradients = there.map(|(linear, chunks)| linear.gradients(&chunks, &self.chunks.of_expert));
        gradients.collect::<Vec<_>>().concat()
    }
}
