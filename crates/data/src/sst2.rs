//! GLUE SST-2: two TSV files, of which the training file holds sentences and their phrases.
//!
//! A phrase in training tells the label of the sentence it comes from, so a random row must not be held
//! out. The split goes by parent sentence instead. A *full sentence* is a training text whose tokens are
//! no contiguous part of a longer training text's. Some full sentences are held out; they alone are the
//! validation split, since the test split (GLUE's dev) consists of full sentences, too. Training keeps
//! the texts that occur in no held-out sentence: their phrases are left out even when another sentence
//! has them as well. So are texts that become a held-out sentence's where `text.max_tokens` cuts them.

use std::{collections::HashSet, path::Path};

use moelt_schema::{ConfigFault, Dialect, Sst2Config, Stream, Streams, TextConfig};
use rand::seq::SliceRandom;

use crate::{
    DataError, Example, Splits,
    key::keys,
    notes::{repeats, shared},
    phrases::Phrases,
    source::Source,
    table::{Row, read_columns},
};

/// Reads `train.tsv` and `dev.tsv` and splits the former by sentence.
pub(crate) fn load(config: &Sst2Config, text: &TextConfig) -> Result<Splits, DataError> {
    let dir = Path::new(&config.dir);
    let examples = read(&dir.join("train.tsv"))?;
    let test = read(&dir.join("dev.tsv"))?;
    let keys = keys(&examples, text);
    let mut notes: Vec<String> = repeats(&examples, &keys).into_iter().collect();
    let split = SentenceSplit::of(examples, &keys, config, text);
    for (part, name) in [(&split.validation, "validation"), (&split.train, "training")] {
        if part.is_empty() {
            let message = format!("is {} and leaves no {name} examples", config.validation_fraction);
            return Err(DataError::Config(ConfigFault::new("data.sst2.validation_fraction", message)));
        }
    }
    notes.extend(split.notes());
    let classes = ["negative", "positive"].map(str::to_owned).to_vec();
    let SentenceSplit { train, validation, .. } = split;
    let splits =
        [("the training split", &train[..]), ("the validation split", &validation), ("dev.tsv", &test)];
    notes.extend(shared(splits, text));
    Ok(Splits {
        classes,
        domains: Vec::new(),
        train,
        validation,
        test,
        bayes_accuracy: None,
        drift: None,
        notes,
    })
}

/// Reads one of the files. Texts are trimmed: some copies end them with a blank.
pub(crate) fn read(path: &Path) -> Result<Vec<Example>, DataError> {
    let source = Source::from_path(path).map_err(|error| match error {
        DataError::Read { file, cause } => DataError::NoSst2 { file, cause },
        other => other,
    })?;
    let rows = read_columns(&source, Dialect::TAB, ["sentence", "label"])?.rows;
    if rows.is_empty() {
        return Err(DataError::NoRows { file: source.name });
    }
    rows.into_iter().map(|row| example(row, &source.name)).collect()
}

/// Every row must be good: a published data set has no bad ones.
fn example(Row { line, fields }: Row<2>, file: &str) -> Result<Example, DataError> {
    let [text, label] = fields.map_err(|fault| fault.error(file, line, &[]))?;
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(DataError::EmptyField { file: file.to_owned(), line, column: "sentence".to_owned() });
    }
    let label = match label.trim() {
        "0" => 0,
        "1" => 1,
        _ => {
            let known = ["0", "1"].map(str::to_owned).to_vec();
            return Err(DataError::UnknownLabel { file: file.to_owned(), line, label, known });
        }
    };
    Ok(Example { text, label, domain: None, time: None })
}

/// A training file split by sentence.
#[derive(Default)]
struct SentenceSplit {
    train: Vec<Example>,
    validation: Vec<Example>,
    /// Distinct texts of the training file.
    texts: usize,
    /// Full sentences among them.
    sentences: usize,
    /// Full sentences held out.
    held: usize,
    /// Rows left out because they occur in held-out sentences only.
    held_phrases: usize,
    /// Rows left out because they occur in held-out sentences and in others.
    shared_phrases: usize,
    /// Rows left out because the cut makes them equal to a held-out sentence.
    cut_alike: usize,
    /// Phrases left out because sentences alone are wanted.
    unwanted: usize,
}

impl SentenceSplit {
    /// `keys` are those of the examples.
    fn of(examples: Vec<Example>, keys: &[String], config: &Sst2Config, text: &TextConfig) -> Self {
        let phrases = Phrases::of(&examples, text);
        let mut sentences = phrases.full_sentences();
        sentences.shuffle(&mut Streams::new(config.split_seed).rng(Stream::Split, 0));
        let n_held = (sentences.len() as f64 * config.validation_fraction).round() as usize;
        let (held, kept) = sentences.split_at(n_held.min(sentences.len()));
        let is_held = phrases.mark(held.iter().copied());
        let is_sentence = phrases.mark(kept.iter().copied());
        let (in_held, in_kept) = (phrases.mark_inside(held), phrases.mark_inside(kept));
        let (texts, sentences, held) = (phrases.len(), sentences.len(), held.len());
        let mut split = Self { texts, sentences, held, ..Self::default() };
        let of_held = phrases.of_example.iter().zip(keys).filter(|(phrase, _)| is_held[**phrase]);
        let held_keys: HashSet<&String> = of_held.map(|(_, key)| key).collect();
        for ((example, &phrase), key) in examples.into_iter().zip(&phrases.of_example).zip(keys) {
            match (is_held[phrase], in_held[phrase], in_kept[phrase]) {
                (true, ..) => split.validation.push(example),
                (_, true, true) => split.shared_phrases += 1,
                (_, true, false) => split.held_phrases += 1,
                (_, false, _) if held_keys.contains(key) => split.cut_alike += 1,
                (_, false, _) if config.phrases || is_sentence[phrase] => split.train.push(example),
                (_, false, _) => split.unwanted += 1,
            }
        }
        split
    }

    fn notes(&self) -> Vec<String> {
        let Self { texts, sentences, held, held_phrases, shared_phrases, cut_alike, unwanted, .. } = self;
        let mut notes = vec![
            format!(
                "{sentences} of {texts} distinct training texts are full sentences; {held} of these are held \
                 out and make the validation split ({} rows)",
                self.validation.len()
            ),
            format!(
                "left out of training: {held_phrases} phrases that occur in held-out sentences only and \
                 {shared_phrases} that occur in others, too"
            ),
        ];
        if *cut_alike > 0 {
            notes.push(format!(
                "left out of training: {cut_alike} texts that text.max_tokens cuts to the same as a held-out sentence"
            ));
        }
        if *unwanted > 0 {
            notes.push(format!("left out of training: {unwanted} phrases; data.sst2.phrases is false"));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::PathBuf};

    use moelt_schema::{SplitSizes, SubwordConfig, TextConfig};
    use tempfile::TempDir;

    use super::*;
    use crate::{Vocabulary, tokenize};

    fn examples(texts: &[&str]) -> Vec<Example> {
        let example = |text: &&str| Example { text: (*text).into(), label: 0, domain: None, time: None };
        texts.iter().map(example).collect()
    }

    fn split(texts: &[&str], config: &Sst2Config, text: &TextConfig) -> SentenceSplit {
        let examples = examples(texts);
        SentenceSplit::of(examples.clone(), &keys(&examples, text), config, text)
    }

    fn config(dir: &Path) -> Sst2Config {
        Sst2Config { dir: dir.display().to_string(), ..Sst2Config::default() }
    }

    /// Error of loading a training file with this content.
    fn error(train: &str) -> String {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("train.tsv"), train).unwrap();
        fs::write(dir.path().join("dev.tsv"), "sentence\tlabel\nfine\t1\n").unwrap();
        load(&config(dir.path()), &TextConfig::default()).unwrap_err().to_string()
    }

    /// The real files, when they lie beside the project.
    fn real() -> Option<PathBuf> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/datasets/sst2");
        if dir.join("train.tsv").exists() {
            return Some(dir);
        }
        eprintln!("SKIPPED: no {}", dir.display());
        None
    }

    #[test]
    fn without_phrases_full_sentences_alone_are_trained_on() {
        let config = Sst2Config { validation_fraction: 0.0, phrases: false, ..Sst2Config::default() };
        let split = split(&["a b c", "a b", "f g", "c"], &config, &TextConfig::default());
        let texts: Vec<&str> = split.train.iter().map(|example| example.text.as_str()).collect();
        assert_eq!((texts, split.unwanted), (vec!["a b c", "f g"], 2));
    }

    #[test]
    fn phrases_of_held_out_sentences_are_not_trained_on() {
        let texts = ["a b c", "a b", "b c", "d b c e", "b c e", "d", "a b c", "f g"];
        let config = Sst2Config { validation_fraction: 0.34, ..Sst2Config::default() };
        let mut held = BTreeSet::new();
        for split_seed in 0..40 {
            let config = Sst2Config { split_seed, ..config.clone() };
            let split = split(&texts, &config, &TextConfig::default());
            let texts =
                |part: &[Example]| part.iter().map(|example| example.text.clone()).collect::<Vec<_>>();
            let counts = (split.texts, split.sentences, split.held, split.held_phrases, split.shared_phrases);
            let train = texts(&split.train);
            match texts(&split.validation)[0].as_str() {
                "a b c" => {
                    assert_eq!(counts, (7, 3, 1, 1, 1));
                    assert_eq!(train, ["d b c e", "b c e", "d", "f g"]);
                    assert_eq!(split.validation.len(), 2);
                }
                "d b c e" => {
                    assert_eq!(counts, (7, 3, 1, 2, 1));
                    assert_eq!(train, ["a b c", "a b", "a b c", "f g"]);
                }
                _ => assert_eq!((counts, train.len()), ((7, 3, 1, 0, 0), 7)),
            }
            held.insert(texts(&split.validation));
        }
        assert_eq!(held.len(), 3);
    }

    #[test]
    fn texts_that_the_cut_makes_equal_are_on_one_side() {
        let texts = ["a b c", "A b d e", "a  b", "f g h", "F g i", "j k", "J  k"];
        let text = TextConfig { max_tokens: 2, ..TextConfig::default() };
        for split_seed in 0..40 {
            let config = Sst2Config { validation_fraction: 0.34, split_seed, ..Sst2Config::default() };
            let split = split(&texts, &config, &text);
            let keys = |part: &[Example]| -> BTreeSet<String> { keys(part, &text).into_iter().collect() };
            assert!(keys(&split.train).is_disjoint(&keys(&split.validation)), "{split_seed}");
            let out = split.cut_alike + split.held_phrases + split.shared_phrases;
            assert_eq!(split.train.len() + split.validation.len() + out, texts.len());
        }
    }

    #[test]
    fn quotes_are_characters_and_texts_are_trimmed() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("train.tsv");
        fs::write(&path, "sentence\tlabel\n\" open \t0\r\nit 's \"\t1\n").unwrap();
        let texts: Vec<(String, u32)> = read(&path).unwrap().into_iter().map(|e| (e.text, e.label)).collect();
        assert_eq!(texts, [("\" open".to_owned(), 0), ("it 's \"".to_owned(), 1)]);
    }

    #[test]
    fn malformed_files_are_named_by_line() {
        let cases = [
            ("fine\t1\n", "train.tsv:1: no column `sentence`"),
            ("sentence\tlabel\na\t0\nb\t2\n", "train.tsv:3: unknown label `2`; the classes are `0`, `1`"),
            ("sentence\tlabel\n \t0\n", "train.tsv:2: the sentence is empty"),
            ("sentence\tlabel\na\tb\t0\n", "train.tsv:2: has 3 fields"),
            ("sentence\tlabel\n", "train.tsv: has no rows"),
            ("sentence\tlabel\na\t0\n", "`data.sst2.validation_fraction`: is 0.15 and leaves no validation"),
        ];
        for (content, expected) in cases {
            let message = error(content);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_missing_folder_says_how_to_get_it() {
        let message = load(&config(Path::new("nowhere")), &TextConfig::default()).unwrap_err().to_string();
        assert!(
            message.starts_with(&Path::new("nowhere").join("train.tsv").display().to_string()),
            "{message}"
        );
        assert!(message.ends_with("run `cargo xtask data sst2 --from PATH`"), "{message}");
    }

    #[test]
    fn the_real_data_has_its_known_counts() {
        let Some(dir) = real() else { return };
        let data = load(&config(&dir), &TextConfig::default()).unwrap();
        assert_eq!(data.sizes(), SplitSizes { train: 56_147, validation: 1_033, test: 872 });
        assert_eq!(
            data.notes,
            [
                "371 texts are repeated, 5 of them with different labels",
                "6886 of 66978 distinct training texts are full sentences; 1033 of these are held out and \
                 make the validation split (1033 rows)",
                "left out of training: 8234 phrases that occur in held-out sentences only and 1935 that occur \
                 in others, too",
            ]
        );
        assert_eq!(load(&config(&dir), &TextConfig::default()).unwrap().digest(), data.digest());
        let padded = |example: &Example| format!(" {} ", example.text);
        let validation: Vec<String> = data.validation.iter().map(padded).collect();
        let leaks =
            |example: &&Example| validation.iter().any(|sentence| sentence.contains(&padded(example)));
        assert_eq!(data.train.iter().step_by(50).find(leaks), None);
    }

    #[test]
    fn the_real_texts_pass_the_tokenizer_as_they_stand() {
        let Some(dir) = real() else { return };
        let config = TextConfig::default();
        for Example { text, .. } in read(&dir.join("train.tsv")).unwrap() {
            assert_eq!(tokenize(&text, &config).join(" "), text);
        }
        for Example { text, .. } in read(&dir.join("dev.tsv")).unwrap() {
            let unescaped = text.replace("-lrb-", "(").replace("-rrb-", ")").replace("\\/", "/");
            assert_eq!(tokenize(&text, &config).join(" "), unescaped);
        }
    }

    #[test]
    fn the_real_texts_have_their_known_rows() {
        let Some(dir) = real() else { return };
        let subwords = SubwordConfig {
            prefixes: vec![6, 5, 4],
            suffix: 3,
            hyphen_parts: true,
            ..SubwordConfig::default()
        };
        let config = TextConfig { subwords, ..TextConfig::default() };
        let train = read(&dir.join("train.tsv")).unwrap();
        let vocabulary = Vocabulary::build(train.iter().map(|example| example.text.as_str()), &config);
        // 14,817 words, 8,346 parts and row 0.
        assert_eq!(vocabulary.n_rows(), 23_164);
    }
}
