//! Which word, which part of a word or which token of a pretrained encoder has which row of the embedding table.
//!
//! - `words.rs` gives rows to what training texts hold,
//! - `pretrained.rs` takes the rows of a pretrained encoder.

mod pretrained;
mod words;

use moelt_schema::{ConfigFault, Digest, TextConfig};
use serde::{Deserialize, Serialize};

use crate::Encoded;

use self::{pretrained::Pretrained, words::Words};

/// Version of the vocabulary's JSON. A reader refuses every other.
pub const VOCABULARY_FORMAT: u32 = 2;

/// Rows of the embedding table by name, and how texts are cut into tokens.
///
/// Row 0 stands for padding and for words of which nothing is known; its vector is zero and stays so. The others are of
/// one of two kinds:
///
/// - words that training texts hold often enough, then parts of words (see [`TextConfig`]), each in order of first
///   occurrence ([`Self::build`]),
/// - the tokens of a pretrained encoder, each in the row of its id ([`Self::pretrained`]).
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
#[derive(Clone, Debug)]
pub struct Vocabulary {
    text: TextConfig,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Words(Words),
    Pretrained(Box<Pretrained>),
}

/// Why a vocabulary cannot be read, or made of a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// Not the JSON of a vocabulary.
    #[error("not a vocabulary: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another moelt.
    #[error("not a vocabulary: format {0}; this moelt reads format {VOCABULARY_FORMAT}")]
    Format(u32),
    /// A text config that is out of bounds.
    #[error("not a vocabulary: {0}")]
    Text(ConfigFault),
    /// A name that two rows have.
    #[error("not a vocabulary: `{0}` has two rows")]
    Twice(String),
    /// Not a tokenizer that can give rows, and why.
    #[error("not a tokenizer that moelt can use: {0}")]
    Tokenizer(String),
}

/// The part of the vocabulary's JSON that every format has.
#[derive(Deserialize)]
struct VocabularyFormat {
    format: u32,
}

/// The vocabulary as it lies on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VocabularyFile {
    format: u32,
    text: TextConfig,
    rows: Rows,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rows {
    /// Names of rows 1, 2, ….
    Words(Vec<String>),
    /// A whole `tokenizer.json`.
    Pretrained(String),
}

impl Vocabulary {
    /// Gives rows to what the training texts hold. The config is kept: encoding needs nothing else.
    pub fn build<'a>(texts: impl IntoIterator<Item = &'a str>, config: &TextConfig) -> Self {
        Self { text: config.clone(), kind: Kind::Words(Words::of_texts(texts, config)) }
    }

    /// The rows of a pretrained encoder, of the content of its `tokenizer.json` (as Hugging Face's `tokenizers` writes
    /// it). Of the config, `max_tokens` alone counts. A token has the row of its id, and a text the special tokens that
    /// the tokenizer puts around it, `[CLS]` and `[SEP]`, within `max_tokens`. What the file says of truncation and
    /// padding is not used.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use moelt_data::Vocabulary;
    /// use moelt_schema::TextConfig;
    /// let json = std::fs::read_to_string("models/minilm/tokenizer.json")?;
    /// let vocabulary = Vocabulary::pretrained(&json, &TextConfig::default())?;
    /// assert_eq!(vocabulary.n_rows(), 30_522);
    /// assert_eq!(vocabulary.encode("A film.").to_tokens(), [[101], [1037], [2143], [1012], [102]]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When it is no tokenizer; when it is none as BERT has it (WordPiece, with BERT's normalisation and BERT's splitting
    /// into words); when `[PAD]` has not row 0, which stands for nothing else, or an id lies outside the table; when
    /// `max_tokens` leaves no room for a text. The error does not know the file's name.
    pub fn pretrained(tokenizer_json: &str, text: &TextConfig) -> Result<Self, VocabularyError> {
        let tokenizer =
            Pretrained::new(tokenizer_json, text.max_tokens).map_err(VocabularyError::Tokenizer)?;
        Ok(Self { text: text.clone(), kind: Kind::Pretrained(Box::new(tokenizer)) })
    }

    /// Rows of the embedding table, row 0 included.
    pub fn n_rows(&self) -> usize {
        match &self.kind {
            Kind::Words(words) => words.n_rows(),
            Kind::Pretrained(tokenizer) => tokenizer.n_rows(),
        }
    }

    /// The row of a word, if it has one of its own; none of a pretrained tokenizer.
    pub fn row_of_word(&self, word: &str) -> Option<u32> {
        match &self.kind {
            Kind::Words(words) => words.row_of_word(word),
            Kind::Pretrained(_) => None,
        }
    }

    /// The `tokenizer.json` of a pretrained encoder, if the rows are its own.
    pub fn tokenizer_json(&self) -> Option<&str> {
        match &self.kind {
            Kind::Words(_) => None,
            Kind::Pretrained(tokenizer) => Some(&tokenizer.json),
        }
    }

    /// How texts are cut into tokens.
    pub fn text(&self) -> &TextConfig {
        &self.text
    }

    /// Rows of a token, at most: the word and its parts, when parts are used at all; 1 of a pretrained tokenizer.
    pub fn rows_per_token(&self) -> usize {
        match &self.kind {
            Kind::Words(_) => words::rows_per_token(&self.text),
            Kind::Pretrained(_) => 1,
        }
    }

    /// The text as tokens, and tokens as rows: the word's own row if it has one, then the first `max_parts` of its parts
    /// that have one; of a pretrained tokenizer, the row of the token's id.
    pub fn encode(&self, text: &str) -> Encoded {
        match &self.kind {
            Kind::Words(words) => words.encode(text, &self.text),
            Kind::Pretrained(tokenizer) => tokenizer.encode(text),
        }
    }

    /// Hash of everything that encoding depends on.
    pub fn digest(&self) -> Digest {
        Digest::of_bytes(self.to_json().as_bytes())
    }

    /// The vocabulary as JSON.
    pub fn to_json(&self) -> String {
        let rows = match &self.kind {
            Kind::Words(words) => Rows::Words(words.names.clone()),
            Kind::Pretrained(tokenizer) => Rows::Pretrained(tokenizer.json.clone()),
        };
        let file = VocabularyFile { format: VOCABULARY_FORMAT, text: self.text.clone(), rows };
        serde_json::to_string(&file).expect("names and numbers always serialise")
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// When it is not JSON, of another format version, names a row twice, has a [`TextConfig`] out of bounds, or a
    /// tokenizer that [`Self::pretrained`] refuses.
    pub fn from_json(json: &str) -> Result<Self, VocabularyError> {
        let VocabularyFormat { format } = serde_json::from_str(json)?;
        if format != VOCABULARY_FORMAT {
            return Err(VocabularyError::Format(format));
        }
        let VocabularyFile { text, rows, .. } = serde_json::from_str(json)?;
        text.check().map_err(|fault| VocabularyError::Text(fault.within("text")))?;
        match rows {
            Rows::Words(names) => {
                let words = Words::named(names).map_err(VocabularyError::Twice)?;
                Ok(Self { text, kind: Kind::Words(words) })
            }
            Rows::Pretrained(json) => Self::pretrained(&json, &text),
        }
    }
}

/// Vocabularies that encode alike: of the same config, with the same rows.
impl PartialEq for Vocabulary {
    fn eq(&self, other: &Self) -> bool {
        let rows = match (&self.kind, &other.kind) {
            (Kind::Words(one), Kind::Words(other)) => one == other,
            (Kind::Pretrained(one), Kind::Pretrained(other)) => one.json == other.json,
            _ => false,
        };
        rows && self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::SubwordConfig;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bad_files_say_what_is_bad() {
        let vocabulary = Vocabulary::build(["a b"], &TextConfig::default());
        let json = vocabulary.to_json();
        let message = |json: &str| Vocabulary::from_json(json).unwrap_err().to_string();
        let other = json.replace("\"format\":2", "\"format\":9");
        assert_eq!(message(&other), "not a vocabulary: format 9; this moelt reads format 2");
        let before = r#"{"format":1,"text":{},"rows":["a","b"]}"#;
        assert_eq!(message(before), "not a vocabulary: format 1; this moelt reads format 2");
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
            let subwords =
                SubwordConfig { prefixes: vec![4], suffix: 3, hyphen_parts: true, ..SubwordConfig::default() };
            let config = TextConfig { subwords, ..TextConfig::default() };
            let vocabulary = Vocabulary::build(texts.iter().map(String::as_str), &config);
            let again = Vocabulary::from_json(&vocabulary.to_json()).unwrap();
            prop_assert_eq!(&again, &vocabulary);
            prop_assert_eq!(again.digest(), vocabulary.digest());
            prop_assert_eq!(again.encode(&unseen), vocabulary.encode(&unseen));
            let in_table = |rows: Vec<u32>| rows.iter().all(|&row| (row as usize) < vocabulary.n_rows());
            prop_assert!(vocabulary.encode(&unseen).to_tokens().into_iter().all(in_table));
        }
    }
}
