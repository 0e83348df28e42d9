//! Which experts exist, how and on what evidence that changes, and where everything that belongs to an expert goes.

mod axes;
mod edit;
mod edit_log;
mod evidence;
mod features;
mod growth_criteria;
mod layout;
mod moves;
mod plan_check;
mod plan_draft;
mod plan_error;
mod row_map;

pub use self::{
    axes::{ExpertAxes, ExpertAxis, ExpertRole, RowInit},
    edit::{Edit, ExpertInit, Plan, RouterShift},
    edit_log::{Birth, EditLog, Lineage, Merged, ReplayError},
    evidence::{
        EffectEvidence, Evidence, ForecastEvidence, Label, Labels, LayerEvidence, ReplicateEvidence,
        TrialEvidence,
    },
    features::Features,
    growth_criteria::GrowthCriteria,
    layout::{ExpertId, LayerId, LayerKind, LayerLayout, Layout, LayoutError},
    moves::Move,
    plan_check::{CheckedPlan, Limits},
    plan_draft::PlanDraft,
    plan_error::PlanError,
    row_map::{RowMap, RowSource, RowStart},
};
