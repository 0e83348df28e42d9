//! Which experts exist, how that changes, and where everything that belongs to an expert goes.

mod axes;
mod edit;
mod edit_log;
mod layout;
mod plan_check;
mod plan_draft;
mod plan_error;
mod row_map;

pub use self::{
    axes::{ExpertAxes, ExpertAxis, ExpertRole, RowInit},
    edit::{Edit, ExpertInit, Plan},
    edit_log::{Birth, EditLog, Lineage, Merged, ReplayError},
    layout::{ExpertId, LayerId, LayerKind, LayerLayout, Layout, LayoutError},
    plan_check::{CheckedPlan, Limits},
    plan_draft::PlanDraft,
    plan_error::PlanError,
    row_map::{RowMap, RowSource, RowStart},
};
