//! Hidden units drawn anew: each fires for about half of the tokens around a centre.
//!
//! A unit's weights are drawn as those of a fresh expert would be; its bias is such that the mean token lies on its edge, and so of its
//! gate, if it has one; what it adds to the output begins at a third of a fresh unit's, so that the expert goes on nearly as it was.

use std::collections::BTreeMap;

use moelt_schema::{ExpertId, ExpertRole, RowMap, RowSource, Stream, Streams, uniform};

use crate::{SurgeryError, start::OldParam};

/// What a redrawn unit adds to the output, as a part of what a fresh one would.
const GENTLY: f32 = 0.3;

/// What redrawn units are made of.
pub(crate) struct Redraws {
    /// For each expert with such units, by its position, and each parameter with biases, by its place: the bias of every unit that puts
    /// the centre on its edge.
    biases: BTreeMap<(usize, u8), Vec<f32>>,
    /// Others at every step: an expert may be redrawn again.
    streams: Streams,
}

/// Of the units that a plan draws anew.
///
/// # Errors
/// When a unit is not there, the centre is of another width than the units' weights, or a bias is not listed behind its weights.
pub(crate) fn redraws(
    params: &[OldParam<'_>],
    map: &RowMap,
    step: u64,
    streams: &Streams,
) -> Result<Redraws, SurgeryError> {
    let streams = streams.rehearsal(step);
    let mut biases = BTreeMap::new();
    for source in &map.rows {
        let RowSource::Redrawn { expert, old, units, centre } = source else { continue };
        for (weights, bias) in into_units(params)? {
            let edges = weights.edges(*expert, *old, units, centre, &streams)?;
            if let Some(bias) = bias {
                biases.insert((*old, bias.part), edges);
            }
        }
    }
    Ok(Redraws { biases, streams })
}

/// Weights into hidden units, each with the bias that is listed behind it, if there is one.
fn into_units<'p, 'a>(
    params: &'p [OldParam<'a>],
) -> Result<Vec<(&'p OldParam<'a>, Option<&'p OldParam<'a>>)>, SurgeryError> {
    let mut pairs: Vec<(&OldParam<'a>, Option<&OldParam<'a>>)> = Vec::new();
    for param in params.iter().filter(|param| param.axis.role == ExpertRole::Input) {
        match pairs.last_mut() {
            _ if param.axis.hidden.is_none() => {}
            _ if !param.is_bias() => pairs.push((param, None)),
            Some((weights, bias @ None)) if weights.n_units() == param.n_units() => *bias = Some(param),
            _ => return Err(SurgeryError::NoWeights { param: param.axis.param.clone() }),
        }
    }
    Ok(pairs)
}

impl Redraws {
    /// The row of an expert some of whose hidden units are drawn anew.
    ///
    /// # Errors
    /// When a unit is not there.
    pub(crate) fn row(
        &self,
        param: &OldParam<'_>,
        expert: ExpertId,
        old: usize,
        drawn: &[usize],
    ) -> Result<Vec<f32>, SurgeryError> {
        let biases = self.biases.get(&(old, param.part)).map_or(&[][..], Vec::as_slice);
        param.with_units_redrawn(expert, old, drawn, biases, &self.streams)
    }
}

impl OldParam<'_> {
    /// Whether it holds one number for each hidden unit: its axes are those of experts and units alone.
    fn is_bias(&self) -> bool {
        self.axis.hidden.is_some() && self.tensor.shape.len() == 2
    }

    /// Hidden units of an expert.
    fn n_units(&self) -> usize {
        self.units().as_deref().map_or(0, n_units)
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
    fn with_units_redrawn(
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
        let (fan_in, scale) = match self.axis.role {
            ExpertRole::Input => (per_unit, 1.0),
            _ => (n_units, GENTLY),
        };
        let mut rng = streams.expert(Stream::Surgery, self.axis.layer, expert, self.part);
        let fresh = uniform(fan_in, row.len(), &mut rng);
        for ((value, unit), fresh) in row.iter_mut().zip(units).zip(fresh) {
            if drawn.contains(&unit) {
                let is_edge = self.axis.role == ExpertRole::Input && self.is_bias();
                *value = if is_edge { biases.get(unit).copied().unwrap_or(0.0) } else { scale * fresh };
            }
        }
        Ok(row)
    }
}

fn n_units(units: &[usize]) -> usize {
    units.iter().max().map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use moelt_optim::HostTensor;
    use moelt_schema::ExpertAxis;

    use super::*;

    /// One expert of two inputs and three units with a gate, each parameter full of ones; `redraws` draws unit 1 anew.
    struct Gated {
        axes: Vec<ExpertAxis>,
        tensors: Vec<HostTensor>,
    }

    impl Gated {
        fn new(axes: impl Into<Vec<ExpertAxis>>) -> Self {
            let axes = axes.into();
            let shape = |axis: &ExpertAxis| match (axis.role, axis.hidden) {
                (ExpertRole::Output, _) => vec![1, 3, 2],
                (_, Some(2)) => vec![1, 2, 3],
                _ => vec![1, 3],
            };
            let ones = |shape: Vec<usize>| HostTensor { data: vec![1.0; shape.iter().product()], shape };
            let tensors = axes.iter().map(|axis| ones(shape(axis))).collect();
            Self { axes, tensors }
        }

        fn params(&self) -> Vec<OldParam<'_>> {
            let parts = (0..).zip(self.axes.iter().zip(&self.tensors));
            parts.map(|(part, (axis, tensor))| OldParam { axis, part, tensor }).collect()
        }

        fn redraws(&self, centre: [f32; 2]) -> Result<Redraws, SurgeryError> {
            let redrawn =
                RowSource::Redrawn { expert: ExpertId(0), old: 0, units: vec![1], centre: centre.into() };
            redraws(&self.params(), &RowMap { n_old: 1, rows: vec![redrawn] }, 7, &Streams::new(1))
        }
    }

    /// Its own bias and that of its gate put the centre on the edge of the weights that each of them stands behind.
    #[test]
    fn every_bias_is_the_edge_of_its_own_weights() {
        let gated = Gated::new([
            ExpertAxis::input("w_in"),
            ExpertAxis::input_bias("b_in"),
            ExpertAxis::output("w_out"),
            ExpertAxis::input("w_gate"),
            ExpertAxis::input_bias("b_gate"),
        ]);
        let centre = [0.5, -2.0];
        let (params, redraws) = (gated.params(), gated.redraws(centre).unwrap());
        let row = |part: usize| redraws.row(&params[part], ExpertId(0), 0, &[1]).unwrap();
        let mut edges = Vec::new();
        for (weight, bias) in [(0, 1), (3, 4)] {
            let (weight, bias) = (row(weight), row(bias));
            assert_eq!([weight[0], weight[2], bias[0], bias[2]], [1.0; 4], "other units stay");
            let edge = -(weight[1] * centre[0] + weight[4] * centre[1]);
            assert!((bias[1] - edge).abs() < 1e-6, "{bias:?} {edge}");
            edges.push(edge);
        }
        assert_ne!(edges[0], edges[1]);
    }

    /// The gate alone has a bias: it is no bias of the first weights.
    #[test]
    fn a_bias_belongs_to_the_weights_before_it() {
        let [w_in, w_gate] = ["w_in", "w_gate"].map(ExpertAxis::input);
        let gated = Gated::new([w_in, w_gate, ExpertAxis::input_bias("b_gate")]);
        let (params, redraws) = (gated.params(), gated.redraws([0.5, -2.0]).unwrap());
        let row = |part: usize| redraws.row(&params[part], ExpertId(0), 0, &[1]).unwrap();
        let (weight, bias) = (row(1), row(2));
        assert!((bias[1] + weight[1] * 0.5 - weight[4] * 2.0).abs() < 1e-6, "{bias:?} {weight:?}");
    }

    #[test]
    fn a_bias_that_is_listed_elsewhere_is_refused() {
        let [w_in, w_gate] = ["w_in", "w_gate"].map(ExpertAxis::input);
        let [b_in, b_gate] = ["b_in", "b_gate"].map(ExpertAxis::input_bias);
        let refused = |axes: &[&ExpertAxis]| {
            let gated = Gated::new(axes.iter().map(|axis| (*axis).clone()).collect::<Vec<_>>());
            gated.redraws([0.5, -2.0]).err()
        };
        let no_weights = |param: &str| Some(SurgeryError::NoWeights { param: param.to_owned() });
        assert_eq!(refused(&[&w_in, &w_gate, &b_in, &b_gate]), no_weights("b_gate"));
        assert_eq!(refused(&[&b_in, &w_in]), no_weights("b_in"));
        let undrawn = Gated::new([b_in, w_in]);
        let map = RowMap { n_old: 1, rows: vec![RowSource::Keep(0)] };
        assert!(redraws(&undrawn.params(), &map, 7, &Streams::new(1)).is_ok(), "nothing is drawn anew");
    }
}
