//! Which experts exist, in which layer, in which order.

use std::collections::BTreeSet;

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
    /// One expert that sees every token; no router.
    Dense,
    /// A router sends each token to its best experts.
    TopK {
        /// How many of them; [`LayerLayout::effective_top_k`] says how many that can be.
        k: usize,
    },
    /// A token goes to every expert whose threshold it passes, one at least (DynMoE, Guo et al. 2024).
    TopAny,
    /// A token goes to the one expert of its text's group: expert `i` serves group `i`.
    Assigned,
}

/// One layer: its kind and its experts in the order of the router's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerLayout {
    /// Dense or Mixture of Experts.
    pub kind: LayerKind,
    /// The experts, in router order.
    pub experts: Vec<ExpertId>,
    /// Those of them that are not trained, ascending.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub frozen: BTreeSet<ExpertId>,
}

impl LayerLayout {
    /// A layer of new experts, numbered from 0 and all trained; a dense layer has one.
    fn first(kind: LayerKind, n_experts: usize) -> Self {
        let experts = (0..Self::first_n_experts(kind, n_experts) as u64).map(ExpertId).collect();
        Self { kind, experts, frozen: BTreeSet::new() }
    }

    /// Whether this is [`Self::first`] of these.
    fn is_first(&self, kind: LayerKind, n_experts: usize) -> bool {
        self.kind == kind
            && self.n_experts() == Self::first_n_experts(kind, n_experts)
            && self.frozen.is_empty()
            && self.experts.iter().zip(0..).all(|(expert, id)| expert.0 == id)
    }

    fn first_n_experts(kind: LayerKind, n_experts: usize) -> usize {
        if kind == LayerKind::Dense { 1 } else { n_experts.max(1) }
    }

    /// Number of experts.
    pub fn n_experts(&self) -> usize {
        self.experts.len()
    }

    /// Where an expert lies, if it is there.
    pub fn position(&self, expert: ExpertId) -> Option<usize> {
        self.experts.iter().position(|id| *id == expert)
    }

    /// Positions of the experts that are not trained, ascending.
    pub fn frozen_positions(&self) -> Vec<usize> {
        (0..self.experts.len()).filter(|at| self.frozen.contains(&self.experts[*at])).collect()
    }

    /// Experts that work on one token, at most: `min(top_k, n_experts)`, 1 for a dense layer and where experts are assigned,
    /// all with top-any routing.
    pub fn effective_top_k(&self) -> usize {
        match self.kind {
            LayerKind::Dense | LayerKind::Assigned => 1,
            LayerKind::TopK { k: top_k } => top_k.min(self.experts.len()),
            LayerKind::TopAny => self.experts.len(),
        }
    }
}

/// Which experts exist, per layer. A model is built from this, then filled with weights.
///
/// One that is read from a file is checked ([`LayoutError`]): no model can be asked for that has a layer
/// without experts, a router that chooses none, or one expert twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LayoutFile")]
pub struct Layout {
    layers: Vec<LayerLayout>,
    next_id: u64,
    #[serde(skip_serializing_if = "is_false")]
    shared_frozen: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A layout as it lies on disk, not yet checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutFile {
    layers: Vec<LayerLayout>,
    next_id: u64,
    #[serde(default)]
    shared_frozen: bool,
}

/// A layout that no model can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// There is no layer.
    #[error("a layout needs at least one layer")]
    NoLayer,
    /// A layer with the wrong number of experts for its kind.
    #[error("layer {layer} has {n_experts} experts; a {kind} layer needs {needed}")]
    Experts {
        /// Its place.
        layer: usize,
        /// How many it has.
        n_experts: usize,
        /// `dense`, `top_k`, `top_any` or `assigned`.
        kind: &'static str,
        /// How many it needs, in words.
        needed: &'static str,
    },
    /// A router that would choose no expert.
    #[error("layer {0} has top_k 0; must be at least 1")]
    TopK(usize),
    /// Two experts of one id.
    #[error("layer {layer} has expert {} twice", expert.0)]
    Twice {
        /// Its place.
        layer: usize,
        /// The id.
        expert: ExpertId,
    },
    /// An expert that is frozen, but not there.
    #[error("layer {layer} has expert {} frozen, which is none of its experts", expert.0)]
    Frozen {
        /// Its place.
        layer: usize,
        /// The id.
        expert: ExpertId,
    },
    /// An id that a new expert would get again.
    #[error("layer {layer} has expert {}, but next_id is {next_id}; must be above every expert's id", expert.0)]
    NextId {
        /// Its place.
        layer: usize,
        /// The id.
        expert: ExpertId,
        /// The next one.
        next_id: u64,
    },
    /// More experts than ids.
    #[error("next_id is {0}; must be at most {max}", max = Layout::MAX_ID)]
    TooManyIds(u64),
}

impl LayoutFile {
    fn check_layer(&self, at: usize) -> Result<(), LayoutError> {
        let LayerLayout { kind, experts, frozen } = &self.layers[at];
        let (kind, needed, fits) = match kind {
            LayerKind::Dense => ("dense", "exactly 1", experts.len() == 1),
            LayerKind::TopK { .. } => ("top_k", "at least 1", !experts.is_empty()),
            LayerKind::TopAny => ("top_any", "at least 1", !experts.is_empty()),
            LayerKind::Assigned => ("assigned", "at least 1", !experts.is_empty()),
        };
        if !fits {
            return Err(LayoutError::Experts { layer: at, n_experts: experts.len(), kind, needed });
        }
        let mut seen = BTreeSet::new();
        for expert in experts {
            if !seen.insert(expert) {
                return Err(LayoutError::Twice { layer: at, expert: *expert });
            }
            if expert.0 >= self.next_id {
                return Err(LayoutError::NextId { layer: at, expert: *expert, next_id: self.next_id });
            }
        }
        if let Some(expert) = frozen.iter().find(|expert| !experts.contains(expert)) {
            return Err(LayoutError::Frozen { layer: at, expert: *expert });
        }
        match self.layers[at].kind {
            LayerKind::TopK { k: 0 } => Err(LayoutError::TopK(at)),
            _ => Ok(()),
        }
    }
}

impl TryFrom<LayoutFile> for Layout {
    type Error = LayoutError;

    fn try_from(file: LayoutFile) -> Result<Self, LayoutError> {
        if file.layers.is_empty() {
            return Err(LayoutError::NoLayer);
        }
        if file.next_id > Self::MAX_ID {
            return Err(LayoutError::TooManyIds(file.next_id));
        }
        (0..file.layers.len()).try_for_each(|at| file.check_layer(at))?;
        Ok(Self { layers: file.layers, next_id: file.next_id, shared_frozen: file.shared_frozen })
    }
}

impl Layout {
    /// Ids stay below this: an expert's random streams are numbered by layer and id together.
    pub const MAX_ID: u64 = 1 << 40;

    /// `n_layers` layers of one kind with `n_experts` experts each (a dense layer has one).
    ///
    /// Every layer numbers its own experts from 0, so that the initial experts of two layouts of
    /// different size are the same ones; experts added later get ids no layer has used.
    ///
    /// ```
    /// use moelt_schema::{LayerKind, LayerId, Layout};
    /// let layout = Layout::uniform(1, LayerKind::TopK { k: 2 }, 4);
    /// assert_eq!(layout.layer(LayerId(0)).unwrap().n_experts(), 4);
    /// ```
    pub fn uniform(n_layers: usize, kind: LayerKind, n_experts: usize) -> Self {
        Self::of_kinds(std::iter::repeat_n(kind, n_layers), n_experts)
    }

    /// The same with a kind for each layer.
    pub fn of_kinds(kinds: impl IntoIterator<Item = LayerKind>, n_experts: usize) -> Self {
        let layers: Vec<LayerLayout> =
            kinds.into_iter().map(|kind| LayerLayout::first(kind, n_experts)).collect();
        let next_id = layers.iter().map(|layer| layer.n_experts() as u64).max().unwrap_or(0);
        Self { layers, next_id, shared_frozen: false }
    }

    /// Whether this is [`Self::of_kinds`] of these kinds. Nothing is allocated, however large the numbers are.
    pub(crate) fn is_of_kinds(&self, kind: impl Fn(usize) -> LayerKind, n_experts: usize) -> bool {
        let first = |(at, layer): (usize, &LayerLayout)| layer.is_first(kind(at), n_experts);
        let next_id = self.layers.iter().map(|layer| layer.n_experts() as u64).max();
        (next_id, self.shared_frozen) == (Some(self.next_id), false)
            && self.layers.iter().enumerate().all(first)
    }

    /// The same layers with new experts: as many in each, numbered from 0, all of them trained.
    pub fn renumbered(&self) -> Self {
        let largest = self.layers.iter().map(LayerLayout::n_experts).max().unwrap_or(0);
        let renumber = |layer: &LayerLayout| LayerLayout {
            kind: layer.kind,
            experts: (0..layer.n_experts() as u64).map(ExpertId).collect(),
            frozen: BTreeSet::new(),
        };
        let layers = self.layers.iter().map(renumber).collect();
        Self { layers, next_id: largest as u64, shared_frozen: false }
    }

    /// Whether what is no expert's is trained no further.
    pub fn shared_frozen(&self) -> bool {
        self.shared_frozen
    }

    /// Whether everything is trained.
    pub fn all_trained(&self) -> bool {
        !self.shared_frozen && self.layers.iter().all(|layer| layer.frozen.is_empty())
    }

    /// What is no expert's is frozen, or trained.
    pub(crate) fn set_shared_frozen(&mut self, frozen: bool) {
        self.shared_frozen = frozen;
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
        let mut layout = Layout::uniform(2, LayerKind::TopK { k: 1 }, 3);
        layout.layers[1].experts = vec![ExpertId(1), ExpertId(8)];
        layout.next_id = 9;
        let renumbered = layout.renumbered();
        assert_eq!(renumbered.layers[1].experts, [0, 1].map(ExpertId));
        assert_eq!((renumbered.n_experts(), renumbered.next_id()), (5, ExpertId(3)));
    }

    #[test]
    fn top_k_is_bounded_by_the_number_of_experts() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 2 }, 1);
        assert_eq!(layout.layers()[0].effective_top_k(), 1);
        assert_eq!(layout.next_id(), ExpertId(1));
    }

    #[test]
    fn a_layout_that_no_model_can_have_is_refused_when_it_is_read() {
        let read = |layers: &str, next_id: u64| {
            let text = format!(r#"{{"layers": [{layers}], "next_id": {next_id}}}"#);
            serde_json::from_str::<Layout>(&text).map(drop).map_err(|error| error.to_string())
        };
        let moe = |top_k: u64, experts: &str| {
            format!(r#"{{"kind": {{"top_k": {{"k": {top_k}}}}}, "experts": [{experts}]}}"#)
        };
        assert_eq!(read(&moe(2, "1, 0"), 2), Ok(()));
        let dense = |experts: &str| format!(r#"{{"kind": "dense", "experts": [{experts}]}}"#);
        let top_any = r#"{"kind": "top_any", "experts": []}"#.to_owned();
        let cases = [
            (String::new(), 0, "a layout needs at least one layer"),
            (moe(0, "0"), 1, "layer 0 has top_k 0; must be at least 1"),
            (moe(1, ""), 1, "layer 0 has 0 experts; a top_k layer needs at least 1"),
            (top_any, 1, "layer 0 has 0 experts; a top_any layer needs at least 1"),
            (dense("0, 1"), 2, "layer 0 has 2 experts; a dense layer needs exactly 1"),
            ([dense("0"), moe(1, "3, 3")].join(","), 4, "layer 1 has expert 3 twice"),
            (moe(1, "0, 2"), 2, "layer 0 has expert 2, but next_id is 2; must be above every expert's id"),
            (
                r#"{"kind": "dense", "experts": [0], "frozen": [1]}"#.to_owned(),
                2,
                "layer 0 has expert 1 frozen, which is none of its experts",
            ),
            (moe(1, "0"), u64::MAX, "next_id is 18446744073709551615; must be at most 1099511627776"),
        ];
        for (layers, next_id, message) in cases {
            let error = read(&layers, next_id).unwrap_err();
            assert!(error.contains(message), "{layers}: {error}");
        }
    }

    #[test]
    fn a_first_layout_is_recognised_without_being_built() {
        let top_2 = LayerKind::TopK { k: 2 };
        let layout = Layout::of_kinds([LayerKind::Dense, top_2], 3);
        let mixed = |at: usize| if at == 0 { LayerKind::Dense } else { top_2 };
        assert!(layout.is_of_kinds(mixed, 3));
        assert!(!layout.is_of_kinds(|_| top_2, 3));
        assert!(!layout.is_of_kinds(mixed, usize::MAX));
        assert!(!layout.is_of_kinds(|at| if at == 0 { LayerKind::Dense } else { LayerKind::TopAny }, 3));
        assert!(Layout::uniform(2, LayerKind::Dense, 8).is_of_kinds(|_| LayerKind::Dense, 8));
        assert!(!Layout { next_id: 9, ..layout }.is_of_kinds(mixed, 3));
    }
}
