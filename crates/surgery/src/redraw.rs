//! Hidden units drawn anew: each fires for about half of the tokens around a centre.
//!
//! A unit's weights are drawn as those of a fresh expert would be; its bias is such that the mean token lies on its edge; what it
//! adds to the output begins at a third of a fresh unit's, so that the expert goes on nearly as it was.

use std::collections::BTreeMap;

use moelt_schema::{ExpertId, ExpertRole, RowMap, RowSource, Stream, Streams, uniform};

use crate::{SurgeryError, start::OldParam};

/// What a redrawn unit adds to the output, as a part of what a fresh one would.
const GENTLY: f32 = 0.3;

/// What redrawn units are made of.
pub(crate) struct Redraws {
    /// For each expert with such units, by its position: the bias of every unit that puts the centre on its edge.
    pub(crate) biases: BTreeMap<usize, Vec<f32>>,
    /// Others at every step: an expert may be redrawn again.
    pub(crate) streams: Streams,
}

/// Of the units that a plan draws anew.
///
/// # Errors
/// When a unit is not there, or the centre is of another width than the units' weights.
pub(crate) fn redraws(
    params: &[OldParam<'_>],
    map: &RowMap,
    step: u64,
    streams: &Streams,
) -> Result<Redraws, SurgeryError> {
    let streams = streams.rehearsal(step);
    let mut of_experts = BTreeMap::new();
    for source in &map.rows {
        let RowSource::Redrawn { expert, old, units, centre } = source else { continue };
        let mut biases = Vec::new();
        for param in params.iter().filter(|param| param.weights_units()) {
            biases = param.edges(*expert, *old, units, centre, &streams)?;
        }
        of_experts.insert(*old, biases);
    }
    Ok(Redraws { biases: of_experts, streams })
}

impl OldParam<'_> {
    /// Whether it holds the weights into hidden units, and not their biases.
    fn weights_units(&self) -> bool {
        let Some(units) = self.units().filter(|_| self.axis.role == ExpertRole::Input) else { return false };
        units.len() > n_units(&units)
    }

    /// For each unit minus the product of the centre with its weights as they will be.
    fn edges(
        &self,
        expert: ExpertId,
        old: usize,
        drawn: &[usize],
        centre: &[f32],
        streams: &Streams,
    ) -> Result<Vec<f32>, SurgeryError> {
        let units = self.units().unwrap_or_default();
        let n_units = n_units(&units);
        let width = units.len() / n_units.max(1);
        if centre.len() != width {
            let (param, found) = (self.axis.param.clone(), centre.len());
            return Err(SurgeryError::Direction { param, expected: width, found });
        }
        let row = self.with_units_redrawn(expert, old, drawn, &[], streams)?;
        let (mut edges, mut seen) = (vec![0.0; n_units], vec![0; n_units]);
        for (unit, weight) in units.into_iter().zip(row) {
            edges[unit] -= weight * centre[seen[unit]];
            seen[unit] += 1;
        }
        Ok(edges)
    }

    /// The row of an expert some of whose hidden units are drawn anew; `biases` has one for every unit.
    ///
    /// # Errors
    /// When a unit is not there.
    pub(crate) fn with_units_redrawn(
        &self,
        expert: ExpertId,
        old: usize,
        drawn: &[usize],
        biases: &[f32],
        streams: &Streams,
    ) -> Result<Vec<f32>, SurgeryError> {
        let mut row = self.row(old);
        let Some(units) = self.units() else { return Ok(row) };
        let n_units = n_units(&units);
        if let Some(unit) = drawn.iter().copied().find(|unit| *unit >= n_units) {
            return Err(SurgeryError::NoUnit { param: self.axis.param.clone(), unit, n_units });
        }
        let per_unit = row.len() / n_units.max(1);
        let is_bias = per_unit == 1;
        let (fan_in, scale) = match self.axis.role {
            ExpertRole::Input => (per_unit, 1.0),
            _ => (n_units, GENTLY),
        };
        let mut rng = streams.expert(Stream::Surgery, self.axis.layer, expert, self.part);
        let fresh = uniform(fan_in, row.len(), &mut rng);
        for ((value, unit), fresh) in row.iter_mut().zip(units).zip(fresh) {
            if drawn.contains(&unit) {
                let is_edge = self.axis.role == ExpertRole::Input && is_bias;
                *value = if is_edge { biases.get(unit).copied().unwrap_or(0.0) } else { scale * fresh };
            }
        }
        Ok(row)
    }
}

fn n_units(units: &[usize]) -> usize {
    units.iter().max().map_or(0, |last| last + 1)
}
