//! What every policy needs to write edits down.

use moelt_schema::{Edit, ExpertId, ExpertInit, Layout, Limits};

/// Ids for new experts, counted on over all layers of one decision.
pub(crate) struct NewIds(ExpertId);

impl NewIds {
    pub(crate) fn of(layout: &Layout) -> Self {
        Self(layout.next_id())
    }

    pub(crate) fn take(&mut self) -> ExpertId {
        let id = self.0;
        self.0 = ExpertId(id.0 + 1);
        id
    }
}

/// Whether a layer may have `n` experts.
pub(crate) fn allows(limits: &Limits, n: usize) -> bool {
    (limits.min.max(1)..=limits.max).contains(&n)
}

/// How many experts edits add.
pub(crate) fn change(edits: &[Edit]) -> i64 {
    let one = |edit: &Edit| match edit {
        Edit::Grow { .. } => 1,
        Edit::Prune { .. } | Edit::Merge { .. } => -1,
        Edit::Upcycle { .. }
        | Edit::Reorder { .. }
        | Edit::Redraw { .. }
        | Edit::Freeze { .. }
        | Edit::Thaw { .. }
        | Edit::FreezeShared {}
        | Edit::ThawShared {} => 0,
    };
    edits.iter().map(one).sum()
}

/// Edits for people, without their layers.
pub(crate) fn describe_all(edits: &[Edit]) -> String {
    edits.iter().map(describe).collect::<Vec<_>>().join(", ")
}

/// An edit for people, without its layer.
pub(crate) fn describe(edit: &Edit) -> String {
    match edit {
        Edit::Grow { new, init, .. } => format!("grows expert {}{}", new.0, origin(init)),
        Edit::Prune { expert, .. } => format!("prunes expert {}", expert.0),
        Edit::Merge { from, into, .. } => format!("merges expert {} into {}", from.0, into.0),
        Edit::Upcycle { into, .. } => format!("is upcycled into {} experts", into.len()),
        Edit::Reorder { .. } => "reorders its experts".to_owned(),
        Edit::Redraw { expert, units, .. } => format!("redraws {} units of expert {}", units.len(), expert.0),
        Edit::Freeze { expert, .. } => format!("freezes expert {}", expert.0),
        Edit::Thaw { expert, .. } => format!("thaws expert {}", expert.0),
        Edit::FreezeShared {} => "what experts share is frozen".to_owned(),
        Edit::ThawShared {} => "what experts share is thawed".to_owned(),
    }
}

fn origin(init: &ExpertInit) -> String {
    match init {
        ExpertInit::Fresh => String::new(),
        ExpertInit::Aimed { .. } => " aimed at the tokens that no expert claimed".to_owned(),
        ExpertInit::Copy { parent, .. } => format!(" as a copy of expert {}", parent.0),
        ExpertInit::Split { parent } => format!(" as a half of expert {}", parent.0),
        ExpertInit::SplitAlong { parent, .. } => {
            format!(" as a half of expert {}, along a direction", parent.0)
        }
    }
}
