//! A file of texts with labels: its usable rows as examples, and notes about the others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    path::Path,
};

use moelt_schema::CsvConfig;

use crate::{
    DataError, Example,
    bad_lines::{Faults, RowFault},
    error::shorten,
    label_kinds::other_kind,
    lookup::Lookup,
    source::Source,
    table::{Row, read_columns},
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
/// or, when no class is named by a number, places in `classes` from 0 (GLUE's `0` and `1`), which a note says. Rows that cannot be
/// used, a label that is none of the classes included, are left out or an error, as `config.bad_lines` says. A text of a
/// domain that is none of `domains` has none, and is counted in a note.
///
/// # Errors
/// When the file cannot be read, lacks a column, has an open quote or more bad rows than may be left out, or has labels that are places
/// in `classes` beside others that lie beyond them.
pub fn read_examples(
    file: &str,
    classes: &[String],
    domains: &[String],
    config: &CsvConfig,
) -> Result<Labelled, DataError> {
    let (rows, mut notes) = read_rows(file, config)?;
    let lookup = Lookup::new(classes);
    let labels = rows.iter().filter_map(|(line, row)| Some((*line, row.as_ref().ok()?.label.as_str())));
    notes.extend(lookup.places_note(file, &config.label_column, labels)?);
    let domains: HashMap<&String, u32> = domains.iter().zip(0..).collect();
    let mut unknown = 0;
    let mut known_domain = |name: String| {
        let domain = domains.get(&name).copied();
        unknown += usize::from(domain.is_none());
        domain
    };
    let mut strange: BTreeMap<String, usize> = BTreeMap::new();
    let known = |(line, row): (u64, Result<LabelledRow, RowFault>)| {
        let example = row.and_then(|row| match lookup.class(&row.label) {
            Some(label) => {
                let domain = row.domain.and_then(&mut known_domain);
                Ok(Example { domain, ..Example::new(row.text, label) })
            }
            None => {
                *strange.entry(row.label.clone()).or_default() += 1;
                Err(RowFault::Label(row.label))
            }
        });
        (line, example)
    };
    let (examples, faults) = Faults::sort_out(rows.into_iter().map(known));
    faults.check(file, config.bad_lines, classes)?;
    notes.extend(faults.note(file, SKIPPED));
    notes.extend(strangers(file, strange, classes));
    notes.extend(
        (unknown > 0).then(|| format!("{file}: {unknown} texts are of domains that training does not know")),
    );
    Ok(Labelled { examples: examples.into_iter().map(|(_, example)| example).collect(), notes })
}

/// A note on labels that are none of the classes, the most frequent first: what is judged without their texts flatters.
fn strangers(file: &str, labels: BTreeMap<String, usize>, classes: &[String]) -> Option<String> {
    const SHOWN: usize = 5;
    let mut labels: Vec<(String, usize)> = labels.into_iter().collect();
    labels.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let (texts, more) = (labels.iter().map(|(_, n)| n).sum::<usize>(), labels.len().saturating_sub(SHOWN));
    let told = |(label, n): &(String, usize)| {
        let meant = classes.iter().find(|class| class.to_lowercase() == label.to_lowercase());
        let meant = meant.map_or_else(String::new, |class| format!(", is `{class}` meant?"));
        format!("`{}` ({n}{meant})", shorten(label))
    };
    let mut shown: Vec<String> = labels.iter().take(SHOWN).map(told).collect();
    shown.extend((more > 0).then(|| format!("{more} more")));
    let list = shown.join(", ");
    (texts > 0).then(|| {
        format!("{file}: {texts} texts are left out of every figure, since training does not know their labels: {list}")
    })
}

/// Checks labels that stand beside predictions of `classes`, in a column of a file.
///
/// # Errors
/// When none of them can be one of the classes: all are numbers and these have names, or the other way round.
///
/// ```
/// let classes = ["ham", "spam"].map(str::to_owned);
/// assert!(moelt_data::check_label_kind("a.csv", "label", ["spam", "0"], &classes).is_ok());
/// let error = moelt_data::check_label_kind("a.csv", "label", ["1", "0"], &classes).unwrap_err().to_string();
/// assert!(error.starts_with("a.csv: column `label` has labels such as `1`; the classes are `ham`, `spam`; a number is"));
/// ```
pub fn check_label_kind<'a>(
    file: &str,
    column: &str,
    labels: impl IntoIterator<Item = &'a str>,
    classes: &[String],
) -> Result<(), DataError> {
    let mut labels = labels.into_iter();
    let Some(first) = labels.next() else { return Ok(()) };
    let is_other = |label: &str| other_kind(label, classes).is_some();
    if !is_other(first) || !labels.all(is_other) {
        return Ok(());
    }
    let (file, column, label) = (file.to_owned(), column.to_owned(), first.to_owned());
    Err(DataError::LabelKind { file, column, label, known: classes.to_vec() })
}

/// What a training file holds, and the names in it.
#[derive(Debug, PartialEq)]
pub(crate) struct TrainingFile {
    pub(crate) classes: Vec<String>,
    /// In the order in which the file first names them.
    pub(crate) domains: Vec<String>,
    pub(crate) labelled: Labelled,
}

/// Reads a training file, whose labels are the classes: by number when all are non-negative integers, by name
/// otherwise. Labels of rows that cannot be used do not count.
pub(crate) fn read_training(file: &str, config: &CsvConfig) -> Result<TrainingFile, DataError> {
    let (rows, mut notes) = read_rows(file, config)?;
    let (rows, faults) = Faults::sort_out(rows);
    faults.check(file, config.bad_lines, &[])?;
    notes.extend(faults.note(file, SKIPPED));
    let classes = classes_of(file, &rows, &config.label_column)?;
    notes.extend(alike(file, &classes));
    let (lookup, mut domains) = (Lookup::new(&classes), DomainNames::default());
    let examples = rows.into_iter().map(|(_, row)| {
        let class = lookup.class(&row.label).expect("the classes are the labels of these rows");
        Example { domain: row.domain.map(|name| domains.number_of(name)), ..Example::new(row.text, class) }
    });
    let examples = examples.collect();
    Ok(TrainingFile { classes, domains: domains.names, labelled: Labelled { examples, notes } })
}

/// Domains by name, numbered as they come.
#[derive(Default)]
struct DomainNames {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl DomainNames {
    fn number_of(&mut self, name: String) -> u32 {
        *self.numbers.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            self.names.len() as u32 - 1
        })
    }
}

const SKIPPED: &str = "cannot be used and are skipped";

/// What a usable row says: trimmed, and nothing of it empty.
struct LabelledRow {
    text: String,
    label: String,
    /// Where the config names the column.
    domain: Option<String>,
}

/// Rows by line, or why they cannot be used.
type Rows = Vec<(u64, Result<LabelledRow, RowFault>)>;

/// The rows, and what was guessed.
fn read_rows(file: &str, config: &CsvConfig) -> Result<(Rows, Vec<String>), DataError> {
    let source = Source::from_path(Path::new(file))?;
    let (text, label) = (config.text_column.as_str(), config.label_column.as_str());
    let (rows, notes) = match &config.domain_column {
        None => filled_rows(&source, [text, label])?,
        Some(domain) => filled_rows(&source, [text, label, domain])?,
    };
    if rows.is_empty() {
        return Err(DataError::NoRows { file: file.to_owned() });
    }
    Ok((rows, notes))
}

/// The rows in the columns of text, label and perhaps domain.
fn filled_rows<const N: usize>(source: &Source, names: [&str; N]) -> Result<(Rows, Vec<String>), DataError> {
    let table = read_columns(source, source.dialect(), names)?;
    let filled = |fields: [String; N]| {
        let mut fields = fields.map(|field| field.trim().to_owned());
        if let Some((_, name)) = fields.iter().zip(names).find(|(field, _)| field.is_empty()) {
            return Err(RowFault::Empty(name.to_owned()));
        }
        let domain = fields.get_mut(2).map(mem::take);
        Ok(LabelledRow { text: mem::take(&mut fields[0]), label: mem::take(&mut fields[1]), domain })
    };
    let rows = table.rows.into_iter().map(|Row { line, fields }| (line, fields.and_then(filled)));
    Ok((rows.collect(), table.notes))
}

/// A note on classes that differ only in case or blanks, which somebody may have meant as one.
fn alike(file: &str, classes: &[String]) -> Option<String> {
    const SHOWN: usize = 3;
    let mut same: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for class in classes {
        let folded: Vec<String> = class.split_whitespace().map(str::to_lowercase).collect();
        same.entry(folded.join(" ")).or_default().push(class);
    }
    let groups: Vec<String> = same
        .values()
        .filter(|names| names.len() > 1)
        .map(|names| format!("`{}`", names.join("`, `")))
        .collect();
    if groups.is_empty() {
        return None;
    }
    let more = groups.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let shown = groups.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    Some(format!(
        "{file}: classes that differ only in case or blanks are classes of their own: {shown}{more}"
    ))
}

fn classes_of(file: &str, rows: &[(u64, LabelledRow)], column: &str) -> Result<Vec<String>, DataError> {
    let labels: BTreeSet<&String> = rows.iter().map(|(_, row)| &row.label).collect();
    let mut classes: Vec<String> = labels.into_iter().cloned().collect();
    if classes.iter().all(|class| class.parse::<u64>().is_ok()) {
        classes.sort_by_cached_key(|class| class.parse::<u64>().ok());
    }
    match (classes.as_slice(), rows.last()) {
        ([label], Some((line, _))) => Err(DataError::OneClass {
            file: file.to_owned(),
            column: column.to_owned(),
            line: *line,
            label: label.clone(),
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_training_does_not_know_are_counted() {
        let note = |labels: &[(&str, usize)]| {
            let labels = labels.iter().map(|(label, n)| ((*label).to_owned(), *n)).collect();
            strangers("a.csv", labels, &["praise".to_owned(), "blame".to_owned()])
        };
        assert_eq!(note(&[]), None);
        let expected = "a.csv: 32 texts are left out of every figure, since training does not know their labels: \
                        `compliment` (29), `Praise` (3, is `praise` meant?)";
        assert_eq!(note(&[("Praise", 3), ("compliment", 29)]).unwrap(), expected);
        let many = note(&[("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1)]).unwrap();
        assert!(many.ends_with("`e` (1), 1 more"), "{many}");
    }

    #[test]
    fn classes_that_somebody_may_have_meant_as_one_are_noted() {
        let note = |classes: &[&str]| {
            alike("a.csv", &classes.iter().map(|class| (*class).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(note(&["bill", "login"]), None);
        let expected =
            "a.csv: classes that differ only in case or blanks are classes of their own: `Bill`, `bill`";
        assert_eq!(note(&["Bill", "bill", "login"]).unwrap(), expected);
        let many = note(&["a", "A", "b", "B", "c c", "c  C", "d", "D"]).unwrap();
        assert!(many.ends_with("`a`, `A`; `b`, `B`; `c c`, `c  C`; and 1 more"), "{many}");
    }

    #[test]
    fn a_column_of_ids_is_no_column_of_classes() {
        let row = |i: usize| LabelledRow { text: "text".to_owned(), label: format!("id {i}"), domain: None };
        let rows = |n: usize| -> Vec<(u64, LabelledRow)> { (0..n).map(|i| (i as u64 + 2, row(i))).collect() };
        assert_eq!(classes_of("a.csv", &rows(MAX_CLASSES), "label").unwrap().len(), MAX_CLASSES);
        let message = classes_of("a.csv", &rows(100_000), "id").unwrap_err().to_string();
        assert_eq!(
            message,
            "a.csv: column `id` has 100000 different labels in 100000 rows; at most 10000 classes can be trained. \
             Name the column of the classes (data.csv.label_column in a config or by --set, --label-column of moelt train), or join \
             rare classes"
        );
        let one = vec![(2, LabelledRow { label: "spam".to_owned(), ..row(0) })];
        let message = classes_of("a.csv", &one, "label").unwrap_err().to_string();
        let expected = "a.csv:2: every row up to here, the last, has the label `spam` in column `label`; two classes are needed. \
                        Name the column of the classes (data.csv.label_column in a config or by --set, --label-column of ";
        assert!(message.starts_with(expected), "{message}");
    }
}
