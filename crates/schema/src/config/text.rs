//! How texts become tokens.

use serde::{Deserialize, Serialize};

use super::{
    ConfigFault,
    bounds::{at_most, count},
};

/// How texts become tokens, and tokens rows of the embedding table.
///
/// A pretrained encoder has a tokenizer and rows of its own: with it `max_tokens` alone counts, the tokens that it puts
/// around a text included, and whether case matters is the tokenizer's business.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// Lower-case first. (Unicode forms of the same characters are one in any case: NFKC.)
    pub lowercase: bool,
    /// A word needs this many occurrences in training texts for a row of its own.
    pub min_count: usize,
    /// Tokens beyond this are cut off.
    pub max_tokens: usize,
    /// Rows for parts of words, added to the word's own.
    pub subwords: SubwordConfig,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { lowercase: true, min_count: 1, max_tokens: 256, subwords: SubwordConfig::default() }
    }
}

/// Which parts of a word get a row in the embedding table. A part counts when it occurs in at least
/// `min_words` different training words; it carries words that training saw rarely or never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubwordConfig {
    /// Lengths of prefixes, in characters. A prefix may be the whole word.
    pub prefixes: Vec<usize>,
    /// Length of the suffix, in characters; 0 for none.
    pub suffix: usize,
    /// The parts of hyphenated words.
    pub hyphen_parts: bool,
    /// Different training words a part must occur in.
    pub min_words: usize,
    /// Parts with a row used per word, at most, in the order prefixes (longest first), suffix, hyphen parts.
    pub max_parts: usize,
}

impl Default for SubwordConfig {
    fn default() -> Self {
        Self { prefixes: Vec::new(), suffix: 0, hyphen_parts: false, min_words: 2, max_parts: 4 }
    }
}

impl TextConfig {
    /// Places per token that parts of words may take: a batch has room for all of them.
    const MAX_PARTS: u64 = 64;

    /// Refuses what no tokenizer can work with, or would make every token as large as a text.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), ConfigFault> {
        count("min_count", self.min_count as u64, u64::MAX)?;
        count("max_tokens", self.max_tokens as u64, u64::MAX)?;
        count("subwords.min_words", self.subwords.min_words as u64, u64::MAX)?;
        at_most("subwords.max_parts", self.subwords.max_parts as u64, Self::MAX_PARTS)?;
        at_most("subwords.prefixes", self.subwords.prefixes.len() as u64, Self::MAX_PARTS)
    }
}
