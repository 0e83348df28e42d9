//! The n-grams of a text, and which of them are told apart.

use std::{cmp::Reverse, collections::HashMap};

use super::MAX_GRAMS;
use crate::tokenizer::normalised;

/// Characters of the longest n-gram.
const LONGEST: usize = 3;
/// Characters of a text that are read, blanks included: what a group is shows early, and a text of any length costs
/// little.
const MAX_LETTERS: usize = 512;

/// One to three characters, in 21 bits each. No character is 0, so that a length is part of the number.
type Gram = u64;

/// The n-grams that are told apart, and the row of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GramTable {
    names: Vec<String>,
    rows: HashMap<Gram, u16>,
}

impl GramTable {
    /// The most frequent n-grams of some texts, the most frequent first and alphabetically among equals; and each text
    /// as rows.
    pub(super) fn of_texts(texts: &[&str]) -> (Self, Vec<Vec<u16>>) {
        let mut counts: HashMap<Gram, u64> = HashMap::new();
        for text in texts {
            for_each_gram(&letters(text), |gram| *counts.entry(gram).or_default() += 1);
        }
        let mut counts: Vec<(Gram, String, u64)> =
            counts.into_iter().map(|(gram, count)| (gram, name(gram), count)).collect();
        counts.sort_unstable_by(|(_, a, n), (_, b, m)| (Reverse(n), a).cmp(&(Reverse(m), b)));
        counts.truncate(MAX_GRAMS);
        let rows = counts.iter().zip(0..).map(|((gram, ..), row)| (*gram, row)).collect();
        let table = Self { names: counts.into_iter().map(|(_, name, _)| name).collect(), rows };
        let rows = texts.iter().map(|text| table.encode(text)).collect();
        (table, rows)
    }

    /// The table of n-grams in this order, or why there is none.
    pub(super) fn of_names(names: Vec<String>) -> Result<Self, String> {
        if names.len() > MAX_GRAMS {
            return Err(format!("`grams`: {} n-grams; at most {MAX_GRAMS} are possible", names.len()));
        }
        let mut rows = HashMap::with_capacity(names.len());
        for (name, row) in names.iter().zip(0..) {
            let letters: Vec<char> = name.chars().take(LONGEST + 1).collect();
            if letters.is_empty() || letters.len() > LONGEST {
                return Err(format!("`grams[{row}]`: must have 1 to {LONGEST} characters"));
            }
            if let Some(first) = rows.insert(packed(&letters), row) {
                return Err(format!("`grams[{row}]`: `{name}` is `grams[{first}]` already"));
            }
        }
        Ok(Self { names, rows })
    }

    /// The n-grams in row order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Rows of the known n-grams of a text, with repetitions.
    pub(super) fn encode(&self, text: &str) -> Vec<u16> {
        let mut rows = Vec::new();
        for_each_gram(&letters(text), |gram| rows.extend(self.rows.get(&gram)));
        rows
    }
}

/// The characters of a text, in lower case and between blanks, at most [`MAX_LETTERS`].
fn letters(text: &str) -> Vec<char> {
    let text = normalised(text);
    let tokens = || text.split_whitespace();
    let spelled = tokens().all(is_one_character);
    let mut letters = vec![' '];
    for token in tokens() {
        if letters.len() >= MAX_LETTERS {
            break;
        }
        match token {
            "_" if spelled => letters.push(' '),
            token => letters.extend(token.chars().take(MAX_LETTERS).flat_map(char::to_lowercase)),
        }
        letters.extend((!spelled).then_some(' '));
    }
    letters.extend(spelled.then_some(' '));
    letters.truncate(MAX_LETTERS);
    letters
}

/// One character, or a run of it: Unicode's form NFKC makes three periods of `…`.
fn is_one_character(token: &str) -> bool {
    let mut chars = token.chars();
    chars.next().is_some_and(|first| chars.all(|other| other == first))
}

fn for_each_gram(letters: &[char], mut f: impl FnMut(Gram)) {
    for start in 0..letters.len() {
        let longest = LONGEST.min(letters.len() - start);
        (1..=longest).for_each(|length| f(packed(&letters[start..start + length])));
    }
}

fn packed(letters: &[char]) -> Gram {
    letters.iter().fold(0, |gram, &letter| gram << 21 | (u64::from(letter) + 1))
}

fn name(gram: Gram) -> String {
    let parts = (0..LONGEST).rev().map(|at| (gram >> (21 * at)) & 0x1f_ffff);
    parts.filter(|&part| part > 0).filter_map(|part| char::from_u32(part as u32 - 1)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(text: &str) -> String {
        letters(text).into_iter().collect()
    }

    #[test]
    fn written_and_spelled_texts_have_the_same_letters() {
        assert_eq!(spelled(" A good\t film_x "), " a good film_x ");
        assert_eq!(spelled("a _ G o o d _ f i l m …"), " a good film... ");
        assert_eq!(spelled("e\u{301} t e\u{301}"), " été ");
        assert_eq!((spelled(""), spelled(" _ ")), ("  ".to_owned(), "   ".to_owned()));
        assert_eq!(letters(&"ab ".repeat(1000)).len(), MAX_LETTERS);
    }

    #[test]
    fn the_most_frequent_n_grams_come_first() {
        let (table, rows) = GramTable::of_texts(&["ab b"]);
        // The letters are ` ab b `: three blanks; `b` and `b ` twice; the rest once.
        let names = [" ", "b", "b ", " a", " ab", " b", " b ", "a", "ab", "ab ", "b b"];
        assert_eq!(table.names(), names);
        assert_eq!(rows[0].len(), 6 + 5 + 4);
        assert_eq!(table.encode("c"), [0, 0]);
    }

    proptest! {
        #[test]
        fn names_read_back(text in "\\PC{0,20}") {
            let (table, _) = GramTable::of_texts(&[&text]);
            prop_assert_eq!(GramTable::of_names(table.names().to_vec()), Ok(table));
        }
    }
}
