//! What the hidden units of a feed-forward network do.

use serde::{Deserialize, Serialize};

/// What a hidden unit makes of its sum, or of that and the sum of its gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    #[default]
    Relu,
    /// `x Φ(x)` with the normal distribution function, not its approximation by tanh (Hendrycks & Gimpel 2016): that of BERT.
    Gelu,
    /// `silu(g) · x` with the sum g of the unit's gate and `silu(g) = g / (1 + e⁻ᵍ)` (Shazeer 2020): that of Mixtral. Every
    /// hidden unit has weights and a bias of its gate beside its own: half as many parameters and operations again.
    Swiglu,
}

impl Activation {
    /// Whether hidden units have gates.
    pub fn is_gated(self) -> bool {
        match self {
            Self::Relu | Self::Gelu => false,
            Self::Swiglu => true,
        }
    }
}
