//! A table of numbers: one row per seed, one column per example.

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
    }
}
