//! What the hidden units of a feed-forward network do.

use serde::{Deserialize, Serialize};

/// What a hidden unit makes of its sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    #[default]
    Relu,
    /// `x Φ(x)` with the normal distribution function, not its approximation by tanh (Hendrycks & Gimpel 2016): that of BERT.
    Gelu,
}
