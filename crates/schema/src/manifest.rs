//! What a checkpoint says about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Layout, Metrics};

/// Version of the checkpoint format. A reader refuses every other.
pub const CHECKPOINT_FORMAT: u32 = 1;

/// `manifest.json` of a checkpoint folder. `manifest.blake3` beside it holds its hash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`CHECKPOINT_FORMAT`].
    pub format: u32,
    /// Version of moelt that wrote it.
    pub moelt: String,
    /// The arm's name.
    pub arm: String,
    /// Seed of all random streams. They are counter-based, so `step` is their position.
    pub seed: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// Hash of the resolved config.
    pub config: Digest,
    /// Hash of the examples trained on.
    pub data: Digest,
    /// Hash of the vocabulary.
    pub vocabulary: Digest,
    /// Names of the classes, in label order.
    pub classes: Vec<String>,
    /// The experts.
    pub layout: Layout,
    /// Where the loop stood.
    pub state: LoopState,
    /// Selection metrics of exactly these weights, when they were evaluated at this step.
    pub selection: Option<Metrics>,
    /// Where the event log stood.
    pub events: EventsPosition,
    /// Inputs with the outputs the model gave at save.
    pub probe: Probe,
    /// Paths of the parameters that have optimizer state: those that ever had a gradient.
    pub optimized: Vec<String>,
    /// Hash of every other file of the folder.
    pub files: BTreeMap<String, Digest>,
}

/// Length of the event log when the checkpoint was written; a resumed run cuts what lies beyond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsPosition {
    /// Bytes.
    pub bytes: u64,
    /// Lines.
    pub lines: u64,
}

/// Everything of the training loop that is neither weights nor optimizer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopState {
    /// The best evaluation so far.
    pub best: Option<BestSoFar>,
    /// Evaluations since the best one.
    pub evaluations_since_best: u64,
    /// Sums of the window that is under way.
    pub window: WindowState,
    /// Training seconds so far (not reproducible).
    pub seconds: f64,
}

/// The best evaluation on selection so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestSoFar {
    /// Step of the evaluation.
    pub step: u64,
    /// Selection accuracy, a fraction.
    pub accuracy: f64,
    /// Selection loss, nats: decides between equal accuracies.
    pub loss: f64,
}

/// Sums since the last `window` event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowState {
    /// Steps.
    pub steps: u64,
    /// Cross entropy, nats.
    pub loss: f64,
    /// Unweighted load-balancing loss, mean over layers.
    pub load_balancing_loss: f64,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// Routing sums per MoE layer.
    pub layers: Vec<LayerSums>,
}

impl WindowState {
    /// All sums.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let layers = self.layers.iter().flat_map(|layer| {
            let per_expert = [&layer.tokens, &layer.gate, &layer.gate_norm].into_iter().flatten();
            [layer.rows, layer.entropy].into_iter().chain(per_expert.copied())
        });
        [self.loss, self.load_balancing_loss, self.grad_norm].into_iter().chain(layers)
    }
}

/// Routing sums of one MoE layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSums {
    /// Rows routed.
    pub rows: f64,
    /// (row, choice) pairs per expert.
    pub tokens: Vec<f64>,
    /// Entropy of each row's router probabilities, nats.
    pub entropy: f64,
    /// Expert weights per expert.
    pub gate: Vec<f64>,
    /// Expert weight × output norm per expert.
    pub gate_norm: Vec<f64>,
}

impl LayerSums {
    /// Nothing yet, for `n_experts` experts.
    pub fn zeros(n_experts: usize) -> Self {
        let zeros = || vec![0.0; n_experts];
        Self { rows: 0.0, tokens: zeros(), entropy: 0.0, gate: zeros(), gate_norm: zeros() }
    }

    /// Adds another batch's sums.
    ///
    /// # Panics
    /// When the numbers of experts differ.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.tokens.len(), other.tokens.len(), "sums of layers with other experts");
        self.rows += other.rows;
        self.entropy += other.entropy;
        let pairs = [
            (&mut self.tokens, &other.tokens),
            (&mut self.gate, &other.gate),
            (&mut self.gate_norm, &other.gate_norm),
        ];
        for (sums, values) in pairs {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// A few inputs with the logits the model gave for them at save. Recomputed at every load: weights
/// that were read into the wrong place show here, with or without the data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Token sequences; each token is its embedding rows.
    pub inputs: Vec<Vec<Vec<u32>>>,
    /// Logits of the weights under training, `[inputs, n_classes]`.
    pub logits: Vec<Vec<f32>>,
    /// Logits of the averaged weights, when averaging is on.
    pub ema_logits: Option<Vec<Vec<f32>>>,
}
