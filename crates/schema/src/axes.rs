//! What a module says about its parameters that have one slice per expert.

use crate::{LayerId, Layout};

/// What an expert-axis parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpertRole {
    /// Into the hidden units of the expert: weights or bias.
    Input,
    /// Out of the hidden units: weights or bias. All zero means: the expert adds nothing.
    Output,
    /// The router's row for the expert.
    Router,
    /// One number an expert that is added to its router logit and not trained: 0, lowered by ln 2 when the
    /// expert is split, and low while a new expert is let in.
    Offset,
    /// Anything else that the expert has of its own, such as a threshold or a balance bias.
    Other,
}

/// How the values of a new expert are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowInit {
    /// All 0.
    Zeros,
    /// `U(±1/√fan_in)` from the expert's own stream of this number.
    Uniform {
        /// Values summed into one output.
        fan_in: usize,
        /// Number of the stream: another one for every parameter of the layer.
        stream: u8,
    },
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
    /// The axis on which the hidden units of an expert lie, if the parameter has one. Units are
    /// interchangeable: merging lines them up, upcycling draws some of them anew.
    pub hidden: Option<usize>,
    /// What it is for.
    pub role: ExpertRole,
    /// How a new expert begins.
    pub init: RowInit,
}

/// A module that says which of its parameters have an expert axis. It does not know what is done
/// with that: the optimizer counts steps per expert, checkpoints name tensors by expert id, and
/// surgery edits along the axis.
pub trait ExpertAxes {
    /// Every parameter with an expert axis, in a fixed order.
    fn expert_axes(&self) -> Vec<ExpertAxis>;

    /// Called by surgery before rows are moved: the module gets the parts that the layout asks for and it
    /// lacks, such as the router of a layer that was dense, and loses those it has too many. Rows that are
    /// there are not touched, values of new parameters do not matter. A module whose layers are all of one
    /// kind needs nothing.
    #[must_use]
    fn with_parts_of(self, _layout: &Layout) -> Self
    where
        Self: Sized,
    {
        self
    }
}
