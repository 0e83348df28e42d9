//! With which values a new row begins.

use moelt_optim::HostTensor;
use moelt_schema::{
    ExpertAxis, ExpertId, ExpertRole, RouterShift, RowInit, RowStart, Stream, Streams, uniform,
};
use rand::Rng;
use rand_distr::{Distribution, Normal, StandardNormal};

use crate::{SurgeryError, remap::row_values};

/// One parameter of one layer, as it was before the edit.
pub(crate) struct OldParam<'a> {
    pub(crate) axis: &'a ExpertAxis,
    /// The parameter's place in the module's list: its random stream.
    pub(crate) part: u8,
    pub(crate) tensor: &'a HostTensor,
}

impl OldParam<'_> {
    /// The elements of an expert's row.
    pub(crate) fn row(&self, position: usize) -> Vec<f32> {
        row_values(&self.tensor.shape, self.axis.axis, &self.tensor.data, position)
    }

    /// Elements of a row.
    pub(crate) fn row_len(&self) -> usize {
        row_len(self.axis, &self.tensor.shape)
    }

    /// For every element of a row the hidden unit it belongs to; none for a parameter without units.
    pub(crate) fn units(&self) -> Option<Vec<usize>> {
        let (axis, hidden) = (self.axis.axis, self.axis.hidden?);
        let mut shape = self.tensor.shape.clone();
        shape.remove(axis);
        let hidden = hidden - usize::from(hidden > axis);
        let inner: usize = shape[hidden + 1..].iter().product();
        Some((0..self.row_len()).map(|element| element / inner % shape[hidden]).collect())
    }

    /// The first values of a new expert's row.
    pub(crate) fn start(
        &self,
        expert: ExpertId,
        start: &RowStart,
        streams: &Streams,
    ) -> Result<Vec<f32>, SurgeryError> {
        let layer = self.axis.layer;
        let fresh = || fresh_row(self.axis, self.part, &self.tensor.shape, expert, streams);
        let rng = || streams.expert(Stream::Surgery, layer, expert, self.part);
        Ok(match start {
            RowStart::Fresh => fresh(),
            RowStart::Aimed(direction) if self.axis.role == ExpertRole::Router => {
                self.check_direction(direction)?;
                direction.clone()
            }
            RowStart::Aimed(_) => fresh(),
            RowStart::Copy { parent, .. } if !self.axis.role.is_trained() => self.row(*parent),
            RowStart::Copy { parent, noise } => noisy(self.row(*parent), *noise, &mut rng()),
            RowStart::Half(parent) => self.halved(*parent),
            RowStart::Shifted(parent, by) => self.shifted(*parent, by)?,
            RowStart::Upcycled { parent, reinit } => match self.axis.role {
                ExpertRole::Router => fresh(),
                role if !role.is_trained() => fresh(),
                // Which units are drawn anew is one choice an expert, the same in all of its parameters.
                _ => {
                    let choice = streams.expert(Stream::Surgery, layer, expert, u8::MAX);
                    self.redrawn(self.row(*parent), *reinit, choice, &mut rng())
                }
            },
        })
    }

    /// The row of an expert that shares its router probability with its other half.
    pub(crate) fn halved(&self, position: usize) -> Vec<f32> {
        let mut row = self.row(position);
        if self.axis.role == ExpertRole::RouterBias {
            row.iter_mut().for_each(|offset| *offset -= std::f32::consts::LN_2);
        }
        row
    }

    /// The row of a half of an expert that was split along a direction.
    pub(crate) fn shifted(&self, position: usize, by: &RouterShift) -> Result<Vec<f32>, SurgeryError> {
        let mut row = self.row(position);
        match self.axis.role {
            ExpertRole::Router => {
                self.check_direction(&by.direction)?;
                row.iter_mut().zip(&by.direction).for_each(|(value, by)| *value += by);
            }
            ExpertRole::RouterBias => row.iter_mut().for_each(|bias| *bias += by.constant as f32),
            ExpertRole::Input | ExpertRole::Output | ExpertRole::BalanceBias | ExpertRole::Other => {}
        }
        Ok(row)
    }

    /// Refuses a direction that is no router row.
    fn check_direction(&self, direction: &[f32]) -> Result<(), SurgeryError> {
        let (expected, found) = (self.row_len(), direction.len());
        if expected == found {
            return Ok(());
        }
        Err(SurgeryError::Direction { param: self.axis.param.clone(), expected, found })
    }

    /// `row` with a fraction of its hidden units drawn from the normal distribution that has its mean and
    /// standard deviation (Drop-Upcycling).
    fn redrawn(&self, mut row: Vec<f32>, reinit: f64, mut choice: impl Rng, rng: &mut impl Rng) -> Vec<f32> {
        let Some(units) = self.units() else { return row };
        let n_units = units.iter().max().map_or(0, |last| last + 1);
        let drawn = chosen_units(n_units, reinit, &mut choice);
        let mean = row.iter().sum::<f32>() / row.len() as f32;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / row.len() as f32;
        let normal = Normal::new(mean, variance.sqrt()).expect("finite weights have a finite deviation");
        for (value, unit) in row.iter_mut().zip(units) {
            if drawn[unit] {
                *value = normal.sample(rng);
            }
        }
        row
    }
}

/// What an expert's row would be at the start of a run, in a parameter of this shape that is the `part`-th of its
/// layer.
pub(crate) fn fresh_row(
    axis: &ExpertAxis,
    part: u8,
    shape: &[usize],
    expert: ExpertId,
    streams: &Streams,
) -> Vec<f32> {
    let len = row_len(axis, shape);
    let drawn = |fan_in, stream| {
        uniform(fan_in, len, &mut streams.expert(Stream::InitExpert, axis.layer, expert, stream))
    };
    match axis.init {
        RowInit::Zeros => vec![0.0; len],
        RowInit::Uniform { fan_in, stream } => drawn(fan_in, stream),
        // Behind the numbers that people choose for streams.
        RowInit::ByShape => drawn(fan_in(axis, shape), OWN_STREAMS | part),
    }
}

/// Streams from here on are numbered by the place of a parameter in its layer.
const OWN_STREAMS: u8 = 0x80;

/// Elements of a row.
fn row_len(axis: &ExpertAxis, shape: &[usize]) -> usize {
    shape.iter().product::<usize>() / shape[axis.axis].max(1)
}

/// How many values are summed into one output of the parameter: see [`RowInit::ByShape`].
fn fan_in(axis: &ExpertAxis, shape: &[usize]) -> usize {
    match (axis.role, axis.hidden) {
        (_, None) => row_len(axis, shape),
        (ExpertRole::Input, Some(hidden)) => row_len(axis, shape) / shape[hidden].max(1),
        (_, Some(hidden)) => shape[hidden],
    }
}

/// Gaussian noise of standard deviation `noise · RMS(row)`.
fn noisy(mut row: Vec<f32>, noise: f64, rng: &mut impl Rng) -> Vec<f32> {
    let rms = (row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / row.len().max(1) as f64).sqrt();
    let scale = (noise * rms) as f32;
    if scale > 0.0 {
        for value in &mut row {
            let drawn: f32 = StandardNormal.sample(rng);
            *value += scale * drawn;
        }
    }
    row
}

/// `round(fraction · n)` of `n` units, chosen at random.
fn chosen_units(n: usize, fraction: f64, rng: &mut impl Rng) -> Vec<bool> {
    let mut order: Vec<(u64, usize)> = (0..n).map(|unit| (rng.next_u64(), unit)).collect();
    order.sort_unstable();
    let mut chosen = vec![false; n];
    let count = (fraction * n as f64).round() as usize;
    order.iter().take(count).for_each(|(_, unit)| chosen[*unit] = true);
    chosen
}

#[cfg(test)]
mod tests {
    use moelt_schema::LayerId;

    use super::*;

    fn axis(role: ExpertRole, hidden: Option<usize>) -> ExpertAxis {
        let init = RowInit::Uniform { fan_in: 2, stream: 0 };
        ExpertAxis { param: "w".into(), layer: LayerId(0), axis: 0, hidden, role, init }
    }

    fn start(role: ExpertRole, hidden: Option<usize>, start: &RowStart) -> Result<Vec<f32>, SurgeryError> {
        // Two experts of [2, 3]: unit u has the values 10 u and 10 u + 1 (+ 100 for the second expert).
        let data = [0.0, 10.0, 20.0, 1.0, 11.0, 21.0];
        let data = data.into_iter().chain(data.map(|value| value + 100.0)).collect();
        let tensor = HostTensor { shape: vec![2, 2, 3], data };
        let axis = axis(role, hidden);
        OldParam { axis: &axis, part: 0, tensor: &tensor }.start(ExpertId(5), start, &Streams::new(1))
    }

    #[test]
    fn fresh_rows_depend_on_seed_layer_and_id_alone() {
        let fresh = start(ExpertRole::Input, Some(2), &RowStart::Fresh).unwrap();
        let expected =
            uniform(2, 6, &mut Streams::new(1).expert(Stream::InitExpert, LayerId(0), ExpertId(5), 0));
        assert_eq!(fresh, expected);
    }

    #[test]
    fn rows_drawn_by_shape_have_the_fan_in_of_their_role() {
        let fan_ins = |axis: ExpertAxis, shape: &[usize]| (fan_in(&axis, shape), row_len(&axis, shape));
        assert_eq!(fan_ins(ExpertAxis::router("r"), &[4, 5]), (5, 5));
        assert_eq!(fan_ins(ExpertAxis::input("i"), &[4, 5, 3]), (5, 15));
        assert_eq!(fan_ins(ExpertAxis::output("o"), &[4, 3, 5]), (3, 15));
        assert_eq!(fan_ins(ExpertAxis::output("o").on_axis(1).with_hidden(0), &[3, 4, 5]), (3, 15));
        assert_eq!(fan_ins(ExpertAxis::output("o").on_axis(1).without_hidden(), &[5, 4]), (5, 5));
        let row = |part| fresh_row(&ExpertAxis::router("r"), part, &[2, 9], ExpertId(3), &Streams::new(1));
        assert_ne!(row(0), row(1), "parameters of one shape do not begin alike");
        assert!(row(0).iter().all(|value| value.abs() <= 1.0 / 3.0));
    }

    #[test]
    fn a_copy_is_its_parent_up_to_noise() {
        let copy = |noise| start(ExpertRole::Input, Some(2), &RowStart::Copy { parent: 1, noise }).unwrap();
        assert_eq!(copy(0.0), [100.0, 110.0, 120.0, 101.0, 111.0, 121.0]);
        let noisy = copy(0.01);
        assert_ne!(noisy, copy(0.0));
        assert!(noisy.iter().zip(copy(0.0)).all(|(a, b)| (a - b).abs() < 6.0), "{noisy:?}");
    }

    #[test]
    fn half_of_an_offset_is_ln_2_lower() {
        let half = start(ExpertRole::RouterBias, None, &RowStart::Half(0)).unwrap();
        assert!((half[1] - (10.0 - 2f32.ln())).abs() < 1e-5);
        assert_eq!(start(ExpertRole::Input, None, &RowStart::Half(0)).unwrap()[1], 10.0);
    }

    #[test]
    fn a_balance_bias_begins_at_0_or_at_the_parents() {
        let parents = [100.0, 110.0, 120.0, 101.0, 111.0, 121.0];
        let begun = |begin: RowStart| start(ExpertRole::BalanceBias, None, &begin).unwrap();
        assert_eq!(begun(RowStart::Copy { parent: 1, noise: 0.5 }), parents, "without noise");
        assert_eq!(begun(RowStart::Half(1)), parents);
        let by = RouterShift { direction: vec![1.0; 6], constant: 1.0 };
        assert_eq!(begun(RowStart::Shifted(1, by)), parents);
        let zeros = ExpertAxis { init: RowInit::Zeros, ..axis(ExpertRole::BalanceBias, None) };
        assert_eq!(fresh_row(&zeros, 0, &[2, 6], ExpertId(5), &Streams::new(1)), [0.0; 6]);
    }

    #[test]
    fn upcycling_draws_whole_units_anew() {
        let upcycled =
            |reinit| start(ExpertRole::Input, Some(2), &RowStart::Upcycled { parent: 0, reinit }).unwrap();
        assert_eq!(upcycled(0.0), [0.0, 10.0, 20.0, 1.0, 11.0, 21.0]);
        let third = upcycled(1.0 / 3.0);
        let changed: Vec<bool> = third.iter().zip(upcycled(0.0)).map(|(a, b)| *a != b).collect();
        assert_eq!(changed.iter().filter(|c| **c).count(), 2);
        assert_eq!(changed[..3], changed[3..], "both elements of one unit");
    }

    #[test]
    fn a_direction_of_another_length_is_refused() {
        let aimed = RowStart::Aimed(vec![1.0; 3]);
        let error = start(ExpertRole::Router, None, &aimed).unwrap_err();
        assert_eq!(error, SurgeryError::Direction { param: "w".into(), expected: 6, found: 3 });
        assert!(start(ExpertRole::Input, None, &aimed).is_ok());
    }
}
