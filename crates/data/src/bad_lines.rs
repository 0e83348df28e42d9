//! Rows that cannot be used: why, and what becomes of the file they are in.

use moelt_schema::BadLines;

use crate::{DataError, error::shorten};

/// Rows that are listed one by one.
const LISTED: usize = 5;

/// Why a row cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowFault {
    #[error("has {fields} fields where the header has {columns}{}", over(*lines))]
    Width {
        fields: usize,
        columns: usize,
        /// Lines that the row runs over.
        lines: u64,
    },
    /// The column of this name is empty.
    #[error("the {0} is empty")]
    Empty(String),
    /// A label that is none of the classes.
    #[error("unknown label `{}`", shorten(.0))]
    Label(String),
}

/// More than one line may mean that a double quote was left open.
fn over(lines: u64) -> String {
    if lines > 1 { format!(", over {lines} lines in double quotes") } else { String::new() }
}

impl RowFault {
    /// The error that it is where every row must be good.
    pub(crate) fn error(&self, file: &str, line: u64, classes: &[String]) -> DataError {
        let file = file.to_owned();
        match self.clone() {
            Self::Width { fields, columns, .. } => DataError::RowWidth { file, line, fields, columns },
            Self::Empty(column) => DataError::EmptyField { file, line, column },
            Self::Label(label) => DataError::UnknownLabel { file, line, label, known: classes.to_vec() },
        }
    }
}

/// The rows of a file that cannot be used: how many, and the first few.
#[derive(Default)]
pub(crate) struct Faults {
    /// All rows of the file, usable or not.
    rows: usize,
    bad: usize,
    /// By line, in order.
    listed: Vec<(u64, RowFault)>,
}

impl Faults {
    /// Keeps the rows that can be used, each with its line, and remembers why the others cannot.
    pub(crate) fn sort_out<T>(
        rows: impl IntoIterator<Item = (u64, Result<T, RowFault>)>,
    ) -> (Vec<(u64, T)>, Self) {
        let mut faults = Self::default();
        let usable = rows
            .into_iter()
            .filter_map(|(line, row)| faults.keep(line, row).map(|row| (line, row)))
            .collect();
        (usable, faults)
    }

    /// Counts a row: keeps it if it can be used, and remembers why if not.
    pub(crate) fn keep<T>(&mut self, line: u64, row: Result<T, RowFault>) -> Option<T> {
        self.rows += 1;
        let fault = match row {
            Ok(row) => return Some(row),
            Err(fault) => fault,
        };
        self.bad += 1;
        if self.listed.len() < LISTED {
            self.listed.push((line, fault));
        }
        None
    }

    /// Refuses a file whose bad rows cannot be left out: any of them if `policy` says so, and more than half of
    /// all rows in any case, since then most likely the file was misunderstood. `classes` are for the message.
    pub(crate) fn check(&self, file: &str, policy: BadLines, classes: &[String]) -> Result<(), DataError> {
        let Some((line, first)) = self.listed.first() else { return Ok(()) };
        let (bad, rows) = (self.bad, self.rows);
        match policy {
            BadLines::Error => Err(first.error(file, *line, classes)),
            BadLines::Skip if 2 * bad <= rows => Ok(()),
            BadLines::Skip => {
                let first = Box::new(first.error(file, *line, classes));
                Err(DataError::MostRowsBad { first, bad, rows })
            }
        }
    }

    /// How many rows there are, what becomes of them, and the first few with file, line and reason.
    pub(crate) fn note(&self, file: &str, outcome: &str) -> Option<String> {
        let (bad, rows) = (self.bad, self.rows);
        let mut list: Vec<String> =
            self.listed.iter().map(|(line, fault)| format!("{file}:{line}: {fault}")).collect();
        if bad > list.len() {
            list.push(format!("… and {} more", bad - list.len()));
        }
        (bad > 0).then(|| format!("{file}: {bad} of {rows} rows {outcome}: {}", list.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(bad: u64, rows: u64) -> Faults {
        let row = |i| (i + 2, if i < bad { Err(RowFault::Empty("text".into())) } else { Ok(()) });
        let (usable, faults) = Faults::sort_out((0..rows).map(row));
        assert_eq!(usable.len() as u64, rows - bad);
        faults
    }

    #[test]
    fn the_first_few_are_listed() {
        assert_eq!(faults(0, 9).note("a.csv", "are skipped"), None);
        let two = "a.csv: 2 of 9 rows are skipped: a.csv:2: the text is empty; a.csv:3: the text is empty";
        assert_eq!(faults(2, 9).note("a.csv", "are skipped").unwrap(), two);
        let seven = faults(7, 20).note("a.csv", "are skipped").unwrap();
        assert!(seven.ends_with("a.csv:6: the text is empty; … and 2 more"), "{seven}");
    }

    #[test]
    fn up_to_half_of_a_file_may_be_bad_unless_none_may() {
        let message = |bad, policy| faults(bad, 10).check("a.csv", policy, &[]).unwrap_err().to_string();
        assert!(faults(5, 10).check("a.csv", BadLines::Skip, &[]).is_ok());
        let most = message(6, BadLines::Skip);
        assert!(
            most.starts_with("a.csv:2: the text is empty; ") && most.contains("Of 10 rows 6 cannot"),
            "{most}"
        );
        assert!(message(1, BadLines::Error).starts_with("a.csv:2: the text is empty; fill it in"));
        assert!(faults(0, 10).check("a.csv", BadLines::Error, &[]).is_ok());
    }

    #[test]
    fn a_row_over_several_lines_says_so() {
        let fault = |lines| RowFault::Width { fields: 3, columns: 2, lines }.to_string();
        assert_eq!(fault(1), "has 3 fields where the header has 2");
        assert_eq!(fault(7), "has 3 fields where the header has 2, over 7 lines in double quotes");
    }
}
