//! How tokens (or sequences) get to experts.

use serde::{Deserialize, Serialize};

use crate::config::{
    ConfigFault,
    bounds::{MAX_EXPERTS, count},
};

/// How tokens (or sequences) get to experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RoutingConfig {
    /// No router: one feed-forward network, as wide as `model.top_k` experts.
    Dense {},
    /// Each goes to the `model.top_k` experts with the highest router probability.
    TopK {
        /// Experts per layer, at the start.
        #[serde(default = "four")]
        n_experts: usize,
    },
    /// Each goes to every expert whose threshold it passes (DynMoE, Guo et al. 2024).
    TopAny {
        /// Experts per layer, at the start.
        #[serde(default = "four")]
        n_experts: usize,
    },
    /// Each goes to the one expert of its text's group; no router learns where. Expert `i` serves group `i`.
    Assigned {
        /// What the group of a text is.
        by: AssignedBy,
        /// Experts per layer, at the start.
        #[serde(default = "four")]
        n_experts: usize,
    },
}

/// What the group of a text is, where experts are assigned by groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssignedBy {
    /// Its domain; of a text without one, what naive Bayes over n-grams of characters makes of it.
    Domain,
    /// Its domain in training; of held-out and new texts what naive Bayes over n-grams of characters makes of them, among the domains that
    /// have an expert.
    GuessedDomain,
    /// The cluster it lies in: as many as there are experts at the start, balanced, of the training texts' n-grams of
    /// characters (c-BTM, Gururangan et al. 2023). No label and no domain is looked at.
    Clusters,
}

/// Experts of a layer where nothing else is said.
fn four() -> usize {
    4
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self::TopK { n_experts: four() }
    }
}

impl RoutingConfig {
    /// What texts are assigned by, where no router learns it.
    pub fn assigned_by(&self) -> Option<AssignedBy> {
        match *self {
            Self::Assigned { by, .. } => Some(by),
            Self::Dense {} | Self::TopK { .. } | Self::TopAny { .. } => None,
        }
    }

    /// Experts per layer, at the start: one of a dense layer.
    pub fn n_experts(&self) -> usize {
        match *self {
            Self::Dense {} => 1,
            Self::TopK { n_experts } | Self::TopAny { n_experts } | Self::Assigned { n_experts, .. } => {
                n_experts
            }
        }
    }

    /// The same with so many experts; a dense layer has one.
    #[must_use]
    pub fn with_experts(self, n_experts: usize) -> Self {
        match self {
            Self::Dense {} => self,
            Self::TopK { .. } => Self::TopK { n_experts },
            Self::TopAny { .. } => Self::TopAny { n_experts },
            Self::Assigned { by, .. } => Self::Assigned { by, n_experts },
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        match *self {
            Self::Dense {} => Ok(()),
            Self::TopK { n_experts } => count("top_k.n_experts", n_experts as u64, MAX_EXPERTS),
            Self::TopAny { n_experts } => count("top_any.n_experts", n_experts as u64, MAX_EXPERTS),
            Self::Assigned { n_experts, .. } => count("assigned.n_experts", n_experts as u64, MAX_EXPERTS),
        }
    }
}
