//! What a reader of results should know about texts: repeated ones, shared ones, ones that are cut.

use std::{
    collections::{HashMap, HashSet},
    iter::Sum,
};

use moelt_schema::TextConfig;

use crate::{
    Example,
    key::keys,
    tokenizer::{all_tokens, at_most_tokens},
};

/// A note about texts that occur more than once, if there are any. They stay. `keys` are those of the examples.
pub(crate) fn repeats(examples: &[Example], keys: &[String]) -> Option<String> {
    // Occurrences, and the label while it is the same in all of them.
    let mut seen: HashMap<&str, (usize, Option<u32>)> = HashMap::new();
    for (example, key) in examples.iter().zip(keys) {
        let (count, label) = seen.entry(key).or_insert((0, Some(example.label)));
        *count += 1;
        *label = label.filter(|&label| label == example.label);
    }
    let repeated = seen.values().filter(|(count, _)| *count > 1).count();
    let contradictory = seen.values().filter(|(_, label)| label.is_none()).count();
    (repeated > 0)
        .then(|| format!("{repeated} texts are repeated, {contradictory} of them with different labels"))
}

/// A note for each two of three splits, given by name, that have texts in common.
pub(crate) fn shared(splits: [(&str, &[Example]); 3], config: &TextConfig) -> Vec<String> {
    let keyed = splits.map(|(name, examples)| (name, keys(examples, config)));
    let pair = |(one, other): (usize, usize)| {
        let ((one, keys), (other, others)) = (&keyed[one], &keyed[other]);
        let others: HashSet<&String> = others.iter().collect();
        let shared = keys.iter().filter(|key| others.contains(key)).count();
        (shared > 0).then(|| format!("{one}: {shared} of {} texts are also in {other}", keys.len()))
    };
    [(1, 0), (2, 0), (2, 1)].into_iter().filter_map(pair).collect()
}

/// A note when `text.max_tokens` cuts some of the texts of `what`, a file or a split.
///
/// ```
/// use moelt_schema::TextConfig;
/// let config = TextConfig { max_tokens: 2, ..TextConfig::default() };
/// let note = moelt_data::cut_note("a.csv", ["good", "a good, long film"], &config).unwrap();
/// assert_eq!(note, "a.csv: 1 of 2 texts are cut at text.max_tokens = 2; the longest has 5 tokens");
/// assert_eq!(moelt_data::cut_note("a.csv", ["good", "a film"], &config), None);
/// ```
pub fn cut_note<'a>(
    what: &str,
    texts: impl IntoIterator<Item = &'a str>,
    config: &TextConfig,
) -> Option<String> {
    let all: CutTexts = texts.into_iter().map(|text| CutTexts::of(text, config)).sum();
    all.note(what, config)
}

/// How many of some texts `text.max_tokens` cuts: of one, or summed over several.
///
/// ```
/// use moelt_data::CutTexts;
/// use moelt_schema::TextConfig;
/// let config = TextConfig { max_tokens: 2, ..TextConfig::default() };
/// let cut: CutTexts = ["good", "a good film"].map(|text| CutTexts::of(text, &config)).into_iter().sum();
/// let note = "a.csv: 1 of 2 texts are cut at text.max_tokens = 2; the longest has 3 tokens";
/// assert_eq!(cut.note("a.csv", &config).unwrap(), note);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutTexts {
    n: usize,
    cut: usize,
    /// Tokens of the longest text; 0 where none is cut.
    longest: usize,
}

impl CutTexts {
    /// Of one text.
    pub fn of(text: &str, config: &TextConfig) -> Self {
        if at_most_tokens(text).is_some_and(|most| most <= config.max_tokens) {
            return Self { n: 1, ..Self::default() };
        }
        let length = all_tokens(text, config).len();
        let is_cut = length > config.max_tokens;
        Self { n: 1, cut: usize::from(is_cut), longest: if is_cut { length } else { 0 } }
    }

    /// What there is to say of the texts of `what`, a file or a split; nothing where none is cut.
    pub fn note(self, what: &str, config: &TextConfig) -> Option<String> {
        let (Self { n, cut, longest }, max) = (self, config.max_tokens);
        (cut > 0).then(|| {
            format!(
                "{what}: {cut} of {n} texts are cut at text.max_tokens = {max}; the longest has {longest} tokens"
            )
        })
    }
}

impl Sum for CutTexts {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            n: sum.n + one.n,
            cut: sum.cut + one.cut,
            longest: sum.longest.max(one.longest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(rows: &[(&str, u32)]) -> (Vec<Example>, Vec<String>) {
        let example =
            |&(text, label): &(&str, u32)| Example { text: text.into(), label, domain: None, time: None };
        let examples: Vec<Example> = rows.iter().map(example).collect();
        let keys = keys(&examples, &TextConfig::default());
        (examples, keys)
    }

    #[test]
    fn repeats_are_texts_not_rows() {
        let note = |rows| {
            let (examples, keys) = examples(rows);
            repeats(&examples, &keys)
        };
        assert_eq!(note(&[("a", 0), ("b", 0)]), None);
        let repeated = note(&[("a", 0), ("A", 0), (" a", 0), ("b", 1), ("b", 0), ("Ｂ", 1), ("c", 1)]);
        assert_eq!(repeated.unwrap(), "2 texts are repeated, 1 of them with different labels");
    }

    #[test]
    fn shared_texts_are_counted_pair_by_pair_however_they_are_written() {
        let rows: [&[(&str, u32)]; 3] =
            [&[("a b", 0), ("c", 1)], &[("d", 0)], &[("A  B", 0), ("Ｄ", 1), ("e", 1)]];
        let [train, validation, test] = rows.map(|rows| examples(rows).0);
        let notes = |test| {
            let splits = [("train", &train[..]), ("validation", &validation), ("test.csv", test)];
            shared(splits, &TextConfig::default())
        };
        let expected =
            ["test.csv: 1 of 3 texts are also in train", "test.csv: 1 of 3 texts are also in validation"];
        assert_eq!(notes(&test), expected);
        assert!(notes(&test[2..]).is_empty());
    }
}
