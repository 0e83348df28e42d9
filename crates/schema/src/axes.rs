//! What a module says about its parameters that have one slice per expert.

use crate::LayerId;

/// What an expert-axis parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpertRole {
    /// Into the hidden units of the expert: weights or bias.
    Input,
    /// Out of the hidden units: weights or bias. All zero means: the expert adds nothing.
    Output,
    /// The router's row for the expert.
    Router,
}

/// One parameter with an expert axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertAxis {
    /// Path of the parameter in its module, such as `layers.0.experts.w_in`.
    pub param: String,
    /// The layer whose experts it holds.
    pub layer: LayerId,
    /// The axis on which experts lie.
    pub axis: usize,
    /// What it is for.
    pub role: ExpertRole,
}

/// A module that says which of its parameters have an expert axis. It does not know what is done
/// with that: the optimizer counts steps per expert, checkpoints name tensors by expert id, and
/// surgery edits along the axis.
pub trait ExpertAxes {
    /// Every parameter with an expert axis, in a fixed order.
    fn expert_axes(&self) -> Vec<ExpertAxis>;
}
