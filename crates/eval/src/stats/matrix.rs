//! A table of numbers: one row per seed, one column per example.

/// Sums are taken over this many lanes at once: fixed, so that a sum never depends on the machine.
const LANES: usize = 8;

/// Rows of equal length, at least one row and one column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// # Panics
    /// When the rows are none, empty or of different length.
    pub(crate) fn new(rows: impl IntoIterator<Item = Vec<f64>>) -> Self {
        let mut rows = rows.into_iter().peekable();
        let columns = rows.peek().map_or(0, Vec::len);
        assert!(columns > 0, "a matrix has at least one row and one column");
        let mut values = Vec::new();
        for row in rows {
            assert_eq!(row.len(), columns, "rows of {} and {columns} columns", row.len());
            values.extend(row);
        }
        Self { columns, values }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.values.len() / self.columns
    }

    pub(crate) fn n_columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.columns)
    }

    pub(crate) fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    pub(crate) fn row_means(&self) -> Vec<f64> {
        self.rows().map(|row| row.iter().sum::<f64>() / self.columns as f64).collect()
    }

    pub(crate) fn column_means(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.columns];
        for row in self.rows() {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        sums.iter().map(|sum| sum / self.n_rows() as f64).collect()
    }

    /// Mean of the values, each counted `row_counts[row] · column_counts[column]` times; both lists of
    /// counts sum to their own length.
    pub(crate) fn weighted_mean(&self, row_counts: &[f64], column_counts: &[f64]) -> f64 {
        let counted = self.rows().zip(row_counts).filter(|(_, count)| **count > 0.0);
        counted.map(|(row, count)| count * dot(row, column_counts)).sum::<f64>() / self.values.len() as f64
    }
}

/// `Σ a·b` over independent lanes, which the compiler can vectorise.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_equal_hand_worked_values() {
        let matrix = Matrix::new([vec![1.0, 2.0, 3.0], vec![5.0, 6.0, 13.0]]);
        assert_eq!((matrix.n_rows(), matrix.n_columns(), matrix.mean()), (2, 3, 5.0));
        assert_eq!(matrix.row_means(), [2.0, 8.0]);
        assert_eq!(matrix.column_means(), [3.0, 4.0, 8.0]);
        // The second row twice; the first column twice, the second not at all.
        assert_eq!(matrix.weighted_mean(&[0.0, 2.0], &[2.0, 0.0, 1.0]), 2.0 * (2.0 * 5.0 + 13.0) / 6.0);
    }

    #[test]
    fn a_long_dot_product_has_no_gap() {
        let a: Vec<f64> = (0..29).map(f64::from).collect();
        let expected: f64 = a.iter().map(|x| x * x).sum();
        assert_eq!(dot(&a, &a), expected);
    }
}
