//! Edits of the set of experts, and plans that consist of them.

use serde::{Deserialize, Serialize};

use crate::{Evidence, ExpertId, LayerId};

/// Where the weights of a new expert come from. Whatever it is, the expert starts with no optimizer state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExpertInit {
    /// Drawn anew from the expert's own random streams: what an initial expert of this id would get.
    Fresh,
    /// As [`Self::Fresh`], with a router row that points in this direction (DynMoE's new expert).
    Aimed {
        /// `[d_model]`; the length is the caller's.
        direction: Vec<f32>,
    },
    /// The parent's weights and Gaussian noise: without it both would get the same gradients for ever.
    Copy {
        /// The expert copied.
        parent: ExpertId,
        /// Standard deviation of the noise, as a fraction of the RMS of each of the parent's tensors.
        noise: f64,
    },
    /// The parent's weights; both halves share the parent's router probability, so that a layer in which
    /// every expert is chosen computes the same. What parts them is their optimizer state: the parent
    /// keeps its own, the child starts anew.
    Split {
        /// The expert split.
        parent: ExpertId,
    },
    /// The parent's weights and all that its optimizer remembers of them; the router tells the halves apart along a direction of
    /// what it sees, and forgets both. Where the direction is found by a test, each half gets the tokens that are alike.
    SplitAlong {
        /// The expert split.
        parent: ExpertId,
        /// Half of it is added to the child's router row and taken from the parent's.
        by: RouterShift,
    },
}

/// By how much the router rows of two halves lie apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterShift {
    /// Between the rows, `[d_model]`.
    pub direction: Vec<f32>,
    /// Between the biases.
    pub constant: f64,
}

impl RouterShift {
    /// So many times as far.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        let scaled = |value: &f32| (f64::from(*value) * factor) as f32;
        Self { direction: self.direction.iter().map(scaled).collect(), constant: self.constant * factor }
    }
}

impl ExpertInit {
    /// The expert it takes after.
    pub fn parent(&self) -> Option<ExpertId> {
        match self {
            Self::Fresh | Self::Aimed { .. } => None,
            Self::Copy { parent, .. } | Self::Split { parent } | Self::SplitAlong { parent, .. } => {
                Some(*parent)
            }
        }
    }
}

/// One change of the experts of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// A new expert, behind the others.
    Grow {
        /// Where.
        layer: LayerId,
        /// Its id: none that was ever used.
        new: ExpertId,
        /// Its weights.
        init: ExpertInit,
    },
    /// An expert goes, with everything that was remembered of it.
    Prune {
        /// Where.
        layer: LayerId,
        /// Which.
        expert: ExpertId,
    },
    /// Two experts become one: hidden units aligned, then averaged. The optimizer forgets both.
    Merge {
        /// Where.
        layer: LayerId,
        /// The expert that goes.
        from: ExpertId,
        /// The expert that stays, changed.
        into: ExpertId,
        /// Weight of `from` in the average, such as its part of the tokens of both; 0 to 1.
        share: f64,
    },
    /// A dense layer becomes one with a router (Komatsuzaki et al. 2022). The dense expert stays as the
    /// first of `into`; the others are copies of it.
    Upcycle {
        /// Where.
        layer: LayerId,
        /// All experts from now on, the dense one first.
        into: Vec<ExpertId>,
        /// Experts per token from now on.
        top_k: usize,
        /// Fraction of a copy's hidden units that are drawn anew, so that copies differ (Drop-Upcycling,
        /// Nakamura et al. 2025); 0 to 1.
        reinit: f64,
    },
    /// The same experts in another order. It changes nothing that is computed, up to rounding.
    Reorder {
        /// Where.
        layer: LayerId,
        /// All experts of the layer.
        order: Vec<ExpertId>,
    },
    /// Hidden units of an expert are drawn anew, so that each fires for about half of the tokens around `centre`. The optimizer
    /// forgets them and keeps the others.
    Redraw {
        /// Where.
        layer: LayerId,
        /// Whose.
        expert: ExpertId,
        /// Which of its hidden units, ascending.
        units: Vec<usize>,
        /// The mean of the tokens that it sees, `[d_model]`.
        centre: Vec<f32>,
    },
    /// An expert is trained no further: its rows, those of the router included, keep their values, and the optimizer what it
    /// remembers of them, until it is thawed. (A router bias that is ramping in goes on, and an average of weights comes to
    /// rest at them.)
    Freeze {
        /// Where.
        layer: LayerId,
        /// Which.
        expert: ExpertId,
    },
    /// A frozen expert is trained again, from where it stood.
    Thaw {
        /// Where.
        layer: LayerId,
        /// Which.
        expert: ExpertId,
    },
    /// Everything that is no expert's is trained no further: embeddings, convolution, norms and classifier.
    FreezeShared {},
    /// It is trained again.
    ThawShared {},
}

impl Edit {
    /// The layer it changes; none where it is about what all experts share.
    pub fn layer(&self) -> Option<LayerId> {
        match self {
            Self::Grow { layer, .. }
            | Self::Prune { layer, .. }
            | Self::Merge { layer, .. }
            | Self::Upcycle { layer, .. }
            | Self::Reorder { layer, .. }
            | Self::Redraw { layer, .. }
            | Self::Freeze { layer, .. }
            | Self::Thaw { layer, .. } => Some(*layer),
            Self::FreezeShared {} | Self::ThawShared {} => None,
        }
    }
}

/// Edits to be made together, between two optimizer steps, and why. All of them refer to the experts as
/// they were before the plan. [`Plan::check`] turns it into something that can be applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Optimizer steps done when it is applied.
    pub step: u64,
    /// The edits. None: nothing changes.
    pub edits: Vec<Edit>,
    /// Why, for people.
    pub reason: String,
    /// Why, in numbers.
    pub evidence: Evidence,
}
