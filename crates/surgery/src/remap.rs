//! The one remap behind every edit: a tensor with other rows along one axis.

use moelt_optim::Rows;

/// A row of a tensor that is being put together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Row<T> {
    /// The row at this position of the old tensor.
    Old(usize),
    /// These values: the row's elements in row-major order of the other axes.
    Values(Vec<T>),
    /// Nothing but 0.
    Zeros,
}

/// The values of a tensor whose rows along `axis` are `rows`, row-major. `old` has the shape `shape`.
///
/// # Panics
/// When a row of values is not as long as a row of `old`.
pub(crate) fn remap<T: Copy + Default>(shape: &[usize], axis: usize, old: &[T], rows: &[Row<T>]) -> Vec<T> {
    let (from, to) = (Rows::new(shape, axis), Rows::new(&resized(shape, axis, rows.len()), axis));
    let row_len: usize = old.len() / shape[axis].max(1);
    let mut data = vec![T::default(); row_len * rows.len()];
    for (position, row) in rows.iter().enumerate() {
        match row {
            Row::Zeros => {}
            Row::Old(old_position) => {
                for (target, source) in to.stretches(position).zip(from.stretches(*old_position)) {
                    data[target].copy_from_slice(&old[source]);
                }
            }
            Row::Values(values) => {
                assert_eq!(values.len(), row_len, "a row of a tensor of shape {shape:?} along axis {axis}");
                let mut rest = values.as_slice();
                for target in to.stretches(position) {
                    let (now, later) = rest.split_at(target.len());
                    data[target].copy_from_slice(now);
                    rest = later;
                }
            }
        }
    }
    data
}

/// `shape` with `n` rows along `axis`.
pub(crate) fn resized(shape: &[usize], axis: usize, n: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape[axis] = n;
    shape
}

/// The elements of one row, in row-major order of the other axes.
pub(crate) fn row_values<T: Copy>(shape: &[usize], axis: usize, data: &[T], row: usize) -> Vec<T> {
    Rows::new(shape, axis).stretches(row).flat_map(|stretch| data[stretch].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_move_along_any_axis() {
        let old: Vec<i32> = (0..6).collect();
        let rows = [Row::Old(1), Row::Values(vec![7, 8]), Row::Old(0)];
        // [[0, 1, 2], [3, 4, 5]] along axis 1: columns 1, new, 0.
        assert_eq!(remap(&[2, 3], 1, &old, &rows), [1, 7, 0, 4, 8, 3]);
        // [[0, 1], [2, 3], [4, 5]] along axis 0.
        assert_eq!(remap(&[3, 2], 0, &old, &rows), [2, 3, 7, 8, 0, 1]);
        assert_eq!(row_values(&[2, 3], 1, &old, 2), [2, 5]);
        assert_eq!(resized(&[2, 3], 1, 5), [2, 5]);
    }

    #[test]
    #[should_panic(expected = "a row of a tensor of shape [2, 3] along axis 1")]
    fn a_row_of_the_wrong_length_is_refused() {
        remap(&[2, 3], 1, &[0; 6], &[Row::Values(vec![1])]);
    }
}
