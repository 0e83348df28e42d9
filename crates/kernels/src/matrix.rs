//! Products of matrices in plain slices, on one thread: all unsafe code of the project.
//!
//! The product itself is that of the `gemm` crate, which Burn's CPU backend uses too. It takes pointers and strides; here
//! they come from slices whose bounds are checked first.

#![expect(unsafe_code, reason = "gemm takes pointers")]

/// A matrix of values that lie in a slice, row by row or column by column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    /// Rows and columns.
    shape: [usize; 2],
    /// From a row to the next, from a column to the next.
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// `values` as rows of `n_columns` each.
    ///
    /// # Panics
    /// When there are no columns, or the last row is incomplete.
    pub(crate) fn from_rows(values: &'a [f32], n_columns: usize) -> Self {
        assert!(values.len().is_multiple_of(n_columns), "{} values in rows of {n_columns}", values.len());
        Self { values, shape: [values.len() / n_columns, n_columns], strides: [n_columns, 1] }
    }

    pub(crate) fn n_rows(self) -> usize {
        self.shape[0]
    }

    /// Columns for rows; nothing moves.
    pub(crate) fn transposed(self) -> Self {
        let ([rows, columns], [by_row, by_column]) = (self.shape, self.strides);
        Self { shape: [columns, rows], strides: [by_column, by_row], ..self }
    }

    /// `n` rows, from row `start` on.
    ///
    /// # Panics
    /// When there are fewer.
    pub(crate) fn narrow_rows(self, start: usize, n: usize) -> Self {
        let [rows, columns] = self.shape;
        assert!(start + n <= rows, "rows {start} to {} of {rows}", start + n);
        let values = self.values.get(start * self.strides[0]..).unwrap_or_default();
        Self { values, shape: [n, columns], ..self }
    }

    /// `n` columns, from column `start` on.
    ///
    /// # Panics
    /// When there are fewer.
    pub(crate) fn narrow_columns(self, start: usize, n: usize) -> Self {
        let [rows, columns] = self.shape;
        assert!(start + n <= columns, "columns {start} to {} of {columns}", start + n);
        let values = self.values.get(start * self.strides[1]..).unwrap_or_default();
        Self { values, shape: [rows, n], ..self }
    }

    /// Whether every element lies in the slice.
    fn is_within_bounds(self) -> bool {
        let [rows, columns] = self.shape;
        let last = |[by_row, by_column]: [usize; 2]| (rows - 1) * by_row + (columns - 1) * by_column;
        rows == 0 || columns == 0 || last(self.strides) < self.values.len()
    }
}

/// What happens to the values that a product is written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    /// The product is added to them.
    Kept,
    /// The product takes their place.
    Overwritten,
}

/// `out = a b`, or `out += a b`, with `out` in rows.
///
/// # Panics
/// When shapes do not fit.
pub(crate) fn multiply(out: &mut [f32], old: Old, a: Matrix<'_>, b: Matrix<'_>) {
    let ([m, k], [k_of_b, n]) = (a.shape, b.shape);
    assert!(k == k_of_b && out.len() == m * n, "[{m}, {k}] × [{k_of_b}, {n}] into {} values", out.len());
    assert!(a.is_within_bounds() && b.is_within_bounds(), "a matrix larger than its slice");
    if k > LONGEST_SUM {
        return multiply_in_parts(out, old, a, b);
    }
    if m == 1 {
        return multiply_lone_row(out, old, a, b);
    }
    let stride = |stride: usize| stride as isize;
    // SAFETY: `gemm` reads the m × k elements of `a` and the k × n of `b`, which lie in their slices, and reads and writes
    // the m × n of `out`, which fill it. `out` is borrowed mutably, so that it overlaps neither.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride(n),
            old == Old::Kept,
            a.values.as_ptr(),
            stride(a.strides[1]),
            stride(a.strides[0]),
            b.values.as_ptr(),
            stride(b.strides[1]),
            stride(b.strides[0]),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Terms that one call of gemm adds up, at most. Of longer sums it makes parts by the sizes of both matrices, and what becomes of a token must
/// not depend on how many others its expert has.
const LONGEST_SUM: usize = 512;

/// [`multiply`] with sums in parts that do not depend on the number of rows.
fn multiply_in_parts(out: &mut [f32], old: Old, a: Matrix<'_>, b: Matrix<'_>) {
    let [_, k] = a.shape;
    for start in (0..k).step_by(LONGEST_SUM) {
        let n = LONGEST_SUM.min(k - start);
        let old = if start == 0 { old } else { Old::Kept };
        let columns = a.transposed().narrow_rows(start, n).transposed();
        multiply(out, old, columns, b.narrow_rows(start, n));
    }
}

/// [`multiply`] for a single row, which is computed twice: gemm sums a row by itself in another order than one of several,
/// and what becomes of a token must not depend on how many others its expert has.
fn multiply_lone_row(out: &mut [f32], old: Old, a: Matrix<'_>, b: Matrix<'_>) {
    let mut twice = out.repeat(2);
    let a = Matrix { shape: [2, a.shape[1]], strides: [0, a.strides[1]], ..a };
    multiply(&mut twice, old, a, b);
    out.copy_from_slice(&twice[..out.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_same_bits_alone_and_in_company() {
        let values = |n: usize| (0..n).map(|i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).collect::<Vec<_>>();
        const ROWS: usize = 70;
        let sizes = [48, 512, 513, 800, 1536].into_iter().flat_map(|k| [40, 64, 100].map(|n| (k, n)));
        for ((k, n), old) in sizes.flat_map(|size| [(size, Old::Kept), (size, Old::Overwritten)]) {
            let (a, b) = (values(ROWS * k), values(k * n));
            let product = |rows: usize| {
                let mut out = values(n).repeat(rows);
                multiply(&mut out, old, Matrix::from_rows(&a[..rows * k], k), Matrix::from_rows(&b, n));
                out
            };
            let all = product(ROWS);
            for few in [1, 2, 3, 17, 64] {
                assert_eq!(product(few), all[..few * n], "{few} rows, {old:?}, {k} × {n}");
            }
        }
    }

    #[test]
    fn hand_worked_products() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, 1.0, 0.0, 3.0]);
        // [1 2 3; 4 5 6] × [1 0; 2 1; 0 3]
        let mut out = [100.0; 4];
        multiply(&mut out, Old::Overwritten, Matrix::from_rows(&a, 3), Matrix::from_rows(&b, 2));
        assert_eq!(out, [5.0, 11.0, 14.0, 23.0]);
        multiply(&mut out, Old::Kept, Matrix::from_rows(&a, 3), Matrix::from_rows(&b, 2));
        assert_eq!(out, [10.0, 22.0, 28.0, 46.0]);
        // Rows 1 and 2 of [1 4; 2 5; 3 6] × [1 0 2; 1 0 3].
        let mut out = [0.0; 6];
        let a = Matrix::from_rows(&a, 3).transposed().narrow_rows(1, 2);
        multiply(&mut out, Old::Overwritten, a, Matrix::from_rows(&b, 3));
        assert_eq!(out, [7.0, 0.0, 19.0, 9.0, 0.0, 24.0]);
    }

    #[test]
    fn a_product_over_nothing_is_zero() {
        let mut out = [7.0; 6];
        let empty = Matrix::from_rows(&[], 2).transposed();
        multiply(&mut out, Old::Overwritten, empty, Matrix::from_rows(&[], 3));
        assert_eq!(out, [0.0; 6]);
        multiply(&mut [], Old::Overwritten, Matrix::from_rows(&[], 2), Matrix::from_rows(&[1.0; 6], 3));
    }

    #[test]
    #[should_panic(expected = "[1, 2] × [3, 1] into 1 values")]
    fn shapes_that_do_not_fit_are_refused() {
        multiply(&mut [0.0], Old::Kept, Matrix::from_rows(&[1.0; 2], 2), Matrix::from_rows(&[1.0; 3], 1));
    }

    #[test]
    fn columns_are_those_of_every_row() {
        // Columns 1 and 2 of [1 2 3; 4 5 6], each row times (1, 10).
        let a = Matrix::from_rows(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).narrow_columns(1, 2);
        let mut out = [0.0; 2];
        multiply(&mut out, Old::Overwritten, a, Matrix::from_rows(&[1.0, 10.0], 1));
        assert_eq!(out, [32.0, 65.0]);
    }

    #[test]
    #[should_panic(expected = "columns 2 to 4 of 3")]
    fn columns_beyond_the_last_are_refused() {
        Matrix::from_rows(&[1.0; 6], 3).narrow_columns(2, 2);
    }

    #[test]
    #[should_panic(expected = "rows 1 to 3 of 2")]
    fn rows_beyond_the_last_are_refused() {
        Matrix::from_rows(&[1.0; 4], 2).narrow_rows(1, 2);
    }
}
