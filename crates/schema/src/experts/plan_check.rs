//! From a plan to something that can be applied: every id checked, every row's source known.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{RangeFrom, RangeInclusive},
};

use serde::{Deserialize, Serialize};

use crate::{
    Edit, ExpertId, ExpertInit, LayerId, LayerKind, LayerLayout, Layout, Plan, PlanError, RowMap, RowSource,
    RowStart,
};

/// How many experts a layer may have. Ranges such as `2..=8` and `1..` are limits too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// At least so many; 0 counts as 1.
    pub min: usize,
    /// At most so many.
    pub max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min: 1, max: usize::MAX }
    }
}

impl From<RangeInclusive<usize>> for Limits {
    fn from(range: RangeInclusive<usize>) -> Self {
        Self { min: *range.start(), max: *range.end() }
    }
}

impl From<RangeFrom<usize>> for Limits {
    fn from(range: RangeFrom<usize>) -> Self {
        Self { min: range.start, max: usize::MAX }
    }
}

/// A plan that fits a layout. Made by [`Plan::check`] alone.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedPlan {
    plan: Plan,
    before: Layout,
    after: Layout,
    maps: BTreeMap<LayerId, RowMap>,
}

impl CheckedPlan {
    /// What was asked for.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The layout it applies to.
    pub fn before(&self) -> &Layout {
        &self.before
    }

    /// The layout it leads to.
    pub fn after(&self) -> &Layout {
        &self.after
    }

    /// The sources of the rows of every layer that changes.
    pub fn maps(&self) -> &BTreeMap<LayerId, RowMap> {
        &self.maps
    }
}

impl Plan {
    /// Checks the plan against the layout it is for. A plan without edits is fine and changes nothing.
    ///
    /// ```
    /// use moelt_schema::{ExpertId, LayerKind, Layout, Plan};
    /// let layout = Layout::uniform(1, LayerKind::TopK { k: 2 }, 4);
    /// let plan = Plan::new(10).grow().prune(1).check(&layout, 2..=8)?;
    /// assert_eq!(plan.after().layers()[0].experts, [0, 2, 3, 4].map(ExpertId));
    /// # Ok::<(), moelt_schema::PlanError>(())
    /// ```
    ///
    /// # Errors
    /// On an unknown, repeated or reused id, an expert that takes part in two edits, a layer of the wrong
    /// kind, a number that makes no sense, or fewer or more experts than `limits` allow.
    pub fn check(self, layout: &Layout, limits: impl Into<Limits>) -> Result<CheckedPlan, PlanError> {
        let limits = limits.into();
        let mut layers: BTreeMap<LayerId, LayerEdit> = BTreeMap::new();
        let mut next_id = layout.next_id();
        let mut after = layout.clone();
        for edit in &self.edits {
            let Some(id) = edit.layer() else {
                freeze_shared(&mut after, matches!(edit, Edit::FreezeShared {}))?;
                continue;
            };
            let before =
                layout.layer(id).ok_or(PlanError::NoLayer { layer: id, n_layers: layout.layers().len() })?;
            let layer = layers.entry(id).or_insert_with(|| LayerEdit::new(id, before));
            layer.add(edit, &mut next_id)?;
        }
        let mut maps = BTreeMap::new();
        for (id, layer) in layers {
            let (layout, map) = layer.finish(&limits)?;
            after.replace(id, layout);
            maps.insert(id, map);
        }
        after.use_ids_before(next_id);
        Ok(CheckedPlan { plan: self, before: layout.clone(), after, maps })
    }
}

/// What is no expert's is frozen or thawed.
fn freeze_shared(layout: &mut Layout, frozen: bool) -> Result<(), PlanError> {
    if layout.shared_frozen() == frozen {
        return Err(PlanError::Frozen { expert: None, frozen });
    }
    layout.set_shared_frozen(frozen);
    Ok(())
}

/// A layer under edit.
struct LayerEdit<'a> {
    id: LayerId,
    before: &'a LayerLayout,
    kind: LayerKind,
    /// What becomes of each old row; none when it goes.
    old: Vec<Option<RowSource>>,
    new: Vec<(ExpertId, RowSource)>,
    order: Option<Vec<ExpertId>>,
    /// Experts that are not trained afterwards, where they stay.
    frozen: BTreeSet<ExpertId>,
    /// Old experts that an edit changes or removes.
    changed: BTreeSet<ExpertId>,
    /// Old experts that a new one is copied from.
    copied: BTreeSet<ExpertId>,
}

impl<'a> LayerEdit<'a> {
    fn new(id: LayerId, before: &'a LayerLayout) -> Self {
        Self {
            id,
            before,
            kind: before.kind,
            old: (0..before.n_experts()).map(|old| Some(RowSource::Keep(old))).collect(),
            new: Vec::new(),
            order: None,
            frozen: before.frozen.clone(),
            changed: BTreeSet::new(),
            copied: BTreeSet::new(),
        }
    }

    fn add(&mut self, edit: &Edit, next_id: &mut ExpertId) -> Result<(), PlanError> {
        let upcycle = matches!(edit, Edit::Upcycle { .. });
        if upcycle != (self.kind == LayerKind::Dense) {
            let message = if upcycle { "has a router already" } else { "is dense; upcycle it first" };
            return Err(PlanError::Kind { layer: self.id, message });
        }
        let keeps_places = matches!(edit, Edit::Grow { .. } | Edit::Freeze { .. } | Edit::Thaw { .. });
        if self.kind == LayerKind::Assigned && !keeps_places {
            let message =
                "has experts that are assigned by their places: they can be grown, frozen and thawed";
            return Err(PlanError::Kind { layer: self.id, message });
        }
        match edit {
            Edit::Grow { new, init, .. } => self.grow(*new, init, next_id),
            Edit::Prune { expert, .. } => {
                let old = self.change(*expert)?;
                self.old[old] = None;
                Ok(())
            }
            Edit::Merge { from, into, share, .. } => self.merge(*from, *into, *share),
            Edit::Upcycle { into, top_k, reinit, .. } => self.upcycle(into, *top_k, *reinit, next_id),
            Edit::Reorder { order, .. } => self.reorder(order),
            Edit::Redraw { expert, units, centre, .. } => self.redraw(*expert, units, centre),
            Edit::Freeze { expert, .. } => self.freeze(*expert, true),
            Edit::Thaw { expert, .. } => self.freeze(*expert, false),
            Edit::FreezeShared {} | Edit::ThawShared {} => Ok(()),
        }
    }

    fn grow(&mut self, new: ExpertId, init: &ExpertInit, next_id: &mut ExpertId) -> Result<(), PlanError> {
        self.claim(new, next_id)?;
        let start = match init {
            ExpertInit::Fresh => RowStart::Fresh,
            ExpertInit::Aimed { direction } => {
                self.are_finite("the direction", direction)?;
                RowStart::Aimed(direction.clone())
            }
            ExpertInit::Copy { parent, noise } => {
                self.value("noise", *noise, |v| v >= 0.0 && v.is_finite(), "at least 0")?;
                RowStart::Copy { parent: self.copy(*parent)?, noise: *noise }
            }
            ExpertInit::Split { parent } => {
                self.is_trained(*parent)?;
                let old = self.change(*parent)?;
                self.old[old] = Some(RowSource::Halve(old));
                RowStart::Half(old)
            }
            ExpertInit::SplitAlong { parent, by } => {
                self.are_finite("the direction", &by.direction)?;
                self.value("the constant", by.constant, f64::is_finite, "finite")?;
                self.is_trained(*parent)?;
                let old = self.change(*parent)?;
                self.old[old] = Some(RowSource::Shifted(old, by.times(-0.5)));
                RowStart::Shifted(old, by.times(0.5))
            }
        };
        self.new.push((new, RowSource::New { expert: new, start }));
        Ok(())
    }

    fn merge(&mut self, from: ExpertId, into: ExpertId, share: f64) -> Result<(), PlanError> {
        self.value("share", share, |v| (0.0..=1.0).contains(&v), "0 to 1")?;
        self.is_trained(from)?;
        self.is_trained(into)?;
        let (gone, stays) = (self.change(from)?, self.change(into)?);
        self.old[gone] = None;
        self.old[stays] = Some(RowSource::Merge { into: stays, from: vec![(gone, share)] });
        Ok(())
    }

    fn upcycle(
        &mut self,
        into: &[ExpertId],
        top_k: usize,
        reinit: f64,
        next_id: &mut ExpertId,
    ) -> Result<(), PlanError> {
        self.value("reinit", reinit, |v| (0.0..=1.0).contains(&v), "0 to 1")?;
        self.value("top_k", top_k as f64, |v| v >= 1.0, "at least 1")?;
        let (first, others) = into
            .split_first()
            .ok_or(PlanError::Kind { layer: self.id, message: "is to be upcycled into no experts" })?;
        let parent = self.change(*first)?;
        for id in others {
            self.claim(*id, next_id)?;
            let start = RowStart::Upcycled { parent, reinit };
            self.new.push((*id, RowSource::New { expert: *id, start }));
        }
        self.kind = LayerKind::TopK { k: top_k };
        Ok(())
    }

    fn reorder(&mut self, order: &[ExpertId]) -> Result<(), PlanError> {
        let there = &self.before.experts;
        let sorted = |ids: &[ExpertId]| {
            let mut ids = ids.to_vec();
            ids.sort();
            ids
        };
        if sorted(order) != sorted(there) {
            return Err(PlanError::Order { layer: self.id, order: order.to_vec(), there: there.clone() });
        }
        for expert in there {
            self.change(*expert)?;
        }
        self.order = Some(order.to_vec());
        Ok(())
    }

    fn redraw(&mut self, expert: ExpertId, units: &[usize], centre: &[f32]) -> Result<(), PlanError> {
        self.are_finite("the centre", centre)?;
        self.value("the number of units", units.len() as f64, |n| n >= 1.0, "at least 1")?;
        if let Some(pair) = units.windows(2).find(|pair| pair[0] >= pair[1]) {
            self.value("a unit", pair[1] as f64, |_| false, "above the one before it")?;
        }
        self.is_trained(expert)?;
        let old = self.change(expert)?;
        let (units, centre) = (units.to_vec(), centre.to_vec());
        self.old[old] = Some(RowSource::Redrawn { expert, old, units, centre });
        Ok(())
    }

    /// A frozen expert takes part in no edit of its weights.
    fn is_trained(&self, expert: ExpertId) -> Result<(), PlanError> {
        if self.frozen.contains(&expert) || self.before.frozen.contains(&expert) {
            return Err(PlanError::Rests { layer: self.id, expert });
        }
        Ok(())
    }

    /// An expert is trained no further, or again.
    fn freeze(&mut self, expert: ExpertId, frozen: bool) -> Result<(), PlanError> {
        self.position(expert)?;
        let changed = if frozen { self.frozen.insert(expert) } else { self.frozen.remove(&expert) };
        if changed { Ok(()) } else { Err(PlanError::Frozen { expert: Some((self.id, expert)), frozen }) }
    }

    /// Takes a new id.
    fn claim(&self, new: ExpertId, next_id: &mut ExpertId) -> Result<(), PlanError> {
        if new.0 >= Layout::MAX_ID {
            return Err(PlanError::NoId { layer: self.id, expert: new });
        }
        if new < *next_id {
            return Err(PlanError::UsedId { layer: self.id, expert: new, next: *next_id });
        }
        *next_id = ExpertId(new.0 + 1);
        Ok(())
    }

    /// Position of an expert that an edit changes or removes: no other edit may touch it.
    fn change(&mut self, expert: ExpertId) -> Result<usize, PlanError> {
        let old = self.position(expert)?;
        if !self.changed.insert(expert) || self.copied.contains(&expert) {
            return Err(PlanError::Twice { layer: self.id, expert });
        }
        Ok(old)
    }

    /// Position of an expert that is copied: it may be copied again, but not changed or removed.
    fn copy(&mut self, expert: ExpertId) -> Result<usize, PlanError> {
        let old = self.position(expert)?;
        if self.changed.contains(&expert) {
            return Err(PlanError::Twice { layer: self.id, expert });
        }
        self.copied.insert(expert);
        Ok(old)
    }

    fn position(&self, expert: ExpertId) -> Result<usize, PlanError> {
        let there = &self.before.experts;
        there.iter().position(|id| *id == expert).ok_or_else(|| PlanError::NoExpert {
            layer: self.id,
            expert,
            there: there.clone(),
        })
    }

    fn are_finite(&self, what: &'static str, values: &[f32]) -> Result<(), PlanError> {
        let worst = values.iter().find(|value| !value.is_finite()).copied().unwrap_or(0.0);
        self.value(what, f64::from(worst), f64::is_finite, "finite")
    }

    fn value(
        &self,
        what: &'static str,
        value: f64,
        holds: impl Fn(f64) -> bool,
        bound: &'static str,
    ) -> Result<(), PlanError> {
        if holds(value) { Ok(()) } else { Err(PlanError::Value { layer: self.id, what, value, bound }) }
    }

    fn finish(self, limits: &Limits) -> Result<(LayerLayout, RowMap), PlanError> {
        let experts = &self.before.experts;
        let stay = experts.iter().zip(self.old).filter_map(|(id, row)| Some((*id, row?)));
        let mut rows: Vec<(ExpertId, RowSource)> = stay.chain(self.new).collect();
        if let Some(order) = self.order {
            // Grown experts are in no order: they stay behind.
            let place = |id: &ExpertId| order.iter().position(|other| other == id).unwrap_or(order.len());
            rows.sort_by_key(|(id, _)| place(id));
        }
        let (experts, rows): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let n = experts.len();
        if n < limits.min.max(1) || n > limits.max {
            return Err(PlanError::Count { layer: self.id, n, limits: *limits });
        }
        let map = RowMap { n_old: self.before.n_experts(), rows };
        let frozen = self.frozen.into_iter().filter(|expert| experts.contains(expert)).collect();
        Ok((LayerLayout { kind: self.kind, experts, frozen }, map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Evidence;

    const LAYER: LayerId = LayerId(0);

    fn layout() -> Layout {
        Layout::uniform(1, LayerKind::TopK { k: 2 }, 4)
    }

    fn check(edits: Vec<Edit>) -> Result<CheckedPlan, PlanError> {
        let plan = Plan { step: 0, edits, reason: String::new(), evidence: Evidence::default() };
        plan.check(&layout(), Limits { min: 2, max: 5 })
    }

    fn grow(new: u64, init: ExpertInit) -> Edit {
        Edit::Grow { layer: LAYER, new: ExpertId(new), init }
    }

    fn prune(expert: u64) -> Edit {
        Edit::Prune { layer: LAYER, expert: ExpertId(expert) }
    }

    fn merge(from: u64, into: u64) -> Edit {
        Edit::Merge { layer: LAYER, from: ExpertId(from), into: ExpertId(into), share: 0.25 }
    }

    fn split(parent: u64) -> ExpertInit {
        ExpertInit::Split { parent: ExpertId(parent) }
    }

    #[test]
    fn several_edits_in_one_plan_refer_to_the_experts_before_it() {
        let checked = check(vec![prune(0), merge(3, 1), grow(7, split(2))]).unwrap();
        let layer = &checked.after().layers()[0];
        assert_eq!(layer.experts, [1, 2, 7].map(ExpertId));
        assert_eq!(checked.after().next_id(), ExpertId(8));
        let rows = &checked.maps()[&LAYER].rows;
        assert_eq!(rows[0], RowSource::Merge { into: 1, from: vec![(3, 0.25)] });
        assert_eq!(rows[1], RowSource::Halve(2));
        assert_eq!(rows[2], RowSource::New { expert: ExpertId(7), start: RowStart::Half(2) });
    }

    #[test]
    fn grown_experts_come_behind_reordered_ones() {
        let order = [3, 1, 0, 2].map(ExpertId);
        let reorder = Edit::Reorder { layer: LAYER, order: order.into() };
        let checked = check(vec![grow(4, ExpertInit::Fresh), reorder]).unwrap();
        assert_eq!(checked.after().layers()[0].experts, [3, 1, 0, 2, 4].map(ExpertId));
        assert_eq!(checked.maps()[&LAYER].rows[0], RowSource::Keep(3));
    }

    #[test]
    fn what_is_frozen_rests_until_it_is_thawed() {
        let checked = Plan::new(0).freeze(1).freeze(3).freeze_shared().check(&layout(), 1..).unwrap();
        let frozen = checked.after().clone();
        assert_eq!((frozen.layers()[0].frozen_positions(), frozen.shared_frozen()), (vec![1, 3], true));
        assert_eq!(checked.maps()[&LAYER], RowMap { n_old: 4, rows: (0..4).map(RowSource::Keep).collect() });
        let json = serde_json::to_string(&frozen).unwrap();
        assert_eq!(serde_json::from_str::<Layout>(&json).unwrap(), frozen);

        let after =
            |draft: crate::PlanDraft| draft.check(&frozen, 1..).map(|checked| checked.after().clone());
        let pruned = after(Plan::new(1).prune(1).copy_expert(3, 0.1)).unwrap();
        assert_eq!((pruned.layers()[0].experts.len(), pruned.layers()[0].frozen_positions()), (4, vec![2]));
        let thawed = after(Plan::new(1).thaw(1).thaw(3).thaw_shared()).unwrap();
        assert!(thawed.all_trained() && thawed == layout());
        let refused = |draft| after(draft).unwrap_err().to_string();
        assert_eq!(refused(Plan::new(1).freeze(1)), "layer 0: expert 1 is frozen already");
        assert_eq!(refused(Plan::new(1).thaw(0)), "layer 0: expert 0 is trained already");
        assert_eq!(refused(Plan::new(1).freeze_shared()), "what experts share is frozen already");
        for draft in [Plan::new(1).split(3), Plan::new(1).merge(3, 0, 0.5), Plan::new(1).merge(0, 3, 0.5)] {
            assert_eq!(refused(draft), "layer 0: expert 3 is frozen; thaw it in a plan before");
        }
    }

    #[test]
    fn assigned_experts_keep_their_places() {
        let layout = Layout::uniform(1, LayerKind::Assigned, 2);
        assert!(Plan::new(0).freeze(0).grow().check(&layout, 1..).is_ok());
        let refused = Plan::new(0).prune(0).check(&layout, 1..).unwrap_err().to_string();
        assert!(refused.contains("assigned by their places"), "{refused}");
    }

    #[test]
    fn an_empty_plan_changes_nothing() {
        let checked = check(vec![]).unwrap();
        assert_eq!(checked.before(), checked.after());
        assert!(checked.maps().is_empty());
    }

    #[test]
    fn a_dense_layer_is_upcycled_and_nothing_else() {
        let dense = Layout::uniform(1, LayerKind::Dense, 1);
        let check = |edit| {
            let plan =
                Plan { step: 0, edits: vec![edit], reason: String::new(), evidence: Evidence::default() };
            plan.check(&dense, Limits::default())
        };
        let upcycle =
            Edit::Upcycle { layer: LAYER, into: [0, 1, 2].map(ExpertId).into(), top_k: 2, reinit: 0.5 };
        let checked = check(upcycle.clone()).unwrap();
        assert_eq!(checked.after().layers()[0].kind, LayerKind::TopK { k: 2 });
        assert_eq!(checked.maps()[&LAYER].rows[0], RowSource::Keep(0));
        let message = check(prune(0)).unwrap_err().to_string();
        assert_eq!(message, "layer 0: is dense; upcycle it first");
        let again =
            Plan { step: 1, edits: vec![upcycle], reason: String::new(), evidence: Evidence::default() };
        assert!(matches!(again.check(checked.after(), Limits::default()), Err(PlanError::Kind { .. })));
    }

    #[test]
    fn what_cannot_be_applied_is_refused_by_name() {
        let copy = |parent, noise| ExpertInit::Copy { parent: ExpertId(parent), noise };
        let order =
            |ids: &[u64]| Edit::Reorder { layer: LAYER, order: ids.iter().copied().map(ExpertId).collect() };
        let cases = [
            (vec![prune(9)], "layer 0 has no expert 9; it has 0 1 2 3"),
            (vec![prune(1), prune(1)], "layer 0: expert 1 takes part in two edits of one plan"),
            (vec![prune(1), grow(4, copy(1, 0.0))], "layer 0: expert 1 takes part in two edits of one plan"),
            (vec![grow(4, copy(1, 0.0)), prune(1)], "layer 0: expert 1 takes part in two edits of one plan"),
            (vec![merge(1, 1)], "layer 0: expert 1 takes part in two edits of one plan"),
            (vec![grow(3, ExpertInit::Fresh)], "layer 0: id 3 is not new; the next free one is 4"),
            (
                vec![grow(u64::MAX, ExpertInit::Fresh)],
                "layer 0: id 18446744073709551615 is beyond those that experts can have; they end at 1099511627775",
            ),
            (
                vec![grow(4, ExpertInit::Fresh), grow(4, ExpertInit::Fresh)],
                "layer 0: id 4 is not new; the next free one is 5",
            ),
            (
                vec![grow(4, ExpertInit::Fresh), grow(5, ExpertInit::Fresh)],
                "layer 0 would have 6 experts; at least 2 and at most 5 are allowed",
            ),
            (
                vec![prune(0), prune(1), prune(2)],
                "layer 0 would have 1 experts; at least 2 and at most 5 are allowed",
            ),
            (vec![grow(4, copy(1, -1.0))], "layer 0: noise is -1; must be at least 0"),
            (vec![order(&[0, 1, 2, 2])], "layer 0: the order 0 1 2 2 is not one of its experts 0 1 2 3"),
            (
                vec![Edit::Prune { layer: LayerId(3), expert: ExpertId(0) }],
                "there is no layer 3; the layers are 0 to 0",
            ),
        ];
        for (edits, message) in cases {
            assert_eq!(check(edits).unwrap_err().to_string(), message);
        }
    }
}
