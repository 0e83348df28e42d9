//! Plans as people write them: experts by number, and none for those that are still to come.

use crate::{CheckedPlan, Edit, Evidence, ExpertId, ExpertInit, LayerId, Layout, Limits, Plan, PlanError};

/// Edits that have no layout yet. [`Self::check`] numbers the new experts and makes a [`CheckedPlan`] of them.
/// All edits of one plan refer to the experts as they were before it, and happen together.
///
/// ```
/// use moelt_schema::{ExpertId, LayerKind, Layout, Plan};
/// let layout = Layout::uniform(2, LayerKind::TopK { k: 2 }, 4);
/// let plan = Plan::new(100).copy_expert(2, 0.01).prune(0).in_layer(1).split(3).check(&layout, 2..=8)?;
/// let experts = |layer: usize| plan.after().layers()[layer].experts.clone();
/// assert_eq!(experts(0), [1, 2, 3, 4].map(ExpertId));
/// assert_eq!(experts(1), [0, 1, 2, 3, 5].map(ExpertId));
/// # Ok::<(), moelt_schema::PlanError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PlanDraft {
    step: u64,
    reason: String,
    /// Where the edits to come are made.
    layer: LayerId,
    edits: Vec<(LayerId, DraftEdit)>,
}

/// An edit whose new experts have no ids.
#[derive(Clone, Debug, PartialEq)]
enum DraftEdit {
    Grow(ExpertInit),
    Upcycle {
        n_experts: usize,
        top_k: usize,
        reinit: f64,
    },
    /// One that brings no new expert.
    Numbered(Edit),
}

impl Plan {
    /// A plan without edits, for after `step` optimizer steps. Edits are added one by one, in layer 0 unless
    /// [`PlanDraft::in_layer`] names another.
    #[allow(clippy::new_ret_no_self)] // it becomes a plan where the layout is known that numbers new experts
    pub fn new(step: u64) -> PlanDraft {
        PlanDraft { step, reason: String::new(), layer: LayerId(0), edits: Vec::new() }
    }
}

impl PlanDraft {
    /// The edits that follow are made in this layer, counted from 0.
    pub fn in_layer(self, layer: u32) -> Self {
        Self { layer: LayerId(layer), ..self }
    }

    /// Why, for the edit log.
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// A new expert, drawn anew.
    pub fn grow(self) -> Self {
        self.grow_as(ExpertInit::Fresh)
    }

    /// A copy of an expert with Gaussian noise, its standard deviation as a fraction of the RMS of each tensor.
    pub fn copy_expert(self, parent: u64, noise: f64) -> Self {
        self.grow_as(ExpertInit::Copy { parent: ExpertId(parent), noise })
    }

    /// The other half of an expert: both share its router probability.
    pub fn split(self, parent: u64) -> Self {
        self.grow_as(ExpertInit::Split { parent: ExpertId(parent) })
    }

    /// A new expert that begins like this.
    pub fn grow_as(self, init: ExpertInit) -> Self {
        self.with(DraftEdit::Grow(init))
    }

    /// An expert goes.
    pub fn prune(self, expert: u64) -> Self {
        let edit = Edit::Prune { layer: self.layer, expert: ExpertId(expert) };
        self.with(DraftEdit::Numbered(edit))
    }

    /// `from` goes, averaged into `into` with the weight `share`, 0 to 1.
    pub fn merge(self, from: u64, into: u64, share: f64) -> Self {
        let edit = Edit::Merge { layer: self.layer, from: ExpertId(from), into: ExpertId(into), share };
        self.with(DraftEdit::Numbered(edit))
    }

    /// The experts in another order, by id.
    pub fn reorder(self, order: impl IntoIterator<Item = u64>) -> Self {
        let order = order.into_iter().map(ExpertId).collect();
        let edit = Edit::Reorder { layer: self.layer, order };
        self.with(DraftEdit::Numbered(edit))
    }

    /// An expert is trained no further.
    pub fn freeze(self, expert: u64) -> Self {
        let edit = Edit::Freeze { layer: self.layer, expert: ExpertId(expert) };
        self.with(DraftEdit::Numbered(edit))
    }

    /// A frozen expert is trained again.
    pub fn thaw(self, expert: u64) -> Self {
        let edit = Edit::Thaw { layer: self.layer, expert: ExpertId(expert) };
        self.with(DraftEdit::Numbered(edit))
    }

    /// Everything that is no expert's is trained no further.
    pub fn freeze_shared(self) -> Self {
        self.with(DraftEdit::Numbered(Edit::FreezeShared {}))
    }

    /// It is trained again.
    pub fn thaw_shared(self) -> Self {
        self.with(DraftEdit::Numbered(Edit::ThawShared {}))
    }

    /// A dense layer becomes one of `n_experts` with a router; of each copy's hidden units the fraction `reinit` is
    /// drawn anew.
    pub fn upcycle(self, n_experts: usize, top_k: usize, reinit: f64) -> Self {
        self.with(DraftEdit::Upcycle { n_experts, top_k, reinit })
    }

    fn with(mut self, edit: DraftEdit) -> Self {
        self.edits.push((self.layer, edit));
        self
    }

    /// The plan for a layout, unchecked: new experts get the ids that come next there, in the order of the edits.
    pub fn numbered(self, layout: &Layout) -> Plan {
        let mut next = layout.next_id().0;
        let mut claim = || {
            next += 1;
            ExpertId(next - 1)
        };
        let edit = |(layer, edit): (LayerId, DraftEdit)| match edit {
            DraftEdit::Grow(init) => Edit::Grow { layer, new: claim(), init },
            DraftEdit::Upcycle { n_experts, top_k, reinit } => {
                // Whether there is such a layer, and whether it is dense, is for the check.
                let dense = layout.layer(layer).and_then(|layer| layer.experts.first().copied());
                let first = dense.unwrap_or(ExpertId(0));
                let into = (0..n_experts).map(|at| if at == 0 { first } else { claim() }).collect();
                Edit::Upcycle { layer, into, top_k, reinit }
            }
            DraftEdit::Numbered(edit) => edit,
        };
        let edits = self.edits.into_iter().map(edit).collect();
        Plan { step: self.step, edits, reason: self.reason, evidence: Evidence::default() }
    }

    /// The edits for a layout, numbered as [`Self::numbered`] does: what a policy decides or has measured.
    pub fn edits(self, layout: &Layout) -> Vec<Edit> {
        self.numbered(layout).edits
    }

    /// Numbers the new experts and checks the plan: see [`Plan::check`].
    ///
    /// # Errors
    /// As [`Plan::check`].
    pub fn check(self, layout: &Layout, limits: impl Into<Limits>) -> Result<CheckedPlan, PlanError> {
        self.numbered(layout).check(layout, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LayerKind;

    #[test]
    fn a_draft_is_the_plan_with_the_ids_that_come_next() {
        let layout = Layout::uniform(2, LayerKind::TopK { k: 1 }, 3);
        let draft = Plan::new(7).because("test").grow().in_layer(1).merge(2, 0, 0.5).copy_expert(1, 0.1);
        let (layer, other) = (LayerId(0), LayerId(1));
        let edits = vec![
            Edit::Grow { layer, new: ExpertId(3), init: ExpertInit::Fresh },
            Edit::Merge { layer: other, from: ExpertId(2), into: ExpertId(0), share: 0.5 },
            Edit::Grow {
                layer: other,
                new: ExpertId(4),
                init: ExpertInit::Copy { parent: ExpertId(1), noise: 0.1 },
            },
        ];
        let plan = Plan { step: 7, edits, reason: "test".into(), evidence: Evidence::default() };
        assert_eq!(draft.clone().numbered(&layout), plan);
        assert_eq!(draft.check(&layout, 1..).unwrap().plan(), &plan);
    }

    #[test]
    fn an_upcycled_layer_keeps_its_dense_expert_as_the_first() {
        let dense = Layout::uniform(1, LayerKind::Dense, 1);
        let plan = Plan::new(0).upcycle(3, 2, 0.5).check(&dense, 2..=4).unwrap();
        assert_eq!(plan.after().layers()[0].experts, [0, 1, 2].map(ExpertId));
        let refused = Plan::new(0).in_layer(4).upcycle(3, 2, 0.5).check(&dense, 1..).unwrap_err();
        assert!(matches!(refused, PlanError::NoLayer { .. }), "{refused}");
    }

    #[test]
    fn limits_are_a_range() {
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 3);
        let refused = Plan::new(0).grow().check(&layout, 1..=3).unwrap_err();
        assert_eq!(refused.to_string(), "layer 0 would have 4 experts; at least 1 and at most 3 are allowed");
        assert!(
            Plan::new(0).reorder([2, 0, 1]).split(1).check(&layout, 3..).is_err(),
            "in two edits at once"
        );
    }
}
