//! The user's own data: a CSV or TSV file with a text column and a label column.

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use moelt_schema::CsvConfig;

use crate::{
    DataError, Dataset, Example,
    dataset::repeats,
    source::Source,
    split::hold_out,
    table::{Dialect, Row, read_columns},
};

/// Reads the training file and, when they are given, the files to choose and to judge on; what is not
/// given is held out of the training file.
///
/// Classes are the labels of the training file: by number when all are non-negative integers, by name
/// otherwise.
pub(crate) fn load(config: &CsvConfig) -> Result<Dataset, DataError> {
    let rows = read_rows(&config.train, config)?;
    let classes = classes_of(&config.train, &rows)?;
    let train = examples(&config.train, rows, &classes, config)?;
    let mut notes = repeats(&train);
    let part = |key, fraction, given: &Option<String>| (key, if given.is_none() { fraction } else { 0.0 });
    let parts = [
        part("data.csv.selection_fraction", config.selection_fraction, &config.selection),
        part("data.csv.verdict_fraction", config.verdict_fraction, &config.verdict),
    ];
    let (train, [held_selection, held_verdict]) = hold_out(train, parts.map(|(_, f)| f), config.split_seed);
    let mut other = |file: &Option<String>, held: Vec<Example>, key| match file {
        None if held.is_empty() => Err(nothing_held_out(key, &config.train)),
        None => Ok(held),
        Some(file) => {
            let examples = examples(file, read_rows(file, config)?, &classes, config)?;
            notes.extend(shared_texts(file, &examples, &train));
            Ok(examples)
        }
    };
    let selection = other(&config.selection, held_selection, parts[0].0)?;
    let verdict = other(&config.verdict, held_verdict, parts[1].0)?;
    if train.is_empty() {
        return Err(DataError::Config {
            key: "data.csv.selection_fraction",
            message: "together with data.csv.verdict_fraction it leaves nothing to train on".into(),
        });
    }
    Ok(Dataset { classes, train, selection, verdict, bayes_accuracy: None, drift: None, notes })
}

/// Reads the labelled texts of another file for a model that knows `classes`. Labels are class names
/// or, when no class is named by a number, positions in `classes` from 0 (GLUE's `0` and `1`).
///
/// # Errors
/// When the file cannot be read, lacks a column, or has a label that is none of the classes.
pub fn read_examples(file: &str, classes: &[String], config: &CsvConfig) -> Result<Vec<Example>, DataError> {
    examples(file, read_rows(file, config)?, classes, config)
}

/// The class that a label names, by name or else by position.
fn class_of(label: &str, classes: &[String]) -> Option<usize> {
    let by_name = classes.iter().position(|class| class == label);
    let numbered = || classes.iter().any(|class| class.parse::<u64>().is_ok());
    by_name.or_else(|| label.parse().ok().filter(|position| *position < classes.len() && !numbered()))
}

fn nothing_held_out(key: &'static str, file: &str) -> DataError {
    let message = format!("holds no example of {file} out; raise it, or name a file of its own");
    DataError::Config { key, message }
}

fn read_rows(file: &str, config: &CsvConfig) -> Result<Vec<Row<2>>, DataError> {
    let source = Source::from_path(Path::new(file))?;
    let mut rows = read_columns(&source, Dialect::of(&source), [&config.text_column, &config.label_column])?;
    for row in &mut rows {
        row.fields = row.fields.each_ref().map(|field| field.trim().to_owned());
    }
    if rows.is_empty() { Err(DataError::NoRows { file: file.to_owned() }) } else { Ok(rows) }
}

fn classes_of(file: &str, rows: &[Row<2>]) -> Result<Vec<String>, DataError> {
    let labels = rows.iter().map(|row| &row.fields[1]).filter(|label| !label.is_empty());
    let mut classes: Vec<String> = labels.collect::<BTreeSet<_>>().into_iter().cloned().collect();
    if let Ok(numbers) = classes.iter().map(|class| class.parse::<u64>()).collect::<Result<Vec<_>, _>>() {
        let numbers: HashMap<String, u64> = classes.iter().cloned().zip(numbers).collect();
        classes.sort_by_key(|class| numbers[class]);
    }
    match (classes.as_slice(), rows.last()) {
        ([label], Some(last)) => {
            Err(DataError::OneClass { file: file.to_owned(), line: last.line, label: label.clone() })
        }
        _ => Ok(classes),
    }
}

fn examples(
    file: &str,
    rows: Vec<Row<2>>,
    classes: &[String],
    config: &CsvConfig,
) -> Result<Vec<Example>, DataError> {
    let empty =
        |line, column: &String| DataError::EmptyField { file: file.to_owned(), line, column: column.clone() };
    let example = |Row { line, fields: [text, label] }: Row<2>| {
        if text.is_empty() {
            return Err(empty(line, &config.text_column));
        }
        if label.is_empty() {
            return Err(empty(line, &config.label_column));
        }
        match class_of(&label, classes) {
            Some(label) => Ok(Example { text, label: label as u32, domain: None, time: None }),
            None => {
                let (file, known) = (file.to_owned(), classes.to_vec());
                Err(DataError::UnknownLabel { file, line, label, known })
            }
        }
    };
    rows.into_iter().map(example).collect()
}

/// A note when a file holds texts that are trained on.
fn shared_texts(file: &str, examples: &[Example], train: &[Example]) -> Option<String> {
    let trained: BTreeSet<&str> = train.iter().map(|example| example.text.as_str()).collect();
    let shared = examples.iter().filter(|example| trained.contains(example.text.as_str())).count();
    (shared > 0).then(|| format!("{file}: {shared} of {} texts are also trained on", examples.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn labels_name_a_class_or_its_position() {
        let classes = |names: [&str; 2]| names.map(str::to_owned);
        assert_eq!(class_of("positive", &classes(["negative", "positive"])), Some(1));
        assert_eq!(class_of("1", &classes(["negative", "positive"])), Some(1));
        assert_eq!(class_of("2", &classes(["negative", "positive"])), None);
        assert_eq!(class_of("1", &classes(["1", "2"])), Some(0));
        assert_eq!(class_of("0", &classes(["1", "2"])), None);
    }

    struct Folder(TempDir);

    impl Folder {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
            let path = self.0.path().join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        }

        /// Config with this training file, everything trained on and judged on a small second file.
        fn config(&self, content: impl AsRef<[u8]>) -> CsvConfig {
            let other = self.file("other.csv", "text,label\nother,1\n");
            let (selection, verdict) = (Some(other.clone()), Some(other));
            CsvConfig { train: self.file("train.csv", content), selection, verdict, ..CsvConfig::default() }
        }

        fn error(&self, content: impl AsRef<[u8]>) -> String {
            load(&self.config(content)).unwrap_err().to_string()
        }
    }

    fn labels(examples: &[Example]) -> Vec<(&str, u32)> {
        examples.iter().map(|example| (example.text.as_str(), example.label)).collect()
    }

    #[test]
    fn numbers_are_ordered_as_numbers_and_names_as_names() {
        let folder = Folder::new();
        let numbers = load(&folder.config("text,label\na,10\nb,9\nc,1\n")).unwrap();
        assert_eq!(numbers.classes, ["1", "9", "10"]);
        assert_eq!(labels(&numbers.train), [("a", 2), ("b", 1), ("c", 0)]);
        assert_eq!(labels(&numbers.selection), [("other", 0)]);
        let names = load(&folder.config("label,text\npos,a\n1,b\nneg,c\n")).unwrap();
        assert_eq!(names.classes, ["1", "neg", "pos"]);
    }

    #[test]
    fn marks_line_ends_and_quotes_are_tolerated() {
        let folder = Folder::new();
        let data =
            load(&folder.config("\u{feff}text , label\r\n\"a, \"\"b\"\"\", 0 \r\n\r\n  c  ,1")).unwrap();
        assert_eq!(labels(&data.train), [("a, \"b\"", 0), ("c", 1)]);
    }

    #[test]
    fn columns_have_the_names_that_are_configured() {
        let folder = Folder::new();
        let train = folder.file("train.tsv", "sentence\tstars\nso \"so\t3\nfine\t5\n");
        let other = Some(train.clone());
        let config = CsvConfig {
            selection: other.clone(),
            verdict: other,
            text_column: "sentence".into(),
            label_column: "stars".into(),
            train,
            ..CsvConfig::default()
        };
        let data = load(&config).unwrap();
        assert_eq!(labels(&data.train), [("so \"so", 0), ("fine", 1)]);
        assert!(data.notes.iter().any(|note| note.ends_with("2 of 2 texts are also trained on")));
    }

    #[test]
    fn malformed_files_are_named_by_line() {
        let folder = Folder::new();
        let cases: [(&[u8], &str, &str); 8] = [
            (b"a,0\nb,1\n", "train.csv:1: no column `text`", "names `a`, `0`"),
            (b"text,stars\nb,1\n", "train.csv:1: no column `label`", "names `text`, `stars`"),
            (b"text,label\na,0\n ,1\n", "train.csv:3: the text is empty", "fill it in"),
            (b"text,label\na,0\nb,\nc,1\n", "train.csv:3: the label is empty", "fill it in"),
            (b"text,label\na,0\n\xff,1\n", "train.csv:3: is not UTF-8", "iconv"),
            (b"text,label\na,0\nb,0\n", "train.csv:3: every row", "label `0`; two classes"),
            (b"", "train.csv: has no rows", "header line"),
            (b"text,label\n", "train.csv: has no rows", "header line"),
        ];
        for (content, place, mend) in cases {
            let message = folder.error(content);
            assert!(message.contains(place) && message.contains(mend), "{message}");
        }
    }

    #[test]
    fn a_label_the_training_file_does_not_have_is_an_error() {
        let folder = Folder::new();
        let message = folder.error("text,label\na,0\nb,2\n");
        assert!(message.ends_with("other.csv:2: unknown label `1`; the classes are `0`, `2`"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let config = CsvConfig { train: "nowhere/train.csv".into(), ..CsvConfig::default() };
        assert!(load(&config).unwrap_err().to_string().starts_with("nowhere/train.csv: "));
    }

    #[test]
    fn splits_that_would_be_empty_are_refused() {
        let folder = Folder::new();
        let train = folder.file("few.csv", "text,label\na,0\nb,1\n");
        let few = load(&CsvConfig { train, ..CsvConfig::default() }).unwrap_err().to_string();
        assert!(few.starts_with("`data.csv.selection_fraction`: holds no example"), "{few}");
        let many: String = (0..20).map(|i| format!("text {i},{}\n", i % 2)).collect();
        let train = folder.file("many.csv", format!("text,label\n{many}"));
        let halves =
            CsvConfig { train, selection_fraction: 0.5, verdict_fraction: 0.5, ..CsvConfig::default() };
        assert!(load(&halves).unwrap_err().to_string().contains("leaves nothing to train on"));
    }

    #[test]
    fn one_file_becomes_three_splits() {
        let folder = Folder::new();
        let rows: String = (0..200).map(|i| format!("text {i},{}\n", i % 4 / 3)).collect();
        let train = folder.file("all.csv", format!("text,label\n{rows}"));
        let data = load(&CsvConfig { train, ..CsvConfig::default() }).unwrap();
        assert_eq!((data.train.len(), data.selection.len(), data.verdict.len()), (160, 20, 20));
        assert_eq!(data.verdict.iter().filter(|example| example.label == 1).count(), 5);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, with_header: bool) {
            let folder = Folder::new();
            if with_header {
                bytes.splice(..0, *b"text,label\na,1\nb,0\n");
            }
            let _ = load(&folder.config(&bytes));
        }
    }
}
