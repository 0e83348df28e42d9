//! New rows put in place: in the module, in its optimizer and in its averaged weights.

use std::collections::BTreeMap;

use burn::module::Module;
use moelt_optim::{AverageState, HostTensor, ParamState, export_some, replace};
use moelt_schema::ExpertAxis;

use crate::{
    Trainable,
    new_rows::ParamRows,
    remap::{Row, remap, resized},
};

/// `module` with these rows, and the optimizer and average of `old` to go with it. The module has its new parts
/// already: `old_axes` are those it had before them.
///
/// # Panics
/// When rows do not fit a parameter: a bug in this crate.
pub(crate) fn carry_out<M: Module>(
    module: M,
    old_axes: &[ExpertAxis],
    new_axes: &[ExpertAxis],
    rows: &BTreeMap<String, ParamRows>,
    old: &Trainable<M>,
) -> Trainable<M> {
    let (mut optimizer, mut average) = (old.optimizer.clone(), old.average.clone());
    for gone in old_axes.iter().filter(|axis| new_axes.iter().all(|new| new.param != axis.param)) {
        optimizer.set_state_of(&gone.param, None);
        optimizer.groups_mut().set_row_axis(&gone.param, None);
        average.iter_mut().for_each(|average| average.set_state_of(&gone.param, None));
    }
    let tensors = export_some(&module, |path| rows.contains_key(path));
    let mut moved = BTreeMap::new();
    for ExpertAxis { param, axis, .. } in new_axes {
        let (tensor, rows) = (&tensors[param], &rows[param]);
        let weights = moved_tensor(tensor, *axis, &rows.weights);
        optimizer.groups_mut().set_row_axis(param, Some(*axis));
        if let Some(state) = optimizer.state_of(param).map(|state| moved_state(&state, *axis, rows)) {
            optimizer.set_state_of(param, Some(state));
        }
        if let Some(average) = &mut average {
            let moved = average.state_of(param).map(|state| moved_average(&state, *axis, rows));
            let state = moved.unwrap_or_else(|| AverageState::new(weights.clone(), Some(*axis)));
            average.set_state_of(param, Some(state));
        }
        moved.insert(param.clone(), weights);
    }
    Trainable { module: replace(module, moved), optimizer, average }
}

fn moved_tensor(tensor: &HostTensor, axis: usize, rows: &[Row<f32>]) -> HostTensor {
    let HostTensor { shape, data } = tensor;
    HostTensor { shape: resized(shape, axis, rows.len()), data: remap(shape, axis, data, rows) }
}

fn moved_counts(counts: &[u64], rows: &[Row<u64>]) -> Vec<u64> {
    remap(&[counts.len()], 0, counts, rows)
}

fn moved_state(state: &ParamState, axis: usize, rows: &ParamRows) -> ParamState {
    let ParamState { shape, moment_1, moment_2, steps } = state;
    ParamState {
        shape: resized(shape, axis, rows.weights.len()),
        moment_1: remap(shape, axis, moment_1, &rows.moment_1),
        moment_2: remap(shape, axis, moment_2, &rows.moment_2),
        steps: moved_counts(steps, &rows.steps),
    }
}

fn moved_average(state: &AverageState, axis: usize, rows: &ParamRows) -> AverageState {
    AverageState {
        weights: moved_tensor(&state.weights, axis, &rows.average),
        row_axis: state.row_axis,
        updates: moved_counts(&state.updates, &rows.updates),
    }
}
