//! What an ablation consists of, and what it is to show.

mod collapse;
mod comparison;
mod metric;
mod plan;

pub use self::{
    collapse::CollapseRule,
    comparison::{ClaimKind, Comparison},
    metric::Metric,
    plan::{AblationPlan, Cell, PLAN_FORMAT},
};
