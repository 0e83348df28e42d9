//! A step of a parameter whose gradient is that of some rows alone: an embedding table, of which a batch uses little.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    adamw::{Update, Values},
    parallel::PART,
};

/// The rows of a parameter along axis 0, with the gradients of some of them.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    values: Values<'a>,
    width: usize,
    gradients: &'a [f32],
    /// Rows that have a gradient, in order, and where it lies.
    named: Vec<(u32, u32)>,
}

/// Neighbouring rows of a table, which one task steps.
struct Block<'a> {
    values: Values<'a>,
    /// The first of them.
    start: usize,
}

impl<'a> Table<'a> {
    /// `gradients` are those of `rows`, each of which is there once.
    ///
    /// # Shapes
    /// - values: `[n_rows, width]` each
    /// - gradients: `[rows.len(), width]`
    pub(crate) fn new(values: Values<'a>, width: usize, gradients: &'a [f32], rows: &[u32]) -> Self {
        let mut named: Vec<(u32, u32)> = rows.iter().copied().zip(0..).collect();
        named.sort_unstable();
        Self { values, width, gradients, named }
    }

    /// A step of every row; those that are not named have a gradient of zero.
    pub(crate) fn step_all(self, update: &Update) {
        let Self { values, width, gradients, named } = self;
        blocks(values, width).for_each(|mut block| {
            let mut named = within(&named, block.rows(width)).iter().peekable();
            for row in block.rows(width) {
                let values = block.row(row, width);
                match named.next_if(|(named, _)| *named as usize == row) {
                    Some((_, place)) => update.apply(values, gradient(gradients, *place, width)),
                    None => update.apply_without_gradients(values),
                }
            }
        });
    }

    /// A step of the rows that are named and have a gradient that is not zero. `steps` counts those of each row; `update` is
    /// what the step of a number does.
    pub(crate) fn step_named(self, steps: &mut [u64], update: impl Fn(u64) -> Update + Sync) {
        let Self { values, width, gradients, named } = self;
        let blocks = blocks(values, width).zip(steps.par_chunks_mut(rows_of_block(width)));
        blocks.for_each(|(mut block, steps)| {
            for (row, place) in within(&named, block.rows(width)) {
                let gradient = gradient(gradients, *place, width);
                if gradient.iter().any(|g| *g != 0.0) {
                    let steps = &mut steps[*row as usize - block.start];
                    *steps += 1;
                    update(*steps).apply(block.row(*row as usize, width), gradient);
                }
            }
        });
    }
}

impl Block<'_> {
    fn rows(&self, width: usize) -> Range<usize> {
        self.start..self.start + self.values.weights.len() / width
    }

    fn row(&mut self, row: usize, width: usize) -> Values<'_> {
        let stretch = (row - self.start) * width..(row - self.start + 1) * width;
        let Values { weights, moment_1, moment_2 } = &mut self.values;
        Values {
            weights: &mut weights[stretch.clone()],
            moment_1: &mut moment_1[stretch.clone()],
            moment_2: &mut moment_2[stretch],
        }
    }
}

fn blocks(values: Values<'_>, width: usize) -> impl IndexedParallelIterator<Item = Block<'_>> {
    let (rows, Values { weights, moment_1, moment_2 }) = (rows_of_block(width), values);
    let parts = weights.par_chunks_mut(rows * width).zip(moment_1.par_chunks_mut(rows * width));
    parts.zip(moment_2.par_chunks_mut(rows * width)).enumerate().map(
        move |(at, ((weights, moment_1), moment_2))| Block {
            values: Values { weights, moment_1, moment_2 },
            start: at * rows,
        },
    )
}

fn rows_of_block(width: usize) -> usize {
    (PART / width).max(1)
}

/// Those of the named rows that lie in a range.
fn within(named: &[(u32, u32)], rows: Range<usize>) -> &[(u32, u32)] {
    let before = |end: usize| named.partition_point(|(row, _)| (*row as usize) < end);
    &named[before(rows.start)..before(rows.end)]
}

fn gradient(gradients: &[f32], place: u32, width: usize) -> &[f32] {
    &gradients[place as usize * width..][..width]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AdamW;

    /// Rows of a block, and a table of two and a half blocks.
    const BLOCK: usize = 8;
    const WIDTH: usize = PART / BLOCK;
    const ROWS: usize = 2 * BLOCK + BLOCK / 2;

    /// Weights and moments after a step of a table in which the first and last rows of blocks have a gradient, out of order.
    fn stepped(step: impl FnOnce(Table<'_>)) -> [Vec<f32>; 3] {
        let named = [ROWS as u32 - 1, 0, 8, 7, 15];
        let gradients: Vec<f32> = named.iter().flat_map(|row| vec![1.0 + *row as f32; WIDTH]).collect();
        let mut values = [1.0, 0.5, 0.25].map(|value| vec![value; ROWS * WIDTH]);
        let [weights, moment_1, moment_2] = &mut values;
        step(Table::new(Values { weights, moment_1, moment_2 }, WIDTH, &gradients, &named));
        values
    }

    /// A step of one row at a time, with zeros where a row is not named.
    fn expected(gradient: impl Fn(usize) -> Option<f32>) -> [Vec<f32>; 3] {
        let mut values = [1.0, 0.5, 0.25].map(|value| vec![value; ROWS * WIDTH]);
        for row in 0..ROWS {
            let Some(gradient) = gradient(row) else { continue };
            let [weights, moment_1, moment_2] =
                values.each_mut().map(|values| &mut values[row * WIDTH..(row + 1) * WIDTH]);
            let values = Values { weights, moment_1, moment_2 };
            AdamW::default().at(3, 0.1, 0.01, 0.5).apply(values, &vec![gradient; WIDTH]);
        }
        values
    }

    fn named(row: usize) -> Option<f32> {
        [0, 7, 8, 15, ROWS - 1].contains(&row).then_some(1.0 + row as f32)
    }

    #[test]
    fn every_row_of_every_block_takes_a_step() {
        let update = AdamW::default().at(3, 0.1, 0.01, 0.5);
        let all = expected(|row| Some(named(row).unwrap_or(0.0)));
        assert!(stepped(|table| table.step_all(&update)) == all);
    }

    #[test]
    fn named_rows_take_a_step_and_count_it_in_whatever_block_they_lie() {
        let mut steps = vec![2; ROWS];
        let after = stepped(|table| {
            table.step_named(&mut steps, |t| AdamW::default().at(t, 0.1, 0.01, 0.5));
        });
        assert!(after == expected(named));
        let counted: Vec<u64> = (0..ROWS).map(|row| 2 + u64::from(named(row).is_some())).collect();
        assert_eq!(steps, counted);
    }
}
