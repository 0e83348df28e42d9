//! The way back from an edit.

use std::collections::BTreeMap;

use burn::module::Module;
use moelt_optim::{HostTensor, Optimizer, WeightAverage};
use moelt_schema::{CheckedPlan, ExpertAxes, ExpertAxis, ExpertRole, LayerId, Layout, RowMap, RowSource};

use crate::{
    SurgeryError, Trainable,
    carry::carry_out,
    check::{check_params, check_state},
    new_rows::ParamRows,
    remap::{Row, row_values},
};

/// What an edit removed, and where the rest went. Undone at once, weights, moments, counts and averages are
/// bit by bit what they were; undone after more training, survivors keep what they have learned since and
/// what was removed or changed comes back as it was.
#[derive(Clone, Debug)]
pub struct Undo {
    before: Layout,
    after: Layout,
    layers: Vec<LayerId>,
    /// The axes the module had before the edit.
    axes: Vec<ExpertAxis>,
    /// Their rows, from the module as it was after the edit.
    rows: BTreeMap<String, ParamRows>,
}

impl Undo {
    pub(crate) fn new<M>(
        plan: &CheckedPlan,
        axes: &[ExpertAxis],
        tensors: &BTreeMap<String, HostTensor>,
        Trainable { optimizer, average, .. }: &Trainable<M>,
    ) -> Self {
        let rows = |axis: &ExpertAxis| {
            let back = Back { axis, map: &plan.maps()[&axis.layer], shape: &tensors[&axis.param].shape };
            (axis.param.clone(), back.rows(&tensors[&axis.param], optimizer, average.as_ref()))
        };
        Self {
            before: plan.before().clone(),
            after: plan.after().clone(),
            layers: plan.maps().keys().copied().collect(),
            rows: axes.iter().map(rows).collect(),
            axes: axes.to_vec(),
        }
    }

    /// The layout that undoing leads back to.
    pub fn layout(&self) -> &Layout {
        &self.before
    }

    /// Undoes the edit.
    ///
    /// # Errors
    /// When the module, the optimizer or the average does not have the experts that the edit led to.
    pub fn apply<M: Module + ExpertAxes>(
        &self,
        trainable: &Trainable<M>,
    ) -> Result<Trainable<M>, SurgeryError> {
        let module = &trainable.module;
        let edited = |axis: &ExpertAxis| self.layers.contains(&axis.layer);
        let now: Vec<ExpertAxis> = module.expert_axes().into_iter().filter(edited).collect();
        let tensors = moelt_optim::export_some(module, |path| now.iter().any(|axis| axis.param == path));
        check_params(&now, &tensors, &self.after)?;
        check_state(&now, &tensors, trainable)?;
        let with_parts = module.clone().with_parts_of(&self.before);
        Ok(carry_out(with_parts, &now, &self.axes, &self.rows, trainable))
    }
}

fn is_the_routers(role: ExpertRole) -> bool {
    matches!(role, ExpertRole::Router | ExpertRole::RouterBias)
}

/// The way back for one parameter.
struct Back<'a> {
    axis: &'a ExpertAxis,
    map: &'a RowMap,
    /// Shape before the edit.
    shape: &'a [usize],
}

impl Back<'_> {
    fn rows(&self, tensor: &HostTensor, optimizer: &Optimizer, average: Option<&WeightAverage>) -> ParamRows {
        let state = optimizer.state_of(&self.axis.param);
        let average = average.and_then(|average| average.state_of(&self.axis.param));
        let (state, average) = (state.as_deref(), average.as_deref());
        let of_row = |data: &Vec<f32>, old| row_values(self.shape, self.axis.axis, data, old);
        let values = |data: Option<&Vec<f32>>| {
            self.back(|old| data.map_or(Row::Zeros, |data| Row::Values(of_row(data, old))))
        };
        let counts = |counts: Option<&Vec<u64>>| {
            self.back(|old| counts.map_or(Row::Zeros, |counts| Row::Values(vec![counts[old]])))
        };
        ParamRows {
            weights: values(Some(&tensor.data)),
            // An average that there was not yet begins at the weights.
            average: values(Some(average.map_or(&tensor.data, |average| &average.weights.data))),
            moment_1: values(state.map(|state| &state.moment_1)),
            moment_2: values(state.map(|state| &state.moment_2)),
            steps: counts(state.map(|state| &state.steps)),
            updates: counts(average.map(|average| &average.updates)),
        }
    }

    /// For every old position: where the expert lies after the edit or, if it is gone or changed, `saved`.
    fn back<T>(&self, saved: impl Fn(usize) -> Row<T>) -> Vec<Row<T>> {
        let unchanged = |source: &RowSource, old: usize| match source {
            RowSource::Keep(kept) => *kept == old,
            RowSource::Halve(kept) => *kept == old && self.axis.role != ExpertRole::RouterBias,
            RowSource::Shifted(kept, _) => *kept == old && !is_the_routers(self.axis.role),
            RowSource::New { .. } | RowSource::Merge { .. } | RowSource::Redrawn { .. } => false,
        };
        let row = |old: usize| {
            let now = self.map.rows.iter().position(|source| unchanged(source, old));
            now.map_or_else(|| saved(old), Row::Old)
        };
        (0..self.map.n_old).map(row).collect()
    }
}
