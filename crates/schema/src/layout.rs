//! Which experts exist, in which layer, in which order.

use serde::{Deserialize, Serialize};

/// A layer of the model, counted from the input, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerId(pub u32);

/// An expert, for its whole life. Ids are never reused; positions shift, ids do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExpertId(pub u64);

/// What a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// One expert that sees every row; no router.
    Dense,
    /// A router sends each row to its `top_k` best experts.
    Moe {
        /// Experts asked for per row; [`LayerLayout::effective_top_k`] says how many that can be.
        top_k: usize,
    },
    /// A row goes to every expert whose threshold it passes, one at least (DynMoE, Guo et al. 2024).
    TopAny,
}

/// One layer: its kind and its experts in the order of the router's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerLayout {
    /// Dense or Mixture of Experts.
    pub kind: LayerKind,
    /// The experts, in router order.
    pub experts: Vec<ExpertId>,
}

impl LayerLayout {
    /// Number of experts.
    pub fn n_experts(&self) -> usize {
        self.experts.len()
    }

    /// Experts that work on one row, at most: `min(top_k, n_experts)`, 1 for a dense layer, all with
    /// top-any routing.
    pub fn effective_top_k(&self) -> usize {
        match self.kind {
            LayerKind::Dense => 1,
            LayerKind::Moe { top_k } => top_k.min(self.experts.len()),
            LayerKind::TopAny => self.experts.len(),
        }
    }
}

/// Which experts exist, per layer. A model is built from this, then filled with weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    layers: Vec<LayerLayout>,
    next_id: u64,
}

impl Layout {
    /// `n_layers` layers of one kind with `n_experts` experts each (a dense layer has one).
    ///
    /// Every layer numbers its own experts from 0, so that the initial experts of two layouts of
    /// different size are the same ones; experts added later get ids no layer has used.
    ///
    /// ```
    /// use moelt_schema::{LayerKind, LayerId, Layout};
    /// let layout = Layout::uniform(1, LayerKind::Moe { top_k: 2 }, 4);
    /// assert_eq!(layout.layer(LayerId(0)).unwrap().n_experts(), 4);
    /// ```
    pub fn uniform(n_layers: usize, kind: LayerKind, n_experts: usize) -> Self {
        let n_experts = if kind == LayerKind::Dense { 1 } else { n_experts.max(1) };
        let experts = (0..n_experts as u64).map(ExpertId).collect();
        Self { layers: vec![LayerLayout { kind, experts }; n_layers], next_id: n_experts as u64 }
    }

    /// The same layers with new experts: as many in each, numbered from 0.
    pub fn renumbered(&self) -> Self {
        let largest = self.layers.iter().map(LayerLayout::n_experts).max().unwrap_or(0);
        let renumber = |layer: &LayerLayout| LayerLayout {
            kind: layer.kind,
            experts: (0..layer.n_experts() as u64).map(ExpertId).collect(),
        };
        Self { layers: self.layers.iter().map(renumber).collect(), next_id: largest as u64 }
    }

    /// The layers, from the input.
    pub fn layers(&self) -> &[LayerLayout] {
        &self.layers
    }

    /// One layer, if it exists.
    pub fn layer(&self, id: LayerId) -> Option<&LayerLayout> {
        self.layers.get(id.0 as usize)
    }

    /// The id the next new expert gets, in whichever layer it is born.
    pub fn next_id(&self) -> ExpertId {
        ExpertId(self.next_id)
    }

    /// One layer becomes another. The layer exists.
    pub(crate) fn replace(&mut self, id: LayerId, layer: LayerLayout) {
        self.layers[id.0 as usize] = layer;
    }

    /// No id before `next` is given to a new expert any more.
    pub(crate) fn use_ids_before(&mut self, next: ExpertId) {
        self.next_id = self.next_id.max(next.0);
    }

    /// Experts over all layers.
    pub fn n_experts(&self) -> usize {
        self.layers.iter().map(LayerLayout::n_experts).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dense_layer_has_one_expert_whatever_was_asked() {
        let layout = Layout::uniform(2, LayerKind::Dense, 8);
        assert_eq!(layout.n_experts(), 2);
        assert_eq!(layout.layers()[0].effective_top_k(), 1);
    }

    #[test]
    fn renumbered_experts_are_as_many_and_begin_at_0() {
        let mut layout = Layout::uniform(2, LayerKind::Moe { top_k: 1 }, 3);
        layout.layers[1].experts = vec![ExpertId(1), ExpertId(8)];
        layout.next_id = 9;
        let renumbered = layout.renumbered();
        assert_eq!(renumbered.layers[1].experts, [0, 1].map(ExpertId));
        assert_eq!((renumbered.n_experts(), renumbered.next_id()), (5, ExpertId(3)));
    }

    #[test]
    fn top_k_is_bounded_by_the_number_of_experts() {
        let layout = Layout::uniform(1, LayerKind::Moe { top_k: 2 }, 1);
        assert_eq!(layout.layers()[0].effective_top_k(), 1);
        assert_eq!(layout.next_id(), ExpertId(1));
    }
}
