//! What the optimizer remembers of a parameter, and a step of it on the host.

use crate::{
    ParamGroup, Rows,
    adamw::{Update, Values},
    gradients::Gradient,
    table::Table,
};

/// What the optimizer remembers of one parameter. It exists from the first gradient on.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamState {
    /// Shape of the parameter and of both moments.
    pub shape: Vec<usize>,
    /// Mean of gradients.
    pub moment_1: Vec<f32>,
    /// Mean of squared gradients.
    pub moment_2: Vec<f32>,
    /// Steps taken: one count, or one per row along the group's `row_axis`.
    pub steps: Vec<u64>,
}

/// Makes sure that what is remembered of a parameter is of its shape and rows.
pub(crate) fn check_state(path: &str, [state, parameter]: [&[usize]; 2], steps: usize, rows: Rows) {
    assert_eq!(state, parameter, "optimizer state of `{path}` is that of another shape");
    assert_eq!(steps, rows.len(), "optimizer steps of `{path}` are those of other rows");
}

impl ParamState {
    /// Nothing remembered yet.
    pub fn new(shape: &[usize], rows: usize) -> Self {
        let n = shape.iter().product();
        Self { shape: shape.to_vec(), moment_1: vec![0.0; n], moment_2: vec![0.0; n], steps: vec![0; rows] }
    }

    /// Steps the parameter as its group says; `update` is what the step of a number does.
    pub(crate) fn step(
        &mut self,
        weights: &mut [f32],
        gradient: &Gradient,
        group: &ParamGroup,
        update: impl Fn(u64) -> Update + Sync,
    ) {
        let Self { shape, moment_1, moment_2, steps } = self;
        let values = Values { weights, moment_1, moment_2 };
        let table =
            |values, rows: &[u32]| Table::new(values, shape[1..].iter().product(), gradient.values(), rows);
        match (group.row_axis, &gradient.rows) {
            (None, None) => {
                steps[0] += 1;
                update(steps[0]).apply(values, gradient.values());
            }
            (None, Some(rows)) => {
                steps[0] += 1;
                table(values, rows).step_all(&update(steps[0]));
            }
            (Some(axis), None) => step_rows(values, gradient.values(), Rows::new(shape, axis), steps, update),
            (Some(0), Some(rows)) => table(values, rows).step_named(steps, update),
            (Some(axis), Some(_)) => {
                panic!("steps by rows along axis {axis}, a gradient of rows along axis 0")
            }
        }
    }
}

/// A step of each row whose gradient is not zero.
fn step_rows(
    values: Values<'_>,
    gradient: &[f32],
    rows: Rows,
    steps: &mut [u64],
    update: impl Fn(u64) -> Update,
) {
    let Values { weights, moment_1, moment_2 } = values;
    for (row, steps) in steps.iter_mut().enumerate() {
        let touched = |stretch: std::ops::Range<usize>| gradient[stretch].iter().any(|g: &f32| *g != 0.0);
        if !rows.stretches(row).any(touched) {
            continue;
        }
        *steps += 1;
        let update = update(*steps);
        for stretch in rows.stretches(row) {
            let values = Values {
                weights: &mut weights[stretch.clone()],
                moment_1: &mut moment_1[stretch.clone()],
                moment_2: &mut moment_2[stretch.clone()],
            };
            update.apply(values, &gradient[stretch]);
        }
    }
}
