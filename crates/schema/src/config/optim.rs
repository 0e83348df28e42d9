//! Optimizer, schedule and weight averaging.

use serde::{Deserialize, Serialize};

use super::{
    ConfigFault,
    bounds::{at_least_zero, count, fraction, positive, share},
};

/// Optimizer, schedule and weight averaging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Learning rate of the embedding table, as a multiple of `lr`.
    pub embedding_lr_scale: f64,
    /// Learning rate of a layer, with its attention, as a multiple of that of the layer after it; that of the last is so many times
    /// that of the classifier, and that of embeddings and positions so many times that of the first layer. 1: all the same; 0: the
    /// classifier alone is trained, with the query of attention pooling.
    pub layer_lr_decay: f64,
    /// Which rows of the embedding table a step updates.
    pub embedding_update: EmbeddingUpdate,
    /// AdamW's first-moment decay.
    pub beta1: f64,
    /// AdamW's second-moment decay.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub eps: f64,
    /// Decoupled weight decay of matrices; biases, norms and router rows have none.
    pub weight_decay: f64,
    /// Decoupled weight decay of the embedding table.
    pub embedding_weight_decay: f64,
    /// Largest gradient norm outside the embedding table; 0 for no clipping.
    pub clip_norm: f64,
    /// Shape of the learning rate after warm-up.
    pub schedule: ScheduleKind,
    /// Fraction of all steps that the learning rate rises linearly.
    pub warmup: f64,
    /// Decay per step of the averaged weights that are evaluated; 0 for none.
    pub ema_decay: f64,
    /// Steps between two updates of the average.
    pub ema_every: u64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            embedding_lr_scale: 1.0,
            layer_lr_decay: 1.0,
            embedding_update: EmbeddingUpdate::Dense,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            embedding_weight_decay: 0.0,
            clip_norm: 1.0,
            schedule: ScheduleKind::Linear,
            warmup: 0.06,
            ema_decay: 0.0,
            ema_every: 10,
        }
    }
}

impl OptimConfig {
    /// Refuses values that no optimizer can work with.
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        positive("lr", self.lr)?;
        at_least_zero("embedding_lr_scale", self.embedding_lr_scale)?;
        share("layer_lr_decay", self.layer_lr_decay)?;
        fraction("beta1", self.beta1)?;
        fraction("beta2", self.beta2)?;
        positive("eps", self.eps)?;
        at_least_zero("weight_decay", self.weight_decay)?;
        at_least_zero("embedding_weight_decay", self.embedding_weight_decay)?;
        at_least_zero("clip_norm", self.clip_norm)?;
        fraction("warmup", self.warmup)?;
        fraction("ema_decay", self.ema_decay)?;
        count("ema_every", self.ema_every, u64::MAX)
    }
}

/// Which rows of the embedding table a step updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingUpdate {
    /// All: the moments of a row that the batch does not use decay, and it goes on moving by them.
    Dense,
    /// Those that the batch uses: other rows rest, and each row counts its own steps. A step costs what the batch uses, however
    /// large the vocabulary. Known as lazy or sparse Adam, here with bias correction by row.
    Lazy,
}

/// Shape of the learning rate after warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Stays.
    Constant,
    /// Falls linearly to 0.
    Linear,
    /// Falls to 0 as half a cosine.
    Cosine,
}
