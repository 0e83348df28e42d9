//! A table of numbers as a bootstrap sums it: of each row the value that most entries have, and the entries that differ from it.

use super::matrix::Matrix;

/// Sums are taken over this many lanes at once: fixed, so that a sum never depends on the machine.
const LANES: usize = 4;

/// The rows of a [`Matrix`]. Two arms of which both are right on most examples differ on few of them: a resample that skips the
/// others is ten times cheaper. Sums of whole numbers, such as those of who was right, are exact, and therefore the same.
pub(crate) struct SparseMatrix {
    columns: usize,
    rows: Vec<SparseRow>,
}

struct SparseRow {
    /// Of most entries, where more than half are the same; of none in particular otherwise.
    usual: f64,
    /// Columns of all other entries, those with equal ones beside one another.
    columns: Vec<u32>,
    runs: Vec<Run>,
}

/// Columns with equal entries: from the end of the run before to `end`.
struct Run {
    /// By how much they are more than the usual ones.
    excess: f64,
    end: usize,
}

impl SparseMatrix {
    /// Of at most 2³² columns, as many as a draw has.
    pub(crate) fn of(matrix: &Matrix) -> Self {
        Self { columns: matrix.n_columns(), rows: matrix.rows().map(SparseRow::of).collect() }
    }

    /// Mean of the values, each counted `row_counts[row] · column_counts[column]` times; both lists of
    /// counts sum to their own length.
    pub(crate) fn weighted_mean(&self, row_counts: &[f64], column_counts: &[f64]) -> f64 {
        let columns = self.columns as f64;
        let counted = self.rows.iter().zip(row_counts).filter(|(_, count)| **count > 0.0);
        let sum = counted
            .map(|(row, count)| count * (columns * row.usual + row.others(column_counts)))
            .sum::<f64>();
        sum / (columns * self.rows.len() as f64)
    }
}

impl SparseRow {
    fn of(row: &[f64]) -> Self {
        let mut sorted = row.to_vec();
        // The median is the value of more than half, if there is such a one.
        let (_, usual, _) = sorted.select_nth_unstable_by(row.len() / 2, f64::total_cmp);
        let usual = *usual;
        let mut others: Vec<(f64, u32)> =
            (0..).zip(row).map(|(column, value)| (value - usual, column)).collect();
        others.retain(|(excess, _)| *excess != 0.0);
        others.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut end = 0;
        let equal = others.chunk_by(|one, other| one.0 == other.0);
        let runs = equal.map(|run| {
            end += run.len();
            Run { excess: run[0].0, end }
        });
        Self { usual, runs: runs.collect(), columns: others.iter().map(|(_, column)| *column).collect() }
    }

    /// What the other entries add, each counted as often as its column.
    fn others(&self, column_counts: &[f64]) -> f64 {
        let (mut from, mut sum) = (0, 0.0);
        for run in &self.runs {
            sum += run.excess * total(&self.columns[from..run.end], column_counts);
            from = run.end;
        }
        sum
    }
}

/// How often these columns were drawn together.
fn total(columns: &[u32], counts: &[f64]) -> f64 {
    let (chunks, rest) = columns.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, column)| *lane += counts[*column as usize]);
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|column| counts[*column as usize]).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row without a most frequent value, one of equal values, and one that has both.
    #[test]
    fn means_equal_hand_worked_values() {
        let rows = [vec![1.0, 2.0, 3.0], vec![5.0, 5.0, 5.0], vec![0.5, 0.5, -1.0]];
        let sparse = SparseMatrix::of(&Matrix::new(rows));
        let ones = [1.0; 3];
        assert_eq!(sparse.weighted_mean(&ones, &ones), (6.0 + 15.0 + 0.0) / 9.0);
        // The third row twice, the second once; the first column twice, the second not at all.
        let expected = (1.0 * 15.0 + 2.0 * (2.0 * 0.5 - 1.0)) / 9.0;
        assert_eq!(sparse.weighted_mean(&[0.0, 1.0, 2.0], &[2.0, 0.0, 1.0]), expected);
    }

    #[test]
    fn only_what_differs_is_kept() {
        let row: Vec<f64> = (0..29).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
        let sparse = SparseMatrix::of(&Matrix::new([row]));
        assert_eq!((sparse.rows[0].usual, sparse.rows[0].columns.len()), (0.0, 10));
        assert_eq!(sparse.weighted_mean(&[1.0], &[1.0; 29]), 10.0 / 29.0);
    }
}
