//! What surgery and the loop may do to a classifier's experts: which parameters have an expert axis, which
//! routers there are, and the offsets on router logits.

use burn::tensor::Tensor;
use moelt_schema::{ExpertAxes, ExpertAxis, LayerId, Layout};

use crate::{Classifier, Router, TopKRouter, host::to_host};

impl ExpertAxes for Classifier {
    fn expert_axes(&self) -> Vec<ExpertAxis> {
        let layers = (0..).map(LayerId).zip(&self.layers);
        layers.flat_map(|(id, layer)| layer.expert_axes(&format!("layers.{}", id.0), id)).collect()
    }

    fn with_parts_of(mut self, layout: &Layout) -> Self {
        let kinds = layout.layers();
        assert_eq!(self.layers.len(), kinds.len(), "layers of the model, and of the layout");
        let layers = self.layers.into_iter().zip(kinds);
        self.layers = layers.map(|(layer, layout)| layer.with_kind(layout.kind)).collect();
        self
    }
}

impl Classifier {
    /// The offsets on the router logits of a layer, in router order; empty without a top-k router.
    ///
    /// An offset is how a new expert is let in gradually and how a split expert shares its probability.
    /// The model does not know who sets it, and training does not.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn offsets(&self, layer: LayerId) -> Vec<f32> {
        match &self.layers[layer.0 as usize].router {
            Some(Router::TopK(TopKRouter { offset, .. })) => to_host(offset.val()),
            Some(Router::TopAny(_)) | None => Vec::new(),
        }
    }

    /// The classifier with these offsets in a layer.
    ///
    /// # Shapes
    /// - offsets: `[n_experts]`, or empty for a layer without a top-k router
    ///
    /// # Panics
    /// When there is no such layer, or the length is another.
    pub fn with_offsets(mut self, layer: LayerId, offsets: &[f32]) -> Self {
        let offset = match &mut self.layers[layer.0 as usize].router {
            Some(Router::TopK(TopKRouter { offset, .. })) => Some(offset),
            Some(Router::TopAny(_)) | None => None,
        };
        let n_experts = offset.as_ref().map_or(0, |offset| offset.dims()[0]);
        assert_eq!(offsets.len(), n_experts, "offsets of layer {} must be [{n_experts}]", layer.0);
        if let Some(offset) = offset {
            *offset = offset.clone().map(|old| Tensor::from_data(offsets, &old.device()));
        }
        self
    }
}
