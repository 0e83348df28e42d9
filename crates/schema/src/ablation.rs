//! What an ablation consists of, and what it is to show.

mod comparison;
mod plan;

pub use self::{
    comparison::{ClaimKind, Comparison},
    plan::{AblationPlan, Cell, METRIC, PLAN_FORMAT},
};
