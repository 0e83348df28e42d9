//! What a checkpoint says about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, EditLog, ExpertId, Flops, LayerId, Layout, Metrics, PolicyState, RowMap};

/// Version of the checkpoint format. A reader refuses every other.
pub const CHECKPOINT_FORMAT: u32 = 10;

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
    /// Names of the domains, by their numbers; empty when the data set has none.
    pub domains: Vec<String>,
    /// The experts.
    pub layout: Layout,
    /// How they came to be the experts.
    pub edits: EditLog,
    /// Where the loop stood.
    pub state: LoopState,
    /// Validation metrics of exactly these weights, when they were evaluated at this step.
    pub validation: Option<Metrics>,
    /// Where the event log stood.
    pub events: EventsPosition,
    /// Inputs with the outputs the model gave at save.
    pub probe: Probe,
    /// Paths of the parameters that have optimizer state: those that ever had a gradient.
    pub optimized: Vec<String>,
    /// Hash of every other file of the folder.
    pub files: BTreeMap<String, Digest>,
}

impl Manifest {
    /// The format of a manifest of any format; 0 when it names none. Nothing else of it is kept.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn format_of(json: &[u8]) -> serde_json::Result<u64> {
        #[derive(Deserialize)]
        struct Format {
            #[serde(default)]
            format: serde_json::Value,
        }
        Ok(serde_json::from_slice::<Format>(json)?.format.as_u64().unwrap_or(0))
    }
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
    /// Routing sums of the last `window` event.
    pub last_window: Vec<LayerSums>,
    /// Sums of the steps since the last decision.
    pub decision_window: DecisionWindow,
    /// What the policy remembers.
    pub policy: PolicyState,
    /// New experts that are ramping in.
    pub ramp_ins: Vec<RampIn>,
    /// Floating-point operations of training so far, what policies had measured included.
    pub flops: Flops,
    /// … of which for what policies had measured, and for what their heads learnt.
    pub measuring_flops: Flops,
    /// What went into the weights that the run started from.
    pub inherited: Inherited,
    /// Steps of the whole run, unless it stops early.
    pub total_steps: u64,
    /// Training seconds so far (not reproducible).
    pub seconds: f64,
}

/// What went into the weights that a run started from, from scratch on. Nothing where it started from scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inherited {
    /// Optimizer steps.
    pub steps: u64,
    /// Floating-point operations, what policies had measured included.
    pub flops: Flops,
}

/// A new expert that is ramping in: its router bias rises to what it is going to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RampIn {
    /// Its layer.
    pub layer: LayerId,
    /// The expert.
    pub expert: ExpertId,
    /// Step at which it was grown.
    pub since: u64,
    /// The bias it is going to have.
    pub bias: f32,
}

/// The best evaluation on validation so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestSoFar {
    /// Step of the evaluation.
    pub step: u64,
    /// Validation accuracy, a fraction.
    pub accuracy: f64,
    /// Validation loss, nats: decides between equal accuracies.
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
    /// Unweighted load-balancing loss, mean over layers with top-k routing.
    pub load_balancing_loss: f64,
    /// Unweighted router z-loss, mean over the same layers.
    #[serde(default)]
    pub router_z_loss: f64,
    /// Unweighted diversity loss, mean over layers with top-any routing.
    #[serde(default)]
    pub diversity_loss: f64,
    /// Unweighted simplicity loss, mean over the same layers.
    #[serde(default)]
    pub simplicity_loss: f64,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// Routing sums per MoE layer.
    pub layers: Vec<LayerSums>,
    /// Sums over the steps of a head that is not isolated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlGradients>,
}

impl WindowState {
    /// The sums of all that is logged as a mean over steps.
    pub(crate) fn means(&self) -> [f64; 6] {
        let Self {
            loss, load_balancing_loss, router_z_loss, diversity_loss, simplicity_loss, grad_norm, ..
        } = *self;
        [loss, load_balancing_loss, router_z_loss, diversity_loss, simplicity_loss, grad_norm]
    }
}

/// How the gradients of task and control loss lie to one another, for the joint negative control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlGradients {
    /// Cross entropy of the head, nats.
    pub loss: f64,
    /// Norm of the gradient of the task's loss, auxiliary losses included.
    pub task_norm: f64,
    /// Norm of the gradient of α times the head's loss.
    pub control_norm: f64,
    /// Cosine between the two; 0 when one of them is 0.
    pub cosine: f64,
}

impl ControlGradients {
    /// Adds another step's.
    pub fn add(&mut self, step: &Self) {
        self.loss += step.loss;
        self.task_norm += step.task_norm;
        self.control_norm += step.control_norm;
        self.cosine += step.cosine;
    }

    /// The means over `steps` steps whose sums these are.
    pub fn mean(&self, steps: u64) -> Self {
        let n = steps.max(1) as f64;
        Self {
            loss: self.loss / n,
            task_norm: self.task_norm / n,
            control_norm: self.control_norm / n,
            cosine: self.cosine / n,
        }
    }
}

/// What a policy is going to see: sums over the steps since the last decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionWindow {
    /// Steps.
    pub steps: u64,
    /// Cross entropy, nats.
    pub loss: f64,
    /// Routing sums per MoE layer.
    pub layers: Vec<LayerSums>,
}

impl DecisionWindow {
    /// Mean cross entropy, nats; not a number without a step.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.steps as f64
    }
}

impl LoopState {
    /// All sums.
    pub fn sums(&self) -> impl Iterator<Item = f64> {
        let WindowState { layers, .. } = &self.window;
        let layers = layers
            .iter()
            .chain(&self.last_window)
            .chain(&self.decision_window.layers)
            .flat_map(LayerSums::values);
        self.window.means().into_iter().chain([self.decision_window.loss]).chain(layers)
    }
}

/// Routing sums of one MoE layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerSums {
    /// Tokens (or sequences) routed.
    pub tokens: f64,
    /// (token, choice) pairs per expert.
    pub tokens_per_expert: Vec<f64>,
    /// Entropy of each token's router probabilities, nats.
    pub entropy: f64,
    /// Expert weights per expert.
    pub expert_weight: Vec<f64>,
    /// Expert weight × output norm per expert.
    pub weighted_norm: Vec<f64>,
    /// Router probabilities per expert, over all tokens.
    pub mass: Vec<f64>,
    /// (token, choice) pairs of these that came when their expert was full; only with `model.capacity_factor`.
    #[serde(default)]
    pub dropped: f64,
    /// Tokens that passed no threshold or, with `model.expert_choice`, that no expert chose; and the sum of them.
    pub unrouted: Unrouted,
}

/// Tokens that no expert claimed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unrouted {
    /// How many.
    pub tokens: f64,
    /// Sum of the tokens, `[d_model]`; empty when there are none.
    pub sum: Vec<f64>,
}

impl Unrouted {
    fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        if self.sum.is_empty() {
            self.sum.clone_from(&other.sum);
        } else {
            self.sum.iter_mut().zip(&other.sum).for_each(|(sum, value)| *sum += value);
        }
    }
}

impl LayerSums {
    /// The sums of the same steps for the experts after an edit: what was summed per expert goes with its expert, what is of the
    /// tokens stays. Whose pairs were dropped is not counted: experts that go take as large a part of them as of all pairs, so that
    /// the share of dropped pairs stays what it was.
    pub fn remapped(&self, map: &RowMap) -> Self {
        let tokens_per_expert = map.remap_sums(&self.tokens_per_expert);
        let pairs = |sums: &[f64]| sums.iter().sum::<f64>();
        let stays = pairs(&tokens_per_expert) / pairs(&self.tokens_per_expert).max(1.0);
        Self {
            tokens_per_expert,
            dropped: self.dropped * stays,
            expert_weight: map.remap_sums(&self.expert_weight),
            weighted_norm: map.remap_sums(&self.weighted_norm),
            mass: map.remap_sums(&self.mass),
            ..self.clone()
        }
    }

    /// Nothing yet, for `n_experts` experts.
    pub fn zeros(n_experts: usize) -> Self {
        let zeros = || vec![0.0; n_experts];
        Self {
            tokens: 0.0,
            tokens_per_expert: zeros(),
            entropy: 0.0,
            expert_weight: zeros(),
            weighted_norm: zeros(),
            mass: zeros(),
            dropped: 0.0,
            unrouted: Unrouted::default(),
        }
    }

    /// All sums.
    fn values(&self) -> impl Iterator<Item = f64> {
        let Self { tokens, tokens_per_expert, entropy, .. } = self;
        let Self { expert_weight, weighted_norm, mass, dropped, unrouted, .. } = self;
        let per_expert =
            [tokens_per_expert, expert_weight, weighted_norm, mass, &unrouted.sum].into_iter().flatten();
        [*tokens, *entropy, *dropped, unrouted.tokens].into_iter().chain(per_expert.copied())
    }

    /// Adds another batch's sums.
    ///
    /// # Panics
    /// When the numbers of experts differ.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(
            self.tokens_per_expert.len(),
            other.tokens_per_expert.len(),
            "sums of layers with other experts"
        );
        self.tokens += other.tokens;
        self.entropy += other.entropy;
        self.dropped += other.dropped;
        self.unrouted.add(&other.unrouted);
        let pairs = [
            (&mut self.tokens_per_expert, &other.tokens_per_expert),
            (&mut self.expert_weight, &other.expert_weight),
            (&mut self.weighted_norm, &other.weighted_norm),
            (&mut self.mass, &other.mass),
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
    /// Groups of each, the likeliest first; empty where experts are not assigned by them.
    pub groups: Vec<Vec<u32>>,
    /// Logits of the weights under training, `[inputs, n_classes]`.
    pub logits: Vec<Vec<f32>>,
    /// Logits of the averaged weights, when averaging is on.
    pub ema_logits: Option<Vec<Vec<f32>>>,
    /// The largest relative error that matrix products made of an operand where the logits were computed; 0, and not written, where
    /// they are those of single precision.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rounding: f32,
}

fn is_zero(rounding: &f32) -> bool {
    *rounding == 0.0
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::RowSource;

    #[test]
    fn the_docs_name_the_format_that_is_written() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/checkpoints.md");
        let docs = fs::read_to_string(path).unwrap();
        // Wherever a number follows these words it is that of today's format.
        let after = |words: &str| -> Vec<u32> {
            let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
            docs.split(words).skip(1).filter_map(|rest| digits(rest).parse().ok()).collect()
        };
        assert_eq!(after("Format version "), [CHECKPOINT_FORMAT]);
        assert!(after("reads format ").iter().all(|format| *format == CHECKPOINT_FORMAT));
    }

    /// 10 tokens, top-1: 6 for an expert that is pruned and 4 for one that stays. Half of all pairs were dropped; all 5 of them
    /// would be 125 % of the 4 that are left.
    #[test]
    fn experts_that_go_take_their_part_of_the_dropped_pairs() {
        let sums = LayerSums {
            tokens: 10.0,
            tokens_per_expert: vec![6.0, 4.0],
            entropy: 3.0,
            dropped: 5.0,
            unrouted: Unrouted { tokens: 1.0, sum: vec![0.5] },
            ..LayerSums::zeros(2)
        };
        let after = sums.remapped(&RowMap { n_old: 2, rows: vec![RowSource::Keep(1)] });
        let expected = LayerSums {
            tokens: 10.0,
            tokens_per_expert: vec![4.0],
            entropy: 3.0,
            dropped: 2.0,
            unrouted: Unrouted { tokens: 1.0, sum: vec![0.5] },
            ..LayerSums::zeros(1)
        };
        assert_eq!(after, expected);
        let all = RowMap { n_old: 2, rows: vec![RowSource::Keep(1), RowSource::Keep(0)] };
        assert_eq!(sums.remapped(&all).dropped, 5.0);
        let none = LayerSums::zeros(2).remapped(&all);
        assert_eq!(none, LayerSums::zeros(2));
    }

    #[test]
    fn the_format_is_read_of_any_manifest() {
        let format = |json: &str| Manifest::format_of(json.as_bytes()).ok();
        assert_eq!(format(r#"{"mood": [1, 2], "format": 9}"#), Some(9));
        assert_eq!([format("{}"), format(r#"{"format": "x"}"#), format("[")], [Some(0), Some(0), None]);
    }
}
