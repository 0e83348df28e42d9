//! The rows that a plan asks for, of every parameter with an expert axis.

use std::collections::BTreeMap;

use burn::module::Module;
use moelt_optim::{HostTensor, ParamState, export_some};
use moelt_schema::{CheckedPlan, ExpertAxis, ExpertRole, Layout, RowMap, RowSource, RowStart, Streams};

use crate::{
    SurgeryError, Trainable,
    merge::{matched_units, merged_row},
    redraw::{Redraws, redraws},
    remap::{Row, row_values},
    start::{OldParam, fresh_row},
};

/// The new rows of one parameter and of everything that is remembered of it.
#[derive(Clone, Debug)]
pub(crate) struct ParamRows {
    pub(crate) weights: Vec<Row<f32>>,
    pub(crate) average: Vec<Row<f32>>,
    pub(crate) moment_1: Vec<Row<f32>>,
    pub(crate) moment_2: Vec<Row<f32>>,
    /// Step counts of the optimizer.
    pub(crate) steps: Vec<Row<u64>>,
    /// Update counts of the average.
    pub(crate) updates: Vec<Row<u64>>,
}

impl ParamRows {
    /// The optimizer keeps what it remembers of an expert that stays and gives it to the other half of one that was split
    /// along a direction; of every other one it knows nothing yet, and nothing of router rows that were moved apart. Averages are
    /// made as weights are made, the one of a copy from its parent's and so on, and go on
    /// from where that stood: an edit that keeps the model's function keeps that of the averaged one.
    fn of_edit(weights: Vec<Row<f32>>, average: Vec<Row<f32>>, map: &RowMap, role: ExpertRole) -> Self {
        let remembered = |source: &RowSource| remembered(source, role);
        Self {
            weights,
            average,
            moment_1: rows_of(map, remembered),
            moment_2: rows_of(map, remembered),
            steps: rows_of(map, remembered),
            updates: rows_of(map, RowSource::origin),
        }
    }

    /// The same with nothing remembered of the hidden units that were drawn anew.
    fn forgetting_units(self, param: &OldParam<'_>, state: Option<&ParamState>, map: &RowMap) -> Self {
        let Some((units, state)) = param.units().zip(state) else { return self };
        let forget = |rows: Vec<Row<f32>>, moment: &[f32]| {
            let row = |(row, source): (Row<f32>, &RowSource)| match source {
                RowSource::Redrawn { old, units: drawn, .. } => {
                    let mut values = row_values(&state.shape, param.axis.axis, moment, *old);
                    let of_drawn = values.iter_mut().zip(&units).filter(|(_, unit)| drawn.contains(unit));
                    of_drawn.for_each(|(value, _)| *value = 0.0);
                    Row::Values(values)
                }
                _ => row,
            };
            rows.into_iter().zip(&map.rows).map(row).collect()
        };
        Self {
            moment_1: forget(self.moment_1, &state.moment_1),
            moment_2: forget(self.moment_2, &state.moment_2),
            ..self
        }
    }
}

/// Position of the expert whose moments and step count a row of this role goes on from.
fn remembered(source: &RowSource, role: ExpertRole) -> Option<usize> {
    match source {
        RowSource::Shifted(..) | RowSource::New { start: RowStart::Shifted(..), .. }
            if role == ExpertRole::Router =>
        {
            None
        }
        RowSource::New { start: RowStart::Shifted(parent, _), .. } => Some(*parent),
        _ => source.kept(),
    }
}

/// The old row that `old` names for each new one, or zeros.
fn rows_of<T>(map: &RowMap, old: impl Fn(&RowSource) -> Option<usize>) -> Vec<Row<T>> {
    map.rows.iter().map(|source| old(source).map_or(Row::Zeros, Row::Old)).collect()
}

/// The new rows of every parameter.
pub(crate) fn new_rows<M: Module>(
    old_axes: &[ExpertAxis],
    new_axes: &[ExpertAxis],
    tensors: &BTreeMap<String, HostTensor>,
    Trainable { optimizer, average, .. }: &Trainable<M>,
    module: &M,
    plan: &CheckedPlan,
    streams: &Streams,
) -> Result<BTreeMap<String, ParamRows>, SurgeryError> {
    let mut rows = BTreeMap::new();
    for (layer, map) in plan.maps() {
        let params: Vec<OldParam<'_>> = old_axes
            .iter()
            .filter(|axis| axis.layer == *layer)
            .zip(0..)
            .map(|(axis, part)| OldParam { axis, part, tensor: &tensors[&axis.param] })
            .collect();
        let merges = matched_merges(&params, map);
        let redraws = redraws(&params, map, plan.plan().step, streams)?;
        for param in &params {
            let path = &param.axis.param;
            let averaged = average.as_ref().and_then(|average| average.state_of(path));
            let averaged = averaged.as_ref().map_or(param.tensor, |state| &state.weights);
            let averaged = OldParam { tensor: averaged, ..*param };
            let rows_from = |param| param_rows(param, map, &merges, &redraws, streams);
            let of_edit = ParamRows::of_edit(rows_from(param)?, rows_from(&averaged)?, map, param.axis.role);
            let state = optimizer.state_of(path);
            rows.insert(path.clone(), of_edit.forgetting_units(param, state.as_deref(), map));
        }
        let of_layer = new_axes.iter().filter(|axis| axis.layer == *layer).zip(0..);
        for (axis, part) in of_layer.filter(|(axis, _)| !tensors.contains_key(&axis.param)) {
            let weights = born_rows(axis, part, module, plan.after(), streams)?;
            rows.insert(axis.param.clone(), ParamRows::of_edit(weights.clone(), weights, map, axis.role));
        }
    }
    Ok(rows)
}

/// For every merge of a layer, by the position of the expert that stays: the others, with their weights and
/// how their hidden units were matched.
type Merges = BTreeMap<usize, Vec<(usize, f64, Option<Vec<usize>>)>>;

fn matched_merges(params: &[OldParam<'_>], map: &RowMap) -> Merges {
    let matched = |row: &RowSource| match row {
        RowSource::Merge { into, from } => {
            let other = |(old, weight): &(usize, f64)| (*old, *weight, matched_units(params, *into, *old));
            Some((*into, from.iter().map(other).collect()))
        }
        _ => None,
    };
    map.rows.iter().filter_map(matched).collect()
}

fn param_rows(
    param: &OldParam<'_>,
    map: &RowMap,
    merges: &Merges,
    redraws: &Redraws,
    streams: &Streams,
) -> Result<Vec<Row<f32>>, SurgeryError> {
    let row = |source: &RowSource| {
        Ok(match source {
            RowSource::Halve(old) if param.axis.role == ExpertRole::RouterBias => {
                Row::Values(param.halved(*old))
            }
            RowSource::Keep(old) | RowSource::Halve(old) => Row::Old(*old),
            RowSource::Shifted(old, by) => Row::Values(param.shifted(*old, by)?),
            RowSource::Redrawn { expert, old, units, .. } => {
                Row::Values(redraws.row(param, *expert, *old, units)?)
            }
            RowSource::New { expert, start } => Row::Values(param.start(*expert, start, streams)?),
            RowSource::Merge { into, .. } => Row::Values(merged_row(param, *into, &merges[into])),
        })
    };
    map.rows.iter().map(row).collect()
}

/// Rows of a parameter that the module did not have before: the router of an upcycled layer.
fn born_rows<M: Module>(
    axis: &ExpertAxis,
    part: u8,
    module: &M,
    layout: &Layout,
    streams: &Streams,
) -> Result<Vec<Row<f32>>, SurgeryError> {
    let shape = shape_of(module, &axis.param)?;
    let experts = layout.layer(axis.layer).map_or(&[][..], |layer| &layer.experts);
    Ok(experts.iter().map(|id| Row::Values(fresh_row(axis, part, &shape, *id, streams))).collect())
}

fn shape_of<M: Module>(module: &M, param: &str) -> Result<Vec<usize>, SurgeryError> {
    let tensor = export_some(module, |path| path == param).remove(param);
    tensor.map(|tensor| tensor.shape).ok_or_else(|| SurgeryError::NoParam { param: param.to_owned() })
}
