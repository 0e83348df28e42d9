//! Which texts of a treebank are parts of which others.

use std::collections::HashMap;

use moelt_schema::TextConfig;

use crate::{Example, key::key};

/// The distinct token sequences of some examples.
pub(crate) struct Phrases {
    /// By first occurrence; tokens are numbers.
    sequences: Vec<Vec<u32>>,
    /// Where a sequence stands in `sequences`.
    places: HashMap<Vec<u32>, usize>,
    /// Sequence of each example.
    pub(crate) of_example: Vec<usize>,
}

impl Phrases {
    /// Collects the phrases of examples: the tokens of their keys, without a cut.
    pub(crate) fn of(examples: &[Example], config: &TextConfig) -> Self {
        let config = TextConfig { max_tokens: usize::MAX, ..config.clone() };
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut phrases = Self { sequences: Vec::new(), places: HashMap::new(), of_example: Vec::new() };
        for example in examples {
            let number = |token: &str| {
                let next = numbers.len() as u32;
                *numbers.entry(token.to_owned()).or_insert(next)
            };
            let sequence: Vec<u32> = key(&example.text, &config).split(' ').map(number).collect();
            let next = phrases.sequences.len();
            let place = *phrases.places.entry(sequence.clone()).or_insert(next);
            if place == next {
                phrases.sequences.push(sequence);
            }
            phrases.of_example.push(place);
        }
        phrases
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Phrases that are no part of a longer one, by first occurrence.
    pub(crate) fn full_sentences(&self) -> Vec<usize> {
        let mut longest_first: Vec<usize> = (0..self.sequences.len()).collect();
        longest_first.sort_by_key(|&i| std::cmp::Reverse(self.sequences[i].len()));
        let mut is_part = vec![false; self.sequences.len()];
        for i in longest_first {
            // The parts of a part are already known from the longer one.
            if !is_part[i] {
                self.inside(i).filter(|&part| part != i).for_each(|part| is_part[part] = true);
            }
        }
        (0..self.sequences.len()).filter(|&i| !is_part[i]).collect()
    }

    /// Phrases that occur in phrase `i`, itself included.
    fn inside(&self, i: usize) -> impl Iterator<Item = usize> {
        let sequence = &self.sequences[i];
        let starts = 0..sequence.len();
        let spans =
            starts.flat_map(move |start| (start + 1..=sequence.len()).map(move |end| &sequence[start..end]));
        spans.filter_map(|span| self.places.get(span).copied())
    }

    /// For each phrase, whether it is among the chosen.
    pub(crate) fn mark(&self, chosen: impl Iterator<Item = usize>) -> Vec<bool> {
        let mut marks = vec![false; self.sequences.len()];
        chosen.for_each(|i| marks[i] = true);
        marks
    }

    /// For each phrase, whether it occurs in one of the sentences.
    pub(crate) fn mark_inside(&self, sentences: &[usize]) -> Vec<bool> {
        self.mark(sentences.iter().flat_map(|&sentence| self.inside(sentence)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_sentences_are_no_part_of_a_longer_text() {
        let texts = ["a b", "x a b c", "B  c", "a c", "X a b c", "ab", "b c x a b c d"];
        let examples = texts.map(|text| Example { text: text.into(), label: 0, domain: None, time: None });
        let phrases = Phrases::of(&examples, &TextConfig { max_tokens: 1, ..TextConfig::default() });
        assert_eq!(phrases.of_example, [0, 1, 2, 3, 1, 4, 5]);
        // `a c` has the tokens of a longer text but not in one piece; `ab` only its letters.
        assert_eq!(phrases.full_sentences(), [3, 4, 5]);
    }
}
