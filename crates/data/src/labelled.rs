//! A file of texts with labels: its usable rows as examples, and notes about the others.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use moelt_schema::CsvConfig;

use crate::{
    DataError, Example,
    bad_lines::{Faults, RowFault},
    source::Source,
    table::{Dialect, Row, read_columns},
};

/// Classes beyond which nothing is trained. Every prediction has a probability for each class: with 5,000 classes and
/// as many held-out texts a run takes 0.9 GB and leaves 0.6 GB of predictions, and both grow with the square. So many
/// are most likely a column of ids.
const MAX_CLASSES: usize = 10_000;

/// What was read from a labelled file.
#[derive(Debug, PartialEq)]
pub struct Labelled {
    /// The rows that can be used, in the order of the file.
    pub examples: Vec<Example>,
    /// What was guessed and what was left out.
    pub notes: Vec<String>,
}

/// Reads the labelled texts of another file for a model that knows `classes`. Labels are class names
/// or, when no class is named by a number, positions in `classes` from 0 (GLUE's `0` and `1`). Rows that cannot be
/// used, a label that is none of the classes included, are left out or an error, as `config.bad_lines` says.
///
/// # Errors
/// When the file cannot be read, lacks a column, has an open quote or more bad rows than may be left out.
pub fn read_examples(file: &str, classes: &[String], config: &CsvConfig) -> Result<Labelled, DataError> {
    let (rows, mut notes) = read_rows(file, config)?;
    let lookup = Lookup::new(classes);
    let known = |(line, row): (u64, Result<[String; 2], RowFault>)| {
        let example = row.and_then(|[text, label]| match lookup.class(&label) {
            Some(class) => Ok(example(text, class)),
            None => Err(RowFault::Label(label)),
        });
        (line, example)
    };
    let (examples, faults) = Faults::sort_out(rows.into_iter().map(known));
    faults.check(file, config.bad_lines, classes)?;
    notes.extend(faults.note(file, SKIPPED));
    Ok(Labelled { examples: examples.into_iter().map(|(_, example)| example).collect(), notes })
}

/// Reads a training file, whose labels are the classes: by number when all are non-negative integers, by name
/// otherwise. Labels of rows that cannot be used do not count.
pub(crate) fn read_training(file: &str, config: &CsvConfig) -> Result<(Vec<String>, Labelled), DataError> {
    let (rows, mut notes) = read_rows(file, config)?;
    let (rows, faults) = Faults::sort_out(rows);
    faults.check(file, config.bad_lines, &[])?;
    notes.extend(faults.note(file, SKIPPED));
    let classes = classes_of(file, &rows, &config.label_column)?;
    let lookup = Lookup::new(&classes);
    let examples = rows.into_iter().map(|(_, [text, label])| {
        let class = lookup.class(&label).expect("the classes are the labels of these rows");
        example(text, class)
    });
    let examples = examples.collect();
    Ok((classes, Labelled { examples, notes }))
}

const SKIPPED: &str = "cannot be used and are skipped";

fn example(text: String, label: u32) -> Example {
    Example { text, label, domain: None, time: None }
}

/// Rows by line: text and label, both trimmed and not empty, or why they cannot be used; and what was guessed.
type Rows = Vec<(u64, Result<[String; 2], RowFault>)>;

fn read_rows(file: &str, config: &CsvConfig) -> Result<(Rows, Vec<String>), DataError> {
    let source = Source::from_path(Path::new(file))?;
    let names = [config.text_column.as_str(), config.label_column.as_str()];
    let table = read_columns(&source, Dialect::of(&source), names)?;
    if table.rows.is_empty() {
        return Err(DataError::NoRows { file: file.to_owned() });
    }
    let filled = |Row { line, fields }: Row<2>| {
        let fields = fields.and_then(|fields| {
            let fields = fields.each_ref().map(|field| field.trim().to_owned());
            match fields.iter().zip(names).find(|(field, _)| field.is_empty()) {
                Some((_, name)) => Err(RowFault::Empty(name.to_owned())),
                None => Ok(fields),
            }
        });
        (line, fields)
    };
    Ok((table.rows.into_iter().map(filled).collect(), table.notes))
}

fn classes_of(file: &str, rows: &[(u64, [String; 2])], column: &str) -> Result<Vec<String>, DataError> {
    let labels: BTreeSet<&String> = rows.iter().map(|(_, [_, label])| label).collect();
    let mut classes: Vec<String> = labels.into_iter().cloned().collect();
    if classes.iter().all(|class| class.parse::<u64>().is_ok()) {
        classes.sort_by_cached_key(|class| class.parse::<u64>().ok());
    }
    match (classes.as_slice(), rows.last()) {
        ([label], Some((line, _))) => {
            Err(DataError::OneClass { file: file.to_owned(), line: *line, label: label.clone() })
        }
        (many, _) if many.len() > MAX_CLASSES => Err(DataError::ManyClasses {
            file: file.to_owned(),
            column: column.to_owned(),
            classes: many.len(),
            rows: rows.len(),
            most: MAX_CLASSES,
        }),
        _ => Ok(classes),
    }
}

/// Classes by name.
struct Lookup<'a> {
    by_name: HashMap<&'a str, u32>,
    /// Some class is named by a number, so that a number is no position.
    numbered: bool,
}

impl<'a> Lookup<'a> {
    fn new(classes: &'a [String]) -> Self {
        let by_name = classes.iter().map(String::as_str).zip(0..).collect();
        Self { by_name, numbered: classes.iter().any(|class| class.parse::<u64>().is_ok()) }
    }

    /// The class that a label names, by name or else by position.
    fn class(&self, label: &str) -> Option<u32> {
        let position =
            || label.parse().ok().filter(|at| !self.numbered && (*at as usize) < self.by_name.len());
        self.by_name.get(label).copied().or_else(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_a_class_or_its_position() {
        let class = |label: &str, names: [&str; 2]| Lookup::new(&names.map(str::to_owned)).class(label);
        assert_eq!(class("positive", ["negative", "positive"]), Some(1));
        assert_eq!(class("1", ["negative", "positive"]), Some(1));
        assert_eq!(class("2", ["negative", "positive"]), None);
        assert_eq!(class("1", ["1", "2"]), Some(0));
        assert_eq!(class("0", ["1", "2"]), None);
    }

    #[test]
    fn a_column_of_ids_is_no_column_of_classes() {
        let rows = |n: usize| -> Vec<(u64, [String; 2])> {
            (0..n).map(|i| (i as u64 + 2, ["text".to_owned(), format!("id {i}")])).collect()
        };
        assert_eq!(classes_of("a.csv", &rows(MAX_CLASSES), "label").unwrap().len(), MAX_CLASSES);
        let message = classes_of("a.csv", &rows(100_000), "id").unwrap_err().to_string();
        assert_eq!(
            message,
            "a.csv: column `id` has 100000 different labels in 100000 rows; at most 10000 classes can be trained. \
             Name the column of the classes (data.csv.label_column), or join rare classes"
        );
    }
}
