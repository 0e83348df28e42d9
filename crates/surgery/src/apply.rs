//! A checked plan applied to a module, its optimizer and its averaged weights.

use burn::module::Module;
use moelt_optim::export_some;
use moelt_schema::{CheckedPlan, ExpertAxes, Streams};

use crate::{
    SurgeryError, Trainable, Undo,
    carry::carry_out,
    check::{check_params, check_state, edited_axes},
    new_rows::new_rows,
};

/// What an edit gives back.
#[derive(Debug)]
pub struct Applied<M> {
    /// Module, optimizer and average with the experts of the plan.
    pub trainable: Trainable<M>,
    /// The way back.
    pub undo: Undo,
}

/// Applies a plan between two optimizer steps. What it is applied to is left as it is, whatever happens.
///
/// - An expert that stays keeps weights, moments, step counts and averages bit by bit.
/// - A new or merged expert has no moments and 0 steps: its first update is at most `lr`, in its router row
///   too. The halves of an expert that is split along a direction both have its moments and steps, but for their router rows.
/// - Of hidden units that are drawn anew the optimizer forgets the moments; steps count rows, and stay.
/// - The average of an expert that is made from others is made from theirs in the same way, and goes on from
///   there; that of a fresh one begins at its weights.
/// - Of an expert that goes nothing is left, but in [`Applied::undo`].
///
/// New rows are drawn from the streams of `seed`; each depends on the seed, the layer and the expert's id.
///
/// # Errors
/// When module, optimizer or average do not fit the plan.
pub fn apply<M: Module + ExpertAxes>(
    trainable: &Trainable<M>,
    plan: &CheckedPlan,
    seed: impl Into<Streams>,
) -> Result<Applied<M>, SurgeryError> {
    let module = &trainable.module;
    let old_axes = edited_axes(module, plan)?;
    let tensors = export_some(module, |path| old_axes.iter().any(|axis| axis.param == path));
    check_params(&old_axes, &tensors, plan.before())?;
    check_state(&old_axes, &tensors, trainable)?;
    let with_parts = module.clone().with_parts_of(plan.after());
    let new_axes = edited_axes(&with_parts, plan)?;
    let rows = new_rows(&old_axes, &new_axes, &tensors, trainable, &with_parts, plan, &seed.into())?;
    let undo = Undo::new(plan, &old_axes, &tensors, trainable);
    let trainable = carry_out(with_parts, &old_axes, &new_axes, &rows, trainable);
    Ok(Applied { trainable, undo })
}
