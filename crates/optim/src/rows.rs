//! The rows of a tensor along any axis, as stretches of contiguous memory.

use std::ops::Range;

/// A row-major tensor seen as rows along one axis. Along axis 0 a row is one stretch of memory;
/// along a later axis it is several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    outer: usize,
    n_rows: usize,
    inner: usize,
}

impl Rows {
    /// The rows of a tensor of `shape` along `axis`.
    ///
    /// # Panics
    /// When the tensor has no such axis.
    pub fn new(shape: &[usize], axis: usize) -> Self {
        assert!(axis < shape.len(), "axis {axis} of a tensor of shape {shape:?}");
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        Self { outer, n_rows: shape[axis], inner }
    }

    /// Those along an axis, where one is named, or else the whole tensor as one row.
    pub(crate) fn of(shape: &[usize], axis: Option<usize>) -> Self {
        axis.map_or(Self::whole(shape.iter().product()), |axis| Self::new(shape, axis))
    }

    /// The whole tensor as one row.
    pub fn whole(len: usize) -> Self {
        Self { outer: 1, n_rows: 1, inner: len }
    }

    /// The shape in which the rows lie along the middle axis: `[outer, rows, inner]`.
    pub(crate) fn view(&self) -> [usize; 3] {
        [self.outer, self.n_rows, self.inner]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.n_rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// The stretches of memory that make up row `row`.
    pub fn stretches(&self, row: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { outer, n_rows, inner } = *self;
        (0..outer).map(move |block| {
            let start = (block * n_rows + row) * inner;
            start..start + inner
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_axis() {
        let stretches = |axis, row| Rows::new(&[2, 3, 4], axis).stretches(row).collect::<Vec<_>>();
        assert_eq!(stretches(0, 1), std::slice::from_ref(&(12..24)));
        assert_eq!(stretches(1, 2), [8..12, 20..24]);
        assert_eq!(stretches(2, 0), [0..1, 4..5, 8..9, 12..13, 16..17, 20..21]);
        assert!(Rows::whole(24).stretches(0).eq(std::iter::once(0..24)));
    }
}
