//! Labelled texts that a program holds in memory.

use std::collections::BTreeSet;

use moelt_schema::TextConfig;

use crate::{DataError, Dataset, Example, Splits, key::keys, notes::repeats, split::hold_out};

/// Labelled texts in memory. A tenth is held out for validation and a tenth for the test: stratified by class, and
/// texts that a model cannot tell apart on one side. The classes are those that occur, sorted.
///
/// ```
/// use moelt_data::{Dataset, OwnTexts};
/// let rain = (0..40).map(|i| (format!("rain {i}"), "bad"));
/// let sun = (0..40).map(|i| (format!("sun {i}"), "good"));
/// let splits = OwnTexts::new(rain.chain(sun)).splits(&Default::default())?;
/// assert_eq!((splits.classes.len(), splits.sizes().train, splits.sizes().test), (2, 64, 8));
/// # Ok::<(), moelt_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTexts {
    texts: Vec<(String, String)>,
    seed: u64,
}

impl OwnTexts {
    /// Pairs of a text and its class.
    pub fn new<T: Into<String>, C: Into<String>>(texts: impl IntoIterator<Item = (T, C)>) -> Self {
        Self { texts: texts.into_iter().map(|(text, class)| (text.into(), class.into())).collect(), seed: 0 }
    }

    /// Which texts are held out depends on this seed and on nothing else. Default: 0
    #[must_use]
    pub fn split_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}

impl Dataset for OwnTexts {
    /// # Errors
    /// When there are fewer than two classes, or too few texts to hold any out.
    fn splits(&self, text: &TextConfig) -> Result<Splits, DataError> {
        let classes: BTreeSet<&String> = self.texts.iter().map(|(_, class)| class).collect();
        let classes: Vec<String> = classes.into_iter().cloned().collect();
        let label = |class: &String| classes.binary_search(class).unwrap_or_default() as u32;
        let examples: Vec<Example> =
            self.texts.iter().map(|(text, class)| Example::new(text.as_str(), label(class))).collect();
        let keys = keys(&examples, text);
        let notes = repeats(&examples, &keys).into_iter().collect();
        let (train, [validation, test]) = hold_out(examples, &keys, [0.1, 0.1], self.seed);
        let splits = Splits {
            classes,
            domains: Vec::new(),
            train,
            validation,
            test,
            bayes_accuracy: None,
            drift: None,
            notes,
        };
        splits.check()?;
        splits.check_held_out()?;
        Ok(splits.with_cut_notes(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(texts: impl IntoIterator<Item = (String, &'static str)>, max_tokens: usize) -> Splits {
        OwnTexts::new(texts).splits(&TextConfig { max_tokens, ..TextConfig::default() }).unwrap()
    }

    #[test]
    fn texts_are_held_out_by_class() {
        let texts = (0..40).map(|i| (format!("text {i}"), if i % 2 == 0 { "even" } else { "odd" }));
        let splits = splits(texts, 9);
        assert_eq!((splits.classes, splits.train.len()), (vec!["even".to_owned(), "odd".to_owned()], 32));
        assert_eq!(splits.test.iter().filter(|example| example.label == 1).count(), 2);
        assert!(splits.notes.is_empty());
    }

    #[test]
    fn texts_that_are_cut_to_the_same_tokens_stay_on_one_side() {
        let texts =
            (0..60).map(|i| (format!("{} {} tail {i}", ["a", "b"][i % 2], i % 30 / 2), ["x", "y"][i % 2]));
        let splits = splits(texts, 2);
        let begins = |split: &[Example]| -> BTreeSet<String> {
            split.iter().map(|example| example.text.split(" tail").next().unwrap().to_owned()).collect()
        };
        assert!(begins(&splits.train).is_disjoint(&begins(&splits.test)));
        assert!(splits.notes[0].starts_with("30 texts are repeated"), "{:?}", splits.notes);
        assert!(splits.notes[1].contains("texts are cut at text.max_tokens = 2"), "{:?}", splits.notes);
    }

    #[test]
    fn too_few_texts_or_classes_are_refused() {
        let refused = |texts: &[(&str, &str)]| {
            OwnTexts::new(texts.iter().copied()).splits(&TextConfig::default()).unwrap_err().to_string()
        };
        assert!(refused(&[("a", "x")]).contains("there are 1 classes"));
        let few = refused(&[("a", "x"), ("b", "y")]);
        assert!(few.contains("the validation split is empty; there are too few texts"), "{few}");
    }
}
