//! Rows for the words of training texts and for parts of these words.

use std::collections::HashMap;

use moelt_schema::TextConfig;

use crate::{Encoded, subword, tokenize};

/// Names of rows, and back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Words {
    /// Names of rows 1, 2, ….
    pub names: Vec<String>,
    rows: HashMap<String, u32>,
}

impl Words {
    /// Those that occur often enough, words first, each in order of first occurrence.
    pub(super) fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>, config: &TextConfig) -> Self {
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
        Self { names, rows }
    }

    /// Rows by name.
    ///
    /// # Errors
    /// The name that stands there twice.
    pub(super) fn named(names: Vec<String>) -> Result<Self, String> {
        let mut rows = HashMap::with_capacity(names.len());
        for (name, row) in names.iter().zip(1..) {
            if rows.insert(name.clone(), row).is_some() {
                return Err(name.clone());
            }
        }
        Ok(Self { names, rows })
    }

    pub(super) fn n_rows(&self) -> usize {
        self.names.len() + 1
    }

    /// The row of a whole word. Names of parts have a blank, which no word has.
    pub(super) fn row_of_word(&self, word: &str) -> Option<u32> {
        if word.contains(' ') { None } else { self.rows.get(word).copied() }
    }

    pub(super) fn encode(&self, text: &str, config: &TextConfig) -> Encoded {
        let tokens: Vec<Vec<u32>> =
            tokenize(text, config).iter().map(|word| self.rows_of(word, config)).collect();
        Encoded::from_tokens(&tokens)
    }

    /// The word's own row if it has one, then the first `max_parts` of its parts that have one.
    fn rows_of(&self, word: &str, config: &TextConfig) -> Vec<u32> {
        let row = |name: &str| self.rows.get(name).copied();
        let parts = subword::parts(word, &config.subwords);
        let parts = parts.iter().filter_map(|part| row(part)).take(config.subwords.max_parts);
        row(word).into_iter().chain(parts).collect()
    }
}

/// Rows of a token, at most: the word and its parts, when parts are used at all.
pub(super) fn rows_per_token(config: &TextConfig) -> usize {
    let subwords = &config.subwords;
    let used = !subwords.prefixes.is_empty() || subwords.suffix > 0 || subwords.hyphen_parts;
    1 + if used { subwords.max_parts } else { 0 }
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
        let words = Words::of_texts(["wonderful film", "wondrous awful film"], &config);
        assert_eq!(words.names, ["film", "prefix wond", "suffix ful"]);
        assert_eq!(
            words.encode("wonderful wondering film bad", &config).to_tokens(),
            [vec![2, 3], vec![2], vec![1], vec![]]
        );
    }

    #[test]
    fn a_word_and_a_part_of_the_same_letters_have_rows_of_their_own() {
        let words = Words::of_texts(["made well-made home-made"], &subwords());
        let names = |row: &u32| words.names[*row as usize - 1].as_str();
        let tokens = words.encode("made well-made", &subwords()).to_tokens();
        let named: Vec<Vec<&str>> = tokens.iter().map(|rows| rows.iter().map(names).collect()).collect();
        assert_eq!(named[0], ["made", "suffix ade"]);
        assert_eq!(named[1], ["well-made", "suffix ade", "part made"]);
    }

    #[test]
    fn no_more_parts_than_allowed() {
        let mut config = subwords();
        config.subwords.max_parts = 1;
        let words = Words::of_texts(["wonderful wonderfull awful-ful dreadful-ful"], &config);
        assert_eq!(rows_per_token(&config), 2);
        let tokens = words.encode("wonderful dreadful-ful", &config).to_tokens();
        assert!(tokens.iter().all(|rows| rows.len() == 2));
    }

    #[test]
    fn without_parts_a_token_is_one_row() {
        let config = TextConfig::default();
        assert_eq!(rows_per_token(&config), 1);
        let empty = Words::of_texts(["a b"], &config).encode("  ", &config);
        assert_eq!((empty.n_tokens(), empty.token(0)), (1, &[][..]));
    }
}
