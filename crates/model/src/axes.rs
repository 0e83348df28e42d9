//! What surgery and the loop may do to a classifier's experts: which parameters have an expert axis, which
//! routers there are, and the biases on router logits.

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
    /// The biases on the router logits of a layer, in router order; empty without a top-k router.
    ///
    /// A bias is how a new expert ramps in gradually and how a split expert shares its probability.
    /// The model does not know who sets it, and training does not.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn biases(&self, layer: LayerId) -> Vec<f32> {
        match &self.layers[layer.0 as usize].router {
            Some(Router::TopK(TopKRouter { bias, .. })) => to_host(bias.val()),
            Some(Router::TopAny(_) | Router::Assigned(_)) | None => Vec::new(),
        }
    }

    /// What is added to the router logits of a layer where its experts are chosen, and not trained, in router order; empty without a
    /// top-k router.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn balance_biases(&self, layer: LayerId) -> Vec<f32> {
        match &self.layers[layer.0 as usize].router {
            Some(Router::TopK(router)) => router.balance_biases(),
            Some(Router::TopAny(_) | Router::Assigned(_)) | None => Vec::new(),
        }
    }

    /// The classifier with these balance biases in a layer.
    ///
    /// # Shapes
    /// - biases: `[n_experts]`
    ///
    /// # Panics
    /// When there is no such layer, it has no top-k router, or the length is another.
    pub fn with_balance_biases(mut self, layer: LayerId, biases: &[f32]) -> Self {
        let Some(Router::TopK(router)) = &mut self.layers[layer.0 as usize].router else {
            panic!("layer {} has no top-k router to be balanced", layer.0);
        };
        let [n_experts] = router.balance_bias.dims();
        assert_eq!(biases.len(), n_experts, "balance biases of layer {} must be [{n_experts}]", layer.0);
        router.balance_bias = router.balance_bias.clone().map(|old| Tensor::from_data(biases, &old.device()));
        self
    }

    /// The classifier with these biases in a layer.
    ///
    /// # Shapes
    /// - biases: `[n_experts]`, or empty for a layer without a top-k router
    ///
    /// # Panics
    /// When there is no such layer, or the length is another.
    pub fn with_biases(self, layer: LayerId, biases: &[f32]) -> Self {
        self.mapped_biases(layer, biases, |new| new)
    }

    /// The same on an autodiff device, with a gradient by these biases: they are still not trained, but what goes back through the
    /// model reaches them.
    ///
    /// # Shapes
    /// - biases: `[n_experts]`, or empty for a layer without a top-k router
    ///
    /// # Panics
    /// When there is no such layer, or the length is another.
    pub fn with_tracked_biases(self, layer: LayerId, biases: &[f32]) -> Self {
        self.mapped_biases(layer, biases, Tensor::require_grad)
    }

    fn mapped_biases(
        mut self,
        layer: LayerId,
        biases: &[f32],
        as_they_are: impl FnOnce(Tensor<1>) -> Tensor<1>,
    ) -> Self {
        let bias = match &mut self.layers[layer.0 as usize].router {
            Some(Router::TopK(TopKRouter { bias, n_closed, .. })) => {
                *n_closed = biases.iter().filter(|bias| **bias == f32::NEG_INFINITY).count();
                Some(bias)
            }
            Some(Router::TopAny(_) | Router::Assigned(_)) | None => None,
        };
        let n_experts = bias.as_ref().map_or(0, |bias| bias.dims()[0]);
        assert_eq!(biases.len(), n_experts, "biases of layer {} must be [{n_experts}]", layer.0);
        if let Some(bias) = bias {
            *bias = bias.clone().map(|old| as_they_are(Tensor::from_data(biases, &old.device())));
        }
        self
    }
}
