//! A checked plan applied to a module, its optimizer and its averaged weights.

use burn::module::Module;
use moelt_optim::{Optimizer, WeightAverage, export_some};
use moelt_schema::{CheckedPlan, ExpertAxes, Streams};

use crate::{
    SurgeryError, Undo,
    carry::carry_out,
    check::{check_params, check_state, edited_axes},
    new_rows::new_rows,
};

/// What an edit gives back.
#[derive(Debug)]
pub struct Applied<M> {
    /// The module with the experts of the plan.
    pub module: M,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// Its averaged weights, if there were some.
    pub average: Option<WeightAverage>,
    /// The way back.
    pub undo: Undo,
}

/// Applies a plan between two optimizer steps. The old module, optimizer and average are left as they are,
/// whatever happens.
///
/// - An expert that stays keeps weights, moments, step counts and averages bit by bit.
/// - A new or merged expert has no moments and 0 steps: its first update is at most `lr`, in its router row
///   too.
/// - The average of an expert that is made from others is made from theirs in the same way, and goes on from
///   there; that of a fresh one begins at its weights.
/// - Of an expert that goes nothing is left, but in [`Applied::undo`].
///
/// New rows are drawn from `streams`, which depend on the run's seed, the layer and the expert's id.
///
/// # Errors
/// When module, optimizer or average do not fit the plan.
pub fn apply<M: Module + ExpertAxes>(
    plan: &CheckedPlan,
    module: &M,
    optimizer: &Optimizer,
    average: Option<&WeightAverage>,
    streams: &Streams,
) -> Result<Applied<M>, SurgeryError> {
    let old_axes = edited_axes(module, plan)?;
    let tensors = export_some(module, |path| old_axes.iter().any(|axis| axis.param == path));
    check_params(&old_axes, &tensors, plan.before())?;
    check_state(&old_axes, &tensors, optimizer, average)?;
    let with_parts = module.clone().with_parts_of(plan.after());
    let new_axes = edited_axes(&with_parts, plan)?;
    let rows = new_rows(&old_axes, &new_axes, &tensors, average, &with_parts, plan, streams)?;
    let undo = Undo::new(plan, &old_axes, &tensors, optimizer, average);
    let (module, optimizer, average) = carry_out(with_parts, &old_axes, &new_axes, &rows, optimizer, average);
    Ok(Applied { module, optimizer, average, undo })
}
