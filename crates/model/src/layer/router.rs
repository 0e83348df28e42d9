//! The router of a layer, whichever kind it is.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use moelt_schema::{LayerId, LayerKind, LayerLayout, Streams};

use super::{TopAnyRouter, TopKRouter};

/// How tokens find their experts. A dense layer has no router.
#[derive(Module, Debug)]
pub enum Router {
    /// A token goes to its `top_k` best experts.
    TopK(TopKRouter),
    /// A token goes to every expert whose threshold it passes.
    TopAny(TopAnyRouter),
    /// A token goes to the expert of its group.
    Assigned(AssignedRouter),
}

/// No router at all: the caller says which group a token belongs to, and nothing is learned about the way.
#[derive(Module, Debug)]
pub struct AssignedRouter {}

impl Router {
    /// The router of a layout's layer, with a row for each of its experts.
    pub(super) fn new(
        layer: LayerId,
        layout: &LayerLayout,
        d_model: usize,
        streams: &Streams,
        device: &Device,
    ) -> Option<Self> {
        let experts = &layout.experts;
        match layout.kind {
            LayerKind::Dense => None,
            LayerKind::TopK { k: top_k } => {
                Some(Self::TopK(TopKRouter::new(layer, experts, d_model, top_k, streams, device)))
            }
            LayerKind::TopAny => {
                Some(Self::TopAny(TopAnyRouter::new(layer, experts, d_model, streams, device)))
            }
            LayerKind::Assigned => Some(Self::Assigned(AssignedRouter {})),
        }
    }

    /// The router that a layer of this kind has: `old`, where it is one, or one with rows of zeros.
    ///
    /// # Shapes
    /// - shape: `[n_experts, d_model]` of the experts that are there now
    pub(super) fn of_kind(
        kind: LayerKind,
        old: Option<Self>,
        shape: [usize; 2],
        device: &Device,
    ) -> Option<Self> {
        let zeros = || vec![0.0; shape[0] * shape[1]];
        Some(match (kind, old) {
            (LayerKind::Dense, _) => return None,
            (LayerKind::TopK { k: top_k }, Some(Self::TopK(router))) => {
                Self::TopK(TopKRouter { top_k, ..router })
            }
            (LayerKind::TopK { k: top_k }, _) => {
                Self::TopK(TopKRouter::from_rows(zeros(), shape, top_k, device))
            }
            (LayerKind::TopAny, Some(old @ Self::TopAny(_))) => old,
            (LayerKind::TopAny, _) => Self::TopAny(TopAnyRouter::from_rows(zeros(), shape, device)),
            (LayerKind::Assigned, _) => Self::Assigned(AssignedRouter {}),
        })
    }

    /// `[n_experts, d_model]`: one row per expert; none where experts are assigned.
    pub fn weight(&self) -> Option<&Param<Tensor<2>>> {
        match self {
            Self::TopK(router) => Some(&router.weight),
            Self::TopAny(router) => Some(&router.weight),
            Self::Assigned(_) => None,
        }
    }
}
