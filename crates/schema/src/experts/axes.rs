//! What a module says about its parameters that have one slice per expert.

use crate::{LayerId, Layout};

/// What an expert-axis parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpertRole {
    /// Into the hidden units of the expert, or into their gates: weights or bias. A bias is listed behind the weights that it belongs
    /// to, before other weights into hidden units.
    Input,
    /// Out of the hidden units: weights or bias. All zero means: the expert adds nothing.
    Output,
    /// The router's row for the expert.
    Router,
    /// One number an expert that is added to its router logit and not trained: 0, lowered by ln 2 when the
    /// expert is split, and low while a new expert ramps in.
    RouterBias,
    /// One number an expert that is added to its router logit where experts are chosen and nowhere else, and not trained: it moves
    /// against the expert's load.
    BalanceBias,
    /// Anything else that the expert has of its own, such as a threshold.
    Other,
}

impl ExpertRole {
    /// Whether gradients may move it. What is added to the router's logits is set from outside; of [`Self::Other`] only the module knows.
    pub fn is_trained(self) -> bool {
        !matches!(self, Self::RouterBias | Self::BalanceBias)
    }
}

/// How the values of a new expert are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowInit {
    /// All 0.
    Zeros,
    /// `U(±1/√fan_in)` with the fan-in that role and shape imply, from the expert's own stream of the parameter's
    /// place among those of its layer. Fan-in is all of a router's row; for weights into hidden units the values of
    /// one unit; for weights out of them the units. Without a hidden axis it is all of an expert's values.
    ByShape,
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

/// One constructor for each kind of parameter that experts usually have, all in layer 0, with experts on axis 0 and
/// hidden units where a stack of `[d_in, d_out]` matrices has them. What lies elsewhere says so:
///
/// ```
/// use moelt_schema::{ExpertAxis, ExpertRole};
/// let axis = ExpertAxis::output("blocks.1.w2").in_layer(1).on_axis(2).with_hidden(0);
/// assert_eq!((axis.axis, axis.hidden, axis.role), (2, Some(0), ExpertRole::Output));
/// ```
impl ExpertAxis {
    /// The router's weights, `[n_experts, d_model]`.
    pub fn router(param: impl Into<String>) -> Self {
        Self::new(param, None, ExpertRole::Router, RowInit::ByShape)
    }

    /// Weights into the hidden units or their gates, `[n_experts, d_model, d_hidden]`.
    pub fn input(param: impl Into<String>) -> Self {
        Self::new(param, Some(2), ExpertRole::Input, RowInit::ByShape)
    }

    /// Biases of the hidden units or their gates, `[n_experts, d_hidden]`, to be listed behind their weights; 0 in a fresh expert.
    pub fn input_bias(param: impl Into<String>) -> Self {
        Self::new(param, Some(1), ExpertRole::Input, RowInit::Zeros)
    }

    /// Weights out of the hidden units, `[n_experts, d_hidden, d_model]`.
    pub fn output(param: impl Into<String>) -> Self {
        Self::new(param, Some(1), ExpertRole::Output, RowInit::ByShape)
    }

    /// Biases of the output, `[n_experts, d_model]`; 0 in a fresh expert.
    pub fn output_bias(param: impl Into<String>) -> Self {
        Self::new(param, None, ExpertRole::Output, RowInit::Zeros)
    }

    /// What is added to the router's logits and not trained, `[n_experts]`.
    pub fn router_bias(param: impl Into<String>) -> Self {
        Self::new(param, None, ExpertRole::RouterBias, RowInit::Zeros)
    }

    /// What is added to the router's logits where experts are chosen, and not trained, `[n_experts]`.
    pub fn balance_bias(param: impl Into<String>) -> Self {
        Self::new(param, None, ExpertRole::BalanceBias, RowInit::Zeros)
    }

    /// Anything else with a slice per expert; 0 in a fresh expert.
    pub fn other(param: impl Into<String>) -> Self {
        Self::new(param, None, ExpertRole::Other, RowInit::Zeros)
    }

    fn new(param: impl Into<String>, hidden: Option<usize>, role: ExpertRole, init: RowInit) -> Self {
        Self { param: param.into(), layer: LayerId(0), axis: 0, hidden, role, init }
    }

    /// The same in another layer.
    pub fn in_layer(self, layer: u32) -> Self {
        Self { layer: LayerId(layer), ..self }
    }

    /// The same with experts on this axis.
    pub fn on_axis(self, axis: usize) -> Self {
        Self { axis, ..self }
    }

    /// The same with hidden units on this axis.
    pub fn with_hidden(self, axis: usize) -> Self {
        Self { hidden: Some(axis), ..self }
    }

    /// The same for experts without hidden units.
    pub fn without_hidden(self) -> Self {
        Self { hidden: None, ..self }
    }

    /// The same with another start for fresh experts.
    pub fn with_init(self, init: RowInit) -> Self {
        Self { init, ..self }
    }
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
