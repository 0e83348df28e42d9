//! Why an edit was refused.

/// Something about module, optimizer or average does not fit the plan. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurgeryError {
    /// The module lists no parameter with an expert axis for a layer that the plan edits.
    #[error(
        "the module lists no expert axes for layer {layer}; expert_axes() has to name every parameter of its experts"
    )]
    NoAxes {
        /// The layer.
        layer: u32,
    },
    /// `expert_axes()` names a parameter that the module does not have.
    #[error("expert_axes() names `{param}`, which the module does not have")]
    NoParam {
        /// The path it gives.
        param: String,
    },
    /// A parameter has another number of experts than the layout.
    #[error("`{param}` has shape {shape:?}; its axis {axis} should have {n_experts} experts")]
    Experts {
        /// The parameter.
        param: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The axis on which experts lie.
        axis: usize,
        /// Experts the layout has.
        n_experts: usize,
    },
    /// The axis of a parameter's hidden units is not there, or is that of its experts.
    #[error(
        "`{param}` has shape {shape:?} and no hidden units on axis {hidden}; name their axis with \
         ExpertAxis::with_hidden, or that there are none with ExpertAxis::without_hidden"
    )]
    Hidden {
        /// The parameter.
        param: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The axis that was named.
        hidden: usize,
    },
    /// The optimizer's or the average's state is not one of this module, or does not count per expert.
    #[error("the {state} of `{param}` does not fit: {message}")]
    State {
        /// `optimizer state` or `average`.
        state: &'static str,
        /// The parameter.
        param: String,
        /// What does not fit, and the fix.
        message: String,
    },
    /// An edit names a hidden unit that the experts do not have.
    #[error("`{param}` has no hidden unit {unit}; an expert has {n_units}, counted from 0")]
    NoUnit {
        /// The parameter.
        param: String,
        /// The unit that was named.
        unit: usize,
        /// Hidden units of an expert.
        n_units: usize,
    },
    /// A bias of hidden units that is not listed behind its weights, whose units are to be drawn anew with it.
    #[error(
        "`{param}` is a bias of hidden units that does not follow its weights; expert_axes() has to list every bias behind the weights \
         into the same units, before other weights"
    )]
    NoWeights {
        /// The bias.
        param: String,
    },
    /// The direction of a new router row has another length than a row.
    #[error("a new router row of `{param}` has {expected} values, the plan's direction {found}")]
    Direction {
        /// The router's weights.
        param: String,
        /// Values of a row.
        expected: usize,
        /// Values given.
        found: usize,
    },
}
