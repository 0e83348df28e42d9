//! Why a plan does not fit a layout.

use crate::{ExpertId, LayerId, Layout, Limits};

/// Why a plan cannot be applied to a layout.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// No such layer.
    #[error("there is no layer {}; the layers are 0 to {}", layer.0, n_layers.saturating_sub(1))]
    NoLayer {
        /// Asked for.
        layer: LayerId,
        /// Layers there are.
        n_layers: usize,
    },
    /// A dense layer can only be upcycled, and only a dense layer can.
    #[error("layer {}: {message}", layer.0)]
    Kind {
        /// The layer.
        layer: LayerId,
        /// What does not fit.
        message: &'static str,
    },
    /// No such expert in the layer.
    #[error("layer {} has no expert {}; it has {}", layer.0, expert.0, ids(there))]
    NoExpert {
        /// The layer.
        layer: LayerId,
        /// Asked for.
        expert: ExpertId,
        /// The experts there are.
        there: Vec<ExpertId>,
    },
    /// An expert is changed or removed by two edits, or copied from while it is.
    #[error("layer {}: expert {} takes part in two edits of one plan", layer.0, expert.0)]
    Twice {
        /// The layer.
        layer: LayerId,
        /// The expert.
        expert: ExpertId,
    },
    /// No expert can have this id.
    #[error("layer {}: id {} is beyond those that experts can have; they end at {}", layer.0, expert.0, Layout::MAX_ID - 1)]
    NoId {
        /// The layer.
        layer: LayerId,
        /// The id.
        expert: ExpertId,
    },
    /// The id of a new expert was used before.
    #[error("layer {}: id {} is not new; the next free one is {}", layer.0, expert.0, next.0)]
    UsedId {
        /// The layer.
        layer: LayerId,
        /// The id.
        expert: ExpertId,
        /// The first id that was never used.
        next: ExpertId,
    },
    /// The layer would have too few or too many experts.
    #[error("layer {} would have {n} experts; at least {} and at most {} are allowed", layer.0, limits.min.max(1), limits.max)]
    Count {
        /// The layer.
        layer: LayerId,
        /// Experts it would have.
        n: usize,
        /// What is allowed.
        limits: Limits,
    },
    /// A number that makes no sense.
    #[error("layer {}: {what} is {value}; must be {bound}", layer.0)]
    Value {
        /// The layer.
        layer: LayerId,
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        bound: &'static str,
    },
    /// What is to be frozen is, or what is to be thawed is not.
    #[error("{}is {} already", place(*expert), if *frozen { "frozen" } else { "trained" })]
    Frozen {
        /// The expert and its layer; none of what experts share.
        expert: Option<(LayerId, ExpertId)>,
        /// Whether it is.
        frozen: bool,
    },
    /// A frozen expert that would be changed.
    #[error("layer {}: expert {} is frozen; thaw it in a plan before", layer.0, expert.0)]
    Rests {
        /// The layer.
        layer: LayerId,
        /// The expert.
        expert: ExpertId,
    },
    /// An order that is not one of the layer's experts.
    #[error("layer {}: the order {} is not one of its experts {}", layer.0, ids(order), ids(there))]
    Order {
        /// The layer.
        layer: LayerId,
        /// Asked for.
        order: Vec<ExpertId>,
        /// The experts there are.
        there: Vec<ExpertId>,
    },
}

fn place(expert: Option<(LayerId, ExpertId)>) -> String {
    match expert {
        Some((layer, expert)) => format!("layer {}: expert {} ", layer.0, expert.0),
        None => "what experts share ".to_owned(),
    }
}

fn ids(experts: &[ExpertId]) -> String {
    experts.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(" ")
}
