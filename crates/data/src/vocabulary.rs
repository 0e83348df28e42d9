//! Which word and which part of a word has which row of the embedding table.

use std::collections::HashMap;

use moelt_schema::{Digest, TextConfig};
use serde::{Deserialize, Serialize};

use crate::{Encoded, subword, tokenize};

/// Version of the vocabulary's JSON. A reader refuses every other.
pub const VOCABULARY_FORMAT: u32 = 1;

/// Rows of the embedding table by name, and how texts are cut into tokens.
///
/// Row 0 stands for padding and for words of which nothing is known; its vector is zero and stays so.
/// Then come words that training texts hold often enough, then parts of words (see [`TextConfig`]), each
/// in order of first occurrence.
///
/// ```
/// use moelt_data::Vocabulary;
/// use moelt_schema::TextConfig;
/// let vocabulary = Vocabulary::build(["a good film", "a bad film"], &TextConfig::default());
/// assert_eq!(vocabulary.n_rows(), 5);
/// assert_eq!(vocabulary.encode("bad film , good").to_tokens(), [vec![4], vec![3], vec![], vec![2]]);
/// let again = Vocabulary::from_json(&vocabulary.to_json()).unwrap();
/// assert_eq!(again, vocabulary);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "VocabularyFile", into = "VocabularyFile")]
pub struct Vocabulary {
    text: TextConfig,
    /// Names of rows 1, 2, ….
    names: Vec<String>,
    rows: HashMap<String, u32>,
}

/// Why a vocabulary cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// Not the JSON of a vocabulary.
    #[error("not a vocabulary: {0}")]
    Json(#[from] serde_json::Error),
}

/// The vocabulary as it lies on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VocabularyFile {
    format: u32,
    text: TextConfig,
    rows: Vec<String>,
}

impl Vocabulary {
    /// Gives rows to what the training texts hold. The config is kept: encoding needs nothing else.
    pub fn build<'a>(texts: impl IntoIterator<Item = &'a str>, config: &TextConfig) -> Self {
        let mut words = Counter::default();
        for text in texts {
            tokenize(text, config).into_iter().for_each(|token| words.add(token));
        }
        let mut parts = Counter::default();
        for (word, _) in &words.items {
            subword::parts(word, &config.subwords).into_iter().for_each(|part| parts.add(part));
        }
        let names = words.at_least(config.min_count).chain(parts.at_least(config.subwords.min_words));
        let names: Vec<String> = names.collect();
        let rows = names.iter().cloned().zip(1..).collect();
        Self { text: config.clone(), names, rows }
    }

    /// Rows of the embedding table, row 0 included.
    pub fn n_rows(&self) -> usize {
        self.names.len() + 1
    }

    /// How texts are cut into tokens.
    pub fn text(&self) -> &TextConfig {
        &self.text
    }

    /// Rows of a token, at most: the word and its parts, when parts are used at all.
    pub fn rows_per_token(&self) -> usize {
        let subwords = &self.text.subwords;
        let used = !subwords.prefixes.is_empty() || subwords.suffix > 0 || subwords.hyphen_parts;
        1 + if used { subwords.max_parts } else { 0 }
    }

    /// The text as tokens, and tokens as rows: the word's own row if it has one, then the first
    /// `max_parts` of its parts that have one.
    pub fn encode(&self, text: &str) -> Encoded {
        let tokens: Vec<Vec<u32>> =
            tokenize(text, &self.text).iter().map(|word| self.rows_of(word)).collect();
        Encoded::from_tokens(&tokens)
    }

    fn rows_of(&self, word: &str) -> Vec<u32> {
        let row = |name: &str| self.rows.get(name).copied();
        let parts = subword::parts(word, &self.text.subwords);
        let parts = parts.iter().filter_map(|part| row(part)).take(self.text.subwords.max_parts);
        row(word).into_iter().chain(parts).collect()
    }

    /// Hash of everything that encoding depends on.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// The vocabulary as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names and numbers always serialise")
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// When it is not JSON, of another format version, names a row twice, or has a [`TextConfig`] out of bounds.
    pub fn from_json(json: &str) -> Result<Self, VocabularyError> {
        Ok(serde_json::from_str(json)?)
    }
}

impl From<Vocabulary> for VocabularyFile {
    fn from(vocabulary: Vocabulary) -> Self {
        Self { format: VOCABULARY_FORMAT, text: vocabulary.text, rows: vocabulary.names }
    }
}

impl TryFrom<VocabularyFile> for Vocabulary {
    type Error = String;

    fn try_from(file: VocabularyFile) -> Result<Self, String> {
        if file.format != VOCABULARY_FORMAT {
            return Err(format!("format {}; this moelt reads format {VOCABULARY_FORMAT}", file.format));
        }
        file.text.check().map_err(|fault| fault.within("text").to_string())?;
        let mut rows = HashMap::with_capacity(file.rows.len());
        for (name, row) in file.rows.iter().zip(1..) {
            if rows.insert(name.clone(), row).is_some() {
                return Err(format!("`{name}` has two rows"));
            }
        }
        Ok(Self { text: file.text, names: file.rows, rows })
    }
}

/// Counts names and remembers in which order they came.
#[derive(Default)]
struct Counter {
    places: HashMap<String, usize>,
    items: Vec<(String, usize)>,
}

impl Counter {
    fn add(&mut self, name: String) {
        if let Some(&place) = self.places.get(&name) {
            self.items[place].1 += 1;
        } else {
            self.places.insert(name.clone(), self.items.len());
            self.items.push((name, 1));
        }
    }

    fn at_least(self, count: usize) -> impl Iterator<Item = String> {
        self.items.into_iter().filter(move |(_, n)| *n >= count).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::SubwordConfig;
    use proptest::prelude::*;

    use super::*;

    fn subwords() -> TextConfig {
        let subwords =
            SubwordConfig { prefixes: vec![4], suffix: 3, hyphen_parts: true, ..SubwordConfig::default() };
        TextConfig { subwords, ..TextConfig::default() }
    }

    #[test]
    fn parts_need_two_words_and_words_their_count() {
        let config = TextConfig { min_count: 2, ..subwords() };
        // `film` twice, the rest once; `wond` and `ful` in two words each.
        let vocabulary = Vocabulary::build(["wonderful film", "wondrous awful film"], &config);
        assert_eq!(vocabulary.names, ["film", "prefix wond", "suffix ful"]);
        assert_eq!(
            vocabulary.encode("wonderful wondering film bad").to_tokens(),
            [vec![2, 3], vec![2], vec![1], vec![]]
        );
    }

    #[test]
    fn a_word_and_a_part_of_the_same_letters_have_rows_of_their_own() {
        let vocabulary = Vocabulary::build(["made well-made home-made"], &subwords());
        let names = |row: &u32| vocabulary.names[*row as usize - 1].as_str();
        let tokens = vocabulary.encode("made well-made").to_tokens();
        let named: Vec<Vec<&str>> = tokens.iter().map(|rows| rows.iter().map(names).collect()).collect();
        assert_eq!(named[0], ["made", "suffix ade"]);
        assert_eq!(named[1], ["well-made", "suffix ade", "part made"]);
    }

    #[test]
    fn no_more_parts_than_allowed() {
        let mut config = subwords();
        config.subwords.max_parts = 1;
        let vocabulary = Vocabulary::build(["wonderful wonderfull awful-ful dreadful-ful"], &config);
        assert_eq!(vocabulary.rows_per_token(), 2);
        assert!(vocabulary.encode("wonderful dreadful-ful").to_tokens().iter().all(|rows| rows.len() == 2));
    }

    #[test]
    fn without_parts_a_token_is_one_row() {
        let vocabulary = Vocabulary::build(["a b"], &TextConfig::default());
        assert_eq!(vocabulary.rows_per_token(), 1);
        let empty = vocabulary.encode("  ");
        assert_eq!((empty.n_tokens(), empty.token(0)), (1, &[][..]));
    }

    #[test]
    fn bad_files_say_what_is_bad() {
        let vocabulary = Vocabulary::build(["a b"], &TextConfig::default());
        let json = vocabulary.to_json();
        let message = |json: &str| Vocabulary::from_json(json).unwrap_err().to_string();
        assert!(message(&json.replace("\"format\":1", "\"format\":9")).contains("format 9"));
        assert!(message(&json.replace("\"b\"", "\"a\"")).contains("`a` has two rows"));
        assert!(
            message(&json.replace("\"max_parts\":4", "\"max_parts\":18446744073709551615"))
                .contains("at most 64")
        );
        assert!(message("[]").starts_with("not a vocabulary"));
    }

    #[test]
    fn the_digest_sees_rows_and_config() {
        let digest = |text, config: &TextConfig| Vocabulary::build([text], config).digest();
        let plain = TextConfig::default();
        assert_eq!(digest("a b", &plain), digest("a b b", &plain));
        assert_ne!(digest("a b", &plain), digest("b a", &plain));
        assert_ne!(digest("a b", &plain), digest("a b", &TextConfig { max_tokens: 9, ..plain.clone() }));
    }

    proptest! {
        #[test]
        fn json_reads_back(texts in prop::collection::vec(".{0,30}", 0..6), unseen in ".{0,30}") {
            let vocabulary = Vocabulary::build(texts.iter().map(String::as_str), &subwords());
            let again = Vocabulary::from_json(&vocabulary.to_json()).unwrap();
            prop_assert_eq!(&again, &vocabulary);
            prop_assert_eq!(again.digest(), vocabulary.digest());
            prop_assert_eq!(again.encode(&unseen), vocabulary.encode(&unseen));
            let in_table = |rows: Vec<u32>| rows.iter().all(|&row| (row as usize) < vocabulary.n_rows());
            prop_assert!(vocabulary.encode(&unseen).to_tokens().into_iter().all(in_table));
        }
    }
}
