//! What surgery and the loop may do to a classifier's experts: which parameters have an expert axis, which
//! routers there are, and the offsets on router logits.

use burn::tensor::Tensor;
use moelt_schema::{ExpertAxes, ExpertAxis, ExpertRole, LayerId, Layout, RowInit};

use crate::{
    Classifier, MoeLayer,
    host::to_host,
    init::ExpertPart::{BIn, BOut, Router, WIn, WOut},
};

impl ExpertAxes for Classifier {
    fn expert_axes(&self) -> Vec<ExpertAxis> {
        let of_layer = |(index, layer): (usize, &MoeLayer)| {
            let axes = layer_axes(layer).into_iter();
            axes.map(move |(name, hidden, role, init)| ExpertAxis {
                param: format!("layers.{index}.{name}"),
                layer: LayerId(index as u32),
                axis: 0,
                hidden,
                role,
                init,
            })
        };
        self.layers.iter().enumerate().flat_map(of_layer).collect()
    }

    fn with_parts_of(mut self, layout: &Layout) -> Self {
        let kinds = layout.layers();
        assert_eq!(self.layers.len(), kinds.len(), "layers of the model, and of the layout");
        let layers = self.layers.into_iter().zip(kinds);
        self.layers = layers.map(|(layer, layout)| layer.with_kind(layout.kind)).collect();
        self
    }
}

/// Path below the layer, axis of the hidden units, role, and how a new row is drawn.
type LayerAxis = (&'static str, Option<usize>, ExpertRole, RowInit);

fn layer_axes(layer: &MoeLayer) -> Vec<LayerAxis> {
    let [_, d_model, d_ff] = layer.experts.w_in.dims();
    let (weight, zeros) = (Router.init(d_model), RowInit::Zeros);
    let mut axes = Vec::new();
    if layer.router.is_some() {
        axes.push(("router.weight", None, ExpertRole::Router, weight));
        axes.push(("router.offset", None, ExpertRole::Offset, zeros));
    }
    if layer.top_any.is_some() {
        axes.push(("top_any.weight", None, ExpertRole::Router, weight));
        axes.push(("top_any.threshold", None, ExpertRole::Other, zeros));
    }
    axes.extend([
        ("experts.w_in", Some(2), ExpertRole::Input, WIn.init(d_model)),
        ("experts.b_in", Some(1), ExpertRole::Input, BIn.init(d_model)),
        ("experts.w_out", Some(1), ExpertRole::Output, WOut.init(d_ff)),
        ("experts.b_out", None, ExpertRole::Output, BOut.init(d_ff)),
    ]);
    axes
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
        let router = self.layers[layer.0 as usize].router.as_ref();
        router.map(|router| to_host(router.offset.val())).unwrap_or_default()
    }

    /// The classifier with these offsets in a layer.
    ///
    /// # Shapes
    /// - offsets: `[n_experts]`, or empty for a layer without a top-k router
    ///
    /// # Panics
    /// When there is no such layer, or the length is another.
    pub fn with_offsets(mut self, layer: LayerId, offsets: &[f32]) -> Self {
        let router = &mut self.layers[layer.0 as usize].router;
        let n_experts = router.as_ref().map_or(0, |router| router.offset.dims()[0]);
        assert_eq!(offsets.len(), n_experts, "offsets of layer {} must be [{n_experts}]", layer.0);
        if let Some(router) = router {
            router.offset = router.offset.clone().map(|old| Tensor::from_data(offsets, &old.device()));
        }
        self
    }
}
