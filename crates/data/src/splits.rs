//! Labelled texts in three splits: what every data set ends as.

use std::collections::BTreeSet;

use moelt_schema::{Digest, Drift, SplitSizes, TextConfig};
use serde::Serialize;

use crate::{DataError, key::keys, split::hold_out};

/// A text and its class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The text, as it came.
    pub text: String,
    /// Index into [`Splits::classes`].
    pub label: u32,
    /// Where the text comes from, when the data set knows it.
    pub domain: Option<u32>,
    /// At which evaluation time the model is asked about it, from 1 to [`Drift::times`]; only in the
    /// validation and test splits of a data set that drifts.
    #[serde(skip_serializing_if = "Option::is_none")] // The hash of data that does not drift is as ever.
    pub time: Option<u32>,
}

/// Labelled texts in three splits. What chooses sees `train` and `validation`; `test` is read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// Names of the classes, in label order; at least two.
    pub classes: Vec<String>,
    /// To train on.
    pub train: Vec<Example>,
    /// To choose on.
    pub validation: Vec<Example>,
    /// To judge on.
    pub test: Vec<Example>,
    /// The accuracy no classifier can beat, when it is known.
    pub bayes_accuracy: Option<f64>,
    /// Which domains are live when, if that changes during training.
    pub drift: Option<Drift>,
    /// What a reader of the run should know: repeated texts, contradictory labels, what was left out, guessed
    /// or cut.
    pub notes: Vec<String>,
}

impl Example {
    /// A text of a class, by its index into [`Splits::classes`].
    pub fn new(text: impl Into<String>, label: u32) -> Self {
        Self { text: text.into(), label, domain: None, time: None }
    }
}

impl Splits {
    /// Labelled texts in memory, of which a tenth is held out for validation and a tenth for the test: stratified by
    /// class, and texts that a model cannot tell apart on one side. Which texts those are depends on `seed` alone.
    /// The classes are those that occur, sorted.
    ///
    /// # Errors
    /// When there are fewer than two classes, or too few texts to hold any out.
    pub fn of_texts<T: Into<String>, C: Into<String>>(
        texts: impl IntoIterator<Item = (T, C)>,
        seed: u64,
    ) -> Result<Self, DataError> {
        let texts: Vec<(String, String)> =
            texts.into_iter().map(|(text, class)| (text.into(), class.into())).collect();
        let classes: BTreeSet<String> = texts.iter().map(|(_, class)| class.clone()).collect();
        let classes: Vec<String> = classes.into_iter().collect();
        let label = |class: &String| classes.binary_search(class).unwrap_or_default() as u32;
        let examples: Vec<Example> =
            texts.into_iter().map(|(text, class)| Example::new(text, label(&class))).collect();
        let keys = keys(&examples, &TextConfig::default());
        let (train, [validation, test]) = hold_out(examples, &keys, [0.1, 0.1], seed);
        let splits =
            Self { classes, train, validation, test, bayes_accuracy: None, drift: None, notes: Vec::new() };
        splits.check()?;
        Ok(splits)
    }

    /// Refuses splits that nothing can be trained or judged on.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), DataError> {
        let wrong = |message: String| Err(DataError::Splits(message));
        let n_classes = self.classes.len();
        if n_classes < 2 {
            return wrong(format!("there are {n_classes} classes; two at least are needed"));
        }
        for (name, split) in self.named() {
            if split.is_empty() {
                return wrong(format!("the {name} split is empty; give it some texts"));
            }
            if let Some(at) = split.iter().position(|example| example.label as usize >= n_classes) {
                let label = split[at].label;
                return wrong(format!(
                    "example {at} of the {name} split has label {label} of {n_classes} classes"
                ));
            }
        }
        Ok(())
    }

    /// The splits with their names.
    pub(crate) fn named(&self) -> [(&'static str, &[Example]); 3] {
        [("training", &self.train), ("validation", &self.validation), ("test", &self.test)]
    }

    /// Hash of classes, examples and drift: two runs with the same hash saw the same data.
    pub fn digest(&self) -> Digest {
        let data = (&self.classes, &self.train, &self.validation, &self.test);
        match &self.drift {
            None => Digest::of_json(&data),
            Some(drift) => Digest::of_json(&(data, drift)),
        }
    }

    /// Examples per split.
    pub fn sizes(&self) -> SplitSizes {
        SplitSizes { train: self.train.len(), validation: self.validation.len(), test: self.test.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(text: &str, label: u32) -> Example {
        Example { text: text.into(), label, domain: None, time: None }
    }

    fn dataset() -> Splits {
        Splits {
            classes: vec!["no".into(), "yes".into()],
            train: vec![example("a", 0), example("b", 1)],
            validation: vec![example("c", 0)],
            test: vec![example("d", 1)],
            bayes_accuracy: None,
            drift: None,
            notes: vec![],
        }
    }

    #[test]
    fn the_digest_sees_examples_and_splits_but_no_notes() {
        let digest = dataset().digest();
        assert_eq!(digest, Splits { notes: vec!["x".into()], ..dataset() }.digest());
        assert_ne!(digest, Splits { validation: vec![], ..dataset() }.digest());
        assert_ne!(digest, Splits { train: vec![example("a", 1), example("b", 1)], ..dataset() }.digest());
        let sizes = SplitSizes { train: 2, validation: 1, test: 1 };
        assert_eq!(dataset().sizes(), sizes);
    }

    #[test]
    fn texts_in_memory_are_held_out_by_class() {
        let texts = (0..40).map(|i| (format!("text {i}"), if i % 2 == 0 { "even" } else { "odd" }));
        let splits = Splits::of_texts(texts, 1).unwrap();
        assert_eq!(splits.classes, ["even", "odd"]);
        assert_eq!(splits.sizes(), SplitSizes { train: 32, validation: 4, test: 4 });
        assert_eq!(splits.test.iter().filter(|example| example.label == 1).count(), 2);
    }

    #[test]
    fn splits_that_nothing_can_be_judged_on_are_refused() {
        let refused = |change: fn(&mut Splits)| {
            let mut splits = dataset();
            change(&mut splits);
            splits.check().unwrap_err().to_string()
        };
        assert_eq!(dataset().check().map_err(|error| error.to_string()), Ok(()));
        assert!(refused(|s| s.test.clear()).contains("the test split is empty"));
        assert!(
            refused(|s| s.train[1].label = 2).contains("example 1 of the training split has label 2 of 2")
        );
        assert!(Splits::of_texts([("a", "x")], 1).unwrap_err().to_string().contains("there are 1 classes"));
    }
}
