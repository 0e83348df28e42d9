//! Predictions of any tool: a delimited file with the true and the predicted class of each example, as words.

use std::collections::HashMap;

use csv::{ReaderBuilder, StringRecord};
use moelt_schema::Dialect;

use crate::{EvalError, csv_lines::Lines};

/// The headers of the columns, where they are not the usual ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// What identifies an example: `id` or `example`. A file without it is read in order.
    pub id: Option<String>,
    /// The true class: `label`.
    pub label: Option<String>,
    /// The predicted class: `prediction` or `predicted`.
    pub prediction: Option<String>,
}

/// What the columns are called where nobody says so: moelt's own names come last.
const USUAL: [(&str, &[&str]); 3] =
    [("id", &["id", "example"]), ("label", &["label"]), ("prediction", &["prediction", "predicted"])];

/// The columns of `moelt predict` where it is given no labels: its `label` is what was predicted.
const PREDICTED_ALONE: &[&str] = &["label", "probability"];

/// The predictions of one seed.
///
/// ```
/// use moelt_eval::{Columns, PredictionFile};
/// let file = PredictionFile::read("id,label,prediction\n7,spam,ham\n", "a.csv", &Columns::default())?;
/// assert_eq!((file.rows()[0].label.as_str(), file.rows()[0].prediction.as_str()), ("spam", "ham"));
/// let error = PredictionFile::read("id,label\n7,spam\n", "a.csv", &Columns::default()).unwrap_err();
/// assert!(error.to_string().starts_with("a.csv:1: no column `prediction` or `predicted`"));
/// # Ok::<(), moelt_eval::EvalError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictionFile {
    name: String,
    rows: Vec<PredictionRow>,
    has_ids: bool,
    /// Columns that were named and are not there.
    lacks: Vec<String>,
}

/// One example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictionRow {
    /// Where it stands in the file.
    pub line: u64,
    /// What identifies it: of a file without ids its number, from 0.
    pub id: String,
    /// The true class.
    pub label: String,
    /// The predicted class.
    pub prediction: String,
}

impl PredictionFile {
    /// Reads the text of a file; what separates its fields is found as in files to train on ([`Dialect::of`]).
    ///
    /// # Errors
    /// When a column is not there, a field is empty, an id comes twice, or there is no row. The message names file and line.
    pub fn read(text: &str, name: &str, columns: &Columns) -> Result<Self, EvalError> {
        let error = |line, message| EvalError::Predictions { name: name.to_owned(), line, message };
        // Names of classes in a header may have more semicolons than it has commas.
        let reader = |delimiter| ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
        let found = |delimiter| {
            let header = reader(delimiter).headers().map_err(|e| e.to_string())?.clone();
            Ok::<_, String>((delimiter, Places::find(&header, columns)?, header))
        };
        let guessed = found(Dialect::of(name, text).delimiter);
        let (delimiter, places, header) =
            guessed.or_else(|message| found(b',').map_err(|_| error(1, message)))?;
        let mut reader = reader(delimiter);
        let mut rows: Vec<PredictionRow> = Vec::new();
        let mut lines = Lines::of(text);
        for record in reader.records() {
            let record = record.map_err(|e| error(lines.at(e.position()), unread(&e)))?;
            let line = lines.at(record.position());
            rows.push(places.row(&record, line, rows.len()).map_err(|message| error(line, message))?);
        }
        if rows.is_empty() {
            return Err(error(1, "there is no prediction below the header".to_owned()));
        }
        let named = [&columns.id, &columns.label, &columns.prediction].into_iter().flatten();
        let lacks = named.filter(|named| place_of(&header, named).is_none()).cloned().collect();
        let file = Self { name: name.to_owned(), rows, has_ids: places.id.is_some(), lacks };
        file.by_id()?;
        Ok(file)
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its examples, as they stand there.
    pub fn rows(&self) -> &[PredictionRow] {
        &self.rows
    }

    /// Whether its examples have ids of their own.
    pub fn has_ids(&self) -> bool {
        self.has_ids
    }

    /// The columns that were named and that it does not have; it was read by the usual names in their place.
    pub fn lacks(&self) -> &[String] {
        &self.lacks
    }

    /// The predictions in the order of `reference`, whose examples this file must have.
    ///
    /// # Errors
    /// At the first example that only one of them has, or that has another label.
    pub(crate) fn in_order_of(&self, reference: &Self) -> Result<Vec<&str>, EvalError> {
        self.check_ids(reference)?;
        let own = self.by_id()?;
        let expected = reference.by_id()?;
        for row in &self.rows {
            let Some(other) = expected.get(row.id.as_str()) else {
                let hint = self.shift_from(reference);
                return Err(
                    self.error(row, format!("{} is not in {}{hint}", self.called(row), reference.name))
                );
            };
            if row.label != other.label {
                let (found, place) = (&other.label, reference.place(other));
                let message = format!("the label is `{}`, but `{found}` in {place}", row.label);
                let hint = self.shift_from(reference);
                return Err(self.error(row, format!("{message}: both must judge by the same labels{hint}")));
            }
        }
        let prediction = |row: &PredictionRow| {
            let found = own.get(row.id.as_str()).map(|own| own.prediction.as_str());
            let missing =
                || format!("{} is not in {}{}", reference.called(row), self.name, self.shift_from(reference));
            found.ok_or_else(|| reference.error(row, missing()))
        };
        reference.rows.iter().map(prediction).collect()
    }

    /// Both have ids, or neither.
    fn check_ids(&self, reference: &Self) -> Result<(), EvalError> {
        if self.has_ids == reference.has_ids {
            return Ok(());
        }
        let (without, with) = if self.has_ids { (reference, self) } else { (self, reference) };
        let message = format!("no column of ids, but {} has one: give both one, or take it away", with.name);
        Err(EvalError::Predictions { name: without.name.clone(), line: 1, message })
    }

    /// Why no ids fit, where those of one file are numbers that lie one higher than those of the other.
    fn shift_from(&self, reference: &Self) -> String {
        let ranges = (self.id_range(), reference.id_range());
        let (Some([own, own_last]), Some([others, others_last])) = ranges else { return String::new() };
        if own.min(others) != 0
            || own.abs_diff(others) != 1
            || own.wrapping_sub(others) != own_last.wrapping_sub(others_last)
        {
            return String::new();
        }
        let (name, other) = (&self.name, &reference.name);
        format!(
            "; the ids of {name} begin with {own} and those of {other} with {others}: ids are rows counted from 0"
        )
    }

    /// The least and the greatest id, where all are numbers that stand in the file.
    fn id_range(&self) -> Option<[u64; 2]> {
        let ids = self.rows.iter().map(|row| row.id.parse::<u64>().ok());
        let ids: Vec<u64> = ids.collect::<Option<_>>().filter(|_| self.has_ids)?;
        Some([*ids.iter().min()?, *ids.iter().max()?])
    }

    fn by_id(&self) -> Result<HashMap<&str, &PredictionRow>, EvalError> {
        let mut found: HashMap<&str, &PredictionRow> = HashMap::with_capacity(self.rows.len());
        for row in &self.rows {
            if let Some(first) = found.insert(&row.id, row) {
                let message = format!("id `{}` comes twice, first in line {}", row.id, first.line);
                return Err(self.error(row, message));
            }
        }
        Ok(found)
    }

    fn called(&self, row: &PredictionRow) -> String {
        if self.has_ids { format!("id `{}`", row.id) } else { format!("row {} (from 0)", row.id) }
    }

    /// `a.csv:7`.
    fn place(&self, row: &PredictionRow) -> String {
        format!("{}:{}", self.name, row.line)
    }

    fn error(&self, row: &PredictionRow, message: String) -> EvalError {
        EvalError::Predictions { name: self.name.clone(), line: row.line, message }
    }
}

/// Why a row cannot be read.
fn unread(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} fields where the header has {expected_len}; are the double quotes in pairs?")
        }
        _ => error.to_string(),
    }
}

/// Where the columns are.
struct Places {
    id: Option<usize>,
    label: usize,
    prediction: usize,
}

impl Places {
    fn find(header: &StringRecord, columns: &Columns) -> Result<Self, String> {
        let [id, label, prediction] = [&columns.id, &columns.label, &columns.prediction];
        let wanted = |at: usize, named: &Option<String>| find(header, USUAL[at], named.as_deref());
        let no_id = id.is_none();
        let id = match wanted(0, id) {
            Err(_) if no_id => None,
            found => Some(found?),
        };
        Ok(Self { id, label: wanted(1, label)?, prediction: wanted(2, prediction)? })
    }

    /// The row of a record, the `at`-th.
    fn row(&self, record: &StringRecord, line: u64, at: usize) -> Result<PredictionRow, String> {
        let field = |what: &str, place: usize| {
            let field = record.get(place).unwrap_or_default().trim();
            if field.is_empty() { Err(format!("the {what} is empty")) } else { Ok(field.to_owned()) }
        };
        let id = self.id.map_or_else(|| Ok(at.to_string()), |place| field("id", place))?;
        let (label, prediction) = (field("label", self.label)?, field("prediction", self.prediction)?);
        Ok(PredictionRow { line, id, label, prediction })
    }
}

fn place_of(header: &StringRecord, name: &str) -> Option<usize> {
    header.iter().position(|found| found.trim().eq_ignore_ascii_case(name))
}

/// The one column of this name, or else of a usual one: a name is given for all files, and some may have the usual ones.
fn find(header: &StringRecord, (what, usual): (&str, &[&str]), named: Option<&str>) -> Result<usize, String> {
    let of = |name: &str| place_of(header, name);
    let found = named.and_then(of).or_else(|| usual.iter().find_map(|name| of(name)));
    found.ok_or_else(|| {
        let wanted = named.into_iter().chain(usual.iter().copied()).collect::<Vec<_>>().join("` or `");
        let there: Vec<&str> = header.iter().collect();
        let fix = if there == PREDICTED_ALONE {
            "if `moelt predict` wrote it, its --label-column writes the true labels too".to_owned()
        } else {
            format!("name it with --{what}-column")
        };
        format!("no column `{wanted}` among `{}`; {fix}", there.join("`, `"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> PredictionFile {
        PredictionFile::read(text, name, &Columns::default()).unwrap()
    }

    #[test]
    fn columns_are_found_by_usual_or_given_names() {
        let moelts = read("test.csv", "example,domain,label,predicted,p_0,p_1\n0,,1,0,0.75,0.25\n");
        assert!(moelts.has_ids() && moelts.rows()[0].prediction == "0");
        let tabs = read("b.TSV", "Label\tPrediction\na,b\tc\n");
        assert_eq!((tabs.has_ids(), tabs.rows()[0].label.as_str()), (false, "a,b"));
        let semicolons = read("c.csv", "id;label;prediction\n1;a,b;\"c;d\"\n");
        assert_eq!((semicolons.has_ids(), semicolons.rows()[0].label.as_str()), (true, "a,b"));
        assert_eq!(semicolons.rows()[0].prediction, "c;d");
        let columns = Columns { prediction: Some("guess".into()), ..Columns::default() };
        let named = PredictionFile::read("id,label,prediction,guess\n1,a,b,c\n", "a.csv", &columns).unwrap();
        assert_eq!(named.rows()[0].prediction, "c");
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let cases = [
            ("", "a.csv:1: no column `label` among ``; name it with --label-column"),
            ("id|label|prediction\n", "a.csv:1: no column `label` among `id|label|prediction`"),
            ("id,label,prediction\n", "a.csv:1: there is no prediction below the header"),
            (
                "label,probability\na,0.9\n",
                "a.csv:1: no column `prediction` or `predicted` among `label`, `probability`; if `moelt predict`",
            ),
            ("id,label,prediction\n1,a,b\n1,a,b\n", "a.csv:3: id `1` comes twice, first in line 2"),
            ("id,label,prediction\n1,a,b\n,a,b\n", "a.csv:3: the id is empty"),
            ("id,label,prediction\n1,a,\n", "a.csv:2: the prediction is empty"),
            ("id,label,prediction\n1,a\n", "a.csv:2: has 2 fields where the header has 3; are the"),
        ];
        for (text, expected) in cases {
            let message = PredictionFile::read(text, "a.csv", &Columns::default()).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}\nis not\n{expected}");
        }
    }

    #[test]
    fn examples_are_paired_by_id_and_must_be_the_same() {
        let first = read("a.csv", "id,label,prediction\n1,x,x\n2,y,x\n");
        let second = read("b.csv", "id,label,prediction\n2,y,y\n1,x,z\n");
        assert_eq!(second.in_order_of(&first).unwrap(), ["z", "y"]);
        let cases = [
            ("id,label,prediction\n1,x,x\n3,y,y\n", "b.csv:3: id `3` is not in a.csv"),
            ("id,label,prediction\n1,x,x\n", "a.csv:3: id `2` is not in b.csv"),
            ("id,label,prediction\n1,y,x\n2,y,y\n", "b.csv:2: the label is `y`, but `x` in a.csv:2"),
            ("label,prediction\nx,x\ny,y\n", "b.csv:1: no column of ids, but a.csv has one"),
        ];
        for (text, expected) in cases {
            let message = read("b.csv", text).in_order_of(&first).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}\nis not\n{expected}");
        }
        let numbered = |from: u64| {
            let rows = ["x,x", "y,x", "y,y"].iter().zip(from..).map(|(row, id)| format!("{id},{row}\n"));
            "id,label,prediction\n".to_owned() + &rows.collect::<String>()
        };
        let a = read("a.csv", &numbered(1));
        let from = |from| read("b.csv", &numbered(from)).in_order_of(&a).unwrap_err().to_string();
        let hint = "; the ids of b.csv begin with 0 and those of a.csv with 1: ids are rows counted from 0";
        assert_eq!(from(0), format!("b.csv:2: id `0` is not in a.csv{hint}"));
        assert!(!from(2).contains("counted"), "ids of a file of one's own may begin anywhere");
        let [three, two] = [3, 2].map(|n| "label,prediction\n".to_owned() + &"x,y\n".repeat(n));
        let message = read("b.csv", &three).in_order_of(&read("a.csv", &two)).unwrap_err().to_string();
        assert_eq!(message, "b.csv:4: row 2 (from 0) is not in a.csv");
    }
}
