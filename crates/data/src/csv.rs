//! The user's own data: a CSV or TSV file with a text column and a label column.

use moelt_schema::{ConfigFault, CsvConfig, Drift, TextConfig};

use crate::{
    DataError, Example, Labelled, Splits, drifting,
    key::keys,
    labelled::{TrainingFile, read_examples, read_training},
    notes::{repeats, shared},
    split::hold_out,
};

/// How much is held out to choose and to judge on.
const FRACTIONS: [&str; 2] = ["data.csv.validation_fraction", "data.csv.test_fraction"];

/// Reads the training file and, when they are given, the files to choose and to judge on; what is not
/// given is held out of the training file.
pub(crate) fn load(config: &CsvConfig, text: &TextConfig) -> Result<Splits, DataError> {
    let TrainingFile { classes, domains, labelled } = read_training(&config.train, config)?;
    let Labelled { examples, mut notes } = labelled;
    let keys = keys(&examples, text);
    notes.extend(repeats(&examples, &keys));
    let fractions = config.held_out();
    let (train, [held_validation, held_test]) = hold_out(examples, &keys, fractions, config.split_seed);
    for ((held, fraction), key) in [&held_validation, &held_test].into_iter().zip(fractions).zip(FRACTIONS) {
        if held.is_empty() && fraction > 0.0 {
            return Err(nothing_held_out(key, &config.train));
        }
    }
    let mut other = |file: &Option<String>, held: Vec<Example>| match file {
        None => Ok(held),
        Some(file) => {
            let other = read_examples(file, &classes, &domains, config)?;
            notes.extend(other.notes);
            Ok::<_, DataError>(other.examples)
        }
    };
    let validation = other(&config.validation, held_validation)?;
    let test = other(&config.test, held_test)?;
    if train.is_empty() {
        let message = "together with data.csv.test_fraction it leaves nothing to train on";
        return Err(ConfigFault::new(FRACTIONS[0], message).into());
    }
    let name = |file: &Option<String>, split: &str| file.clone().unwrap_or_else(|| split.to_owned());
    let (chosen, judged) =
        (name(&config.validation, "the validation split"), name(&config.test, "the test split"));
    notes.extend(shared([("the training split", &train), (&chosen, &validation), (&judged, &test)], text));
    let drift = config.stream.map(|kind| Drift::stream(domains.len(), kind));
    notes.extend(drift.iter().map(Drift::to_string));
    let splits = Splits { classes, domains, train, validation, test, bayes_accuracy: None, drift, notes };
    drifting::check_stream(&splits)?;
    Ok(splits)
}

fn nothing_held_out(key: &'static str, file: &str) -> DataError {
    let message = format!(
        "holds no example of {file} out; raise it, name a file of its own, or set it to 0. Where nearly every row has a label of its own, that column holds texts or ids"
    );
    DataError::Config(ConfigFault::new(key, message))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use moelt_schema::{BadLines, DataConfig, StreamKind};

    use super::*;

    fn load(config: &CsvConfig) -> Result<Splits, DataError> {
        super::load(config, &TextConfig::default())
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
            let (validation, test) = (Some(other.clone()), Some(other));
            CsvConfig { train: self.file("train.csv", content), validation, test, ..CsvConfig::default() }
        }

        fn error(&self, content: impl AsRef<[u8]>) -> String {
            load(&self.config(content)).unwrap_err().to_string()
        }
    }

    fn labels(examples: &[Example]) -> Vec<(&str, u32)> {
        examples.iter().map(|example| (example.text.as_str(), example.label)).collect()
    }

    /// Rows of domain `d`: two classes, as many of each.
    fn rows_of(d: &str) -> String {
        (0..20).map(|i| format!("text {d} {i},{},{d}\n", ["no", "yes"][i % 2])).collect()
    }

    #[test]
    fn domains_are_numbered_as_they_come() {
        let folder = Folder::new();
        let train = folder.file("a.csv", format!("text,label,Shop\n{}{}", rows_of("tea"), rows_of("art")));
        let test = folder.file("b.csv", "text,label,shop\nx,no,art\ny,yes,toys\nz,no,tea\n");
        let config = CsvConfig {
            train,
            test: Some(test.clone()),
            domain_column: Some("shop".into()),
            ..CsvConfig::default()
        };
        let data = load(&config).unwrap();
        assert_eq!(data.domains, ["tea", "art"]);
        assert_eq!(data.test.iter().map(|e| e.domain).collect::<Vec<_>>(), [Some(1), None, Some(0)]);
        assert!(data.train.iter().all(|e| e.text.contains(["tea", "art"][e.domain.unwrap() as usize])));
        let note = format!("{test}: 1 texts are of domains that training does not know");
        assert!(data.notes.contains(&note), "{:?}", data.notes);
        let empty = folder.file("c.csv", "text,label,shop\nx,no,art\ny,yes,\nz,no,tea\n");
        let error =
            load(&CsvConfig { test: Some(empty.clone()), bad_lines: BadLines::Error, ..config }).unwrap_err();
        assert!(error.to_string().starts_with(&format!("{empty}:3: ")), "{error}");
    }

    #[test]
    fn domains_may_arrive_one_after_another() {
        let folder = Folder::new();
        let stream = |rows: &str| {
            let train = folder.file("a.csv", format!("text,label,domain\n{rows}"));
            let stream = Some(StreamKind::Sequential);
            load(&CsvConfig { train, stream, domain_column: Some("domain".into()), ..CsvConfig::default() })
        };
        let data = stream(&(rows_of("tea") + &rows_of("art") + &rows_of("toys"))).unwrap();
        let seen = data.segments(30).into_iter().map(|segment| {
            let domains = segment.examples.iter().map(|at| data.train[*at].domain.unwrap());
            (segment.from, domains.collect::<BTreeSet<u32>>())
        });
        assert_eq!(seen.collect::<Vec<_>>(), [(0, [0].into()), (10, [1].into()), (20, [2].into())]);
        let test = Some(folder.file("b.csv", "text,label,domain\nx,no,tea\ny,yes,toys\n"));
        let train = folder.file("a.csv", format!("text,label,domain\n{}{}", rows_of("tea"), rows_of("art")));
        let (stream_kind, domain_column) = (Some(StreamKind::Cumulative), Some("domain".into()));
        let strange = CsvConfig { train, test, stream: stream_kind, domain_column, ..CsvConfig::default() };
        let strange = load(&strange).unwrap_err().to_string();
        assert!(strange.contains("`y` of the test split has none that training knows"), "{strange}");
        let one = stream(&rows_of("tea")).unwrap_err().to_string();
        assert!(
            one.starts_with("`data.csv.stream`: needs two domains to arrive; the texts are of 1"),
            "{one}"
        );
        let few = stream(&(rows_of("tea") + "text,no,art\n")).unwrap_err().to_string();
        assert!(few.contains("has domain `art` arrive, of which the training split has no text"), "{few}");
    }

    #[test]
    fn numbers_are_ordered_as_numbers_and_names_as_names() {
        let folder = Folder::new();
        let numbers = load(&folder.config("text,label\na,10\nb,9\nc,1\n")).unwrap();
        assert_eq!(numbers.classes, ["1", "9", "10"]);
        assert_eq!(labels(&numbers.train), [("a", 2), ("b", 1), ("c", 0)]);
        assert_eq!(labels(&numbers.validation), [("other", 0)]);
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
            validation: other.clone(),
            test: other,
            text_column: "sentence".into(),
            label_column: "stars".into(),
            train,
            ..CsvConfig::default()
        };
        let data = load(&config).unwrap();
        assert_eq!(labels(&data.train), [("so \"so", 0), ("fine", 1)]);
        assert!(data.notes.iter().any(|note| note.ends_with("2 of 2 texts are also in the training split")));
    }

    #[test]
    fn malformed_files_are_named_by_line() {
        let folder = Folder::new();
        let cases: [(&[u8], &str, &str); 6] = [
            (b"a,0\nb,1\n", "train.csv:1: no column `text`", "names `a`, `0`"),
            (b"text,stars\nb,1\n", "train.csv:1: no column `label`", "names `text`, `stars`"),
            (b"text,label\na,0\n\xff,1\n", "train.csv:3: is not UTF-8", "iconv"),
            (b"text,label\na,0\nb,0\n", "train.csv:3: every row", "label `0` in column `label`; two classes"),
            (b"", "train.csv: has no rows", "header line"),
            (b"text,label\n", "train.csv: has no rows", "header line"),
        ];
        for (content, place, fix) in cases {
            let message = folder.error(content);
            assert!(message.contains(place) && message.contains(fix), "{message}");
        }
    }

    /// Five good rows, and one that each case makes bad.
    const GOOD: &str = "text,label\na,0\nb,1\nc,1\nd,0\ne,1\n";

    #[test]
    fn rows_that_cannot_be_used_are_skipped_and_listed_or_are_errors() {
        let folder = Folder::new();
        let cases = [
            (" ,1\n", "the text is empty", "fill it in"),
            ("f,\n", "the label is empty", "fill it in"),
            ("f, g,1\n", "has 3 fields where the header has 2", "double quotes"),
        ];
        for (row, reason, fix) in cases {
            let skip = folder.config(format!("{GOOD}{row}f,1\n"));
            let data = load(&skip).unwrap();
            assert_eq!(data.train.len(), 6, "{row}");
            let note =
                format!("train.csv: 1 of 7 rows cannot be used and are skipped: {}:7: {reason}", skip.train);
            assert!(data.notes[0].ends_with(&note), "{:?}", data.notes);
            let strict = load(&CsvConfig { bad_lines: BadLines::Error, ..skip }).unwrap_err().to_string();
            assert!(strict.contains(&format!("train.csv:7: {reason}")) && strict.contains(fix), "{strict}");
        }
    }

    #[test]
    fn a_label_that_only_a_skipped_row_has_is_no_class() {
        let folder = Folder::new();
        assert_eq!(load(&folder.config(format!("{GOOD} ,2\n"))).unwrap().classes, ["0", "1"]);
    }

    #[test]
    fn a_file_that_is_mostly_bad_is_refused() {
        let folder = Folder::new();
        let message = folder.error(format!("{GOOD}{}", ",1\n".repeat(6)));
        assert!(
            message.contains("train.csv:7: the text is empty") && message.contains("Of 11 rows 6"),
            "{message}"
        );
        assert_eq!(load(&folder.config(format!("{GOOD}{}", ",1\n".repeat(5)))).unwrap().train.len(), 5);
    }

    #[test]
    fn a_label_the_training_file_does_not_have_is_a_bad_row() {
        let folder = Folder::new();
        let message = folder.error("text,label\na,0\nb,2\n");
        assert!(message.contains("other.csv:2: unknown label `1`; the classes are `0`, `2`"), "{message}");
        let other = folder.file("more.csv", "text,label\nf,0\ng,7\n");
        let config = CsvConfig { test: Some(other), ..folder.config(GOOD) };
        let data = load(&config).unwrap();
        assert_eq!(labels(&data.test), [("f", 0)]);
        assert!(data.notes[0].ends_with("more.csv:3: unknown label `7`"), "{:?}", data.notes);
    }

    #[test]
    fn one_text_in_several_forms_is_on_one_side() {
        let folder = Folder::new();
        let row = |i: usize| format!("Film {i},0\nFILM  {i},1\nﬁlm\t{i},1\n");
        let train = folder.file("all.csv", format!("text,label\n{}", (0..60).map(row).collect::<String>()));
        let data = load(&CsvConfig { train, ..CsvConfig::default() }).unwrap();
        let sides = [&data.train, &data.validation, &data.test];
        let number = |example: &Example| example.text.split_whitespace().next_back().unwrap().to_owned();
        let numbers =
            sides.map(|side| side.iter().map(number).collect::<std::collections::BTreeSet<_>>().len());
        assert_eq!(numbers.iter().sum::<usize>(), 60, "{numbers:?}");
        assert_eq!(data.notes, ["60 texts are repeated, 60 of them with different labels"]);
    }

    #[test]
    fn texts_of_two_files_are_compared_pair_by_pair() {
        let folder = Folder::new();
        let [validation, test] = [("s.csv", "A,0\nx,1\n"), ("v.csv", "Ｘ,1\ny,0\n")]
            .map(|(name, rows)| Some(folder.file(name, format!("text,label\n{rows}"))));
        let notes = load(&CsvConfig { validation, test, ..folder.config(GOOD) }).unwrap().notes;
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].ends_with("s.csv: 1 of 2 texts are also in the training split"), "{notes:?}");
        assert!(
            notes[1].contains("v.csv: 1 of 2 texts are also in ") && notes[1].ends_with("s.csv"),
            "{notes:?}"
        );
    }

    #[test]
    fn cut_texts_are_noted_split_by_split() {
        let folder = Folder::new();
        let csv = folder.config(format!("{GOOD}{},1\n", "long ".repeat(3000)));
        let config = DataConfig::Csv(csv);
        let notes = crate::Dataset::splits(&config, &TextConfig::default()).unwrap().notes;
        let expected =
            "training split: 1 of 6 texts are cut at text.max_tokens = 256; the longest has 3000 tokens";
        assert!(notes.iter().any(|note| note == expected), "{notes:?}");
    }

    #[test]
    fn a_hundred_thousand_labels_are_refused_as_ids() {
        let folder = Folder::new();
        let rows: String = (0..100_000).map(|i| format!("text,{i}\n")).collect();
        let message = folder.error(format!("text,label\n{rows}"));
        assert!(message.contains("column `label` has 100000 different labels in 100000 rows"), "{message}");
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
        assert!(few.starts_with("`data.csv.validation_fraction`: holds no example"), "{few}");
        let many: String = (0..20).map(|i| format!("text {i},{}\n", i % 2)).collect();
        let train = folder.file("many.csv", format!("text,label\n{many}"));
        let halves =
            CsvConfig { train, validation_fraction: 0.5, test_fraction: 0.5, ..CsvConfig::default() };
        assert!(load(&halves).unwrap_err().to_string().contains("leaves nothing to train on"));
    }

    #[test]
    fn a_fraction_of_0_holds_nothing_out() {
        let folder = Folder::new();
        let rows: String = (0..20).map(|i| format!("text {i},{}\n", i % 2)).collect();
        let train = folder.file("all.csv", format!("text,label\n{rows}"));
        let config = CsvConfig { train, ..CsvConfig::default() };
        let data = load(&config.whole()).unwrap();
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (20, 0, 0));
        assert_eq!(data.notes, Vec::<String>::new());
    }

    #[test]
    fn one_file_becomes_three_splits() {
        let folder = Folder::new();
        let rows: String = (0..200).map(|i| format!("text {i},{}\n", i % 4 / 3)).collect();
        let train = folder.file("all.csv", format!("text,label\n{rows}"));
        let data = load(&CsvConfig { train, ..CsvConfig::default() }).unwrap();
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (160, 20, 20));
        assert_eq!(data.test.iter().filter(|example| example.label == 1).count(), 5);
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
