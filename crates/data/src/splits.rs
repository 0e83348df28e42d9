//! Labelled texts in three splits: what every data set ends as.

use std::collections::BTreeSet;

use moelt_schema::{Digest, Drift, SplitSizes, TextConfig};

use crate::{DataError, Example, cut_note};

/// Labelled texts in three splits. What chooses sees `train` and `validation`; `test` is read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// Names of the classes, in label order; at least two.
    pub classes: Vec<String>,
    /// Names of the domains, by the number that an example has; empty where examples have none.
    pub domains: Vec<String>,
    /// To train on.
    pub train: Vec<Example>,
    /// To choose on; empty: nothing is chosen, the last checkpoint counts.
    pub validation: Vec<Example>,
    /// To judge on; empty: nothing is judged.
    pub test: Vec<Example>,
    /// The accuracy no classifier can beat, when it is known.
    pub bayes_accuracy: Option<f64>,
    /// Which domains are live when, if that changes during training.
    pub drift: Option<Drift>,
    /// What a reader of the run should know: repeated texts, contradictory labels, what was left out, guessed
    /// or cut.
    pub notes: Vec<String>,
}

impl Splits {
    /// Refuses splits that nothing can be trained on, or that do not fit each other.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), DataError> {
        let wrong = |message: String| Err(DataError::Splits(message));
        let n_classes = self.classes.len();
        if n_classes < 2 {
            return wrong(format!("there are {n_classes} classes; two at least are needed"));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.classes.iter().find(|class| !names.insert(*class)) {
            return wrong(format!("class `{twice}` is there twice"));
        }
        if self.train.is_empty() {
            return wrong("there is no text to train on".to_owned());
        }
        for (name, split) in self.named() {
            if let Some(at) = split.iter().position(|example| example.label as usize >= n_classes) {
                let label = split[at].label;
                return wrong(format!(
                    "example {at} of the {name} split has label {label} of {n_classes} classes"
                ));
            }
            let n_domains = self.domains.len();
            let beyond = |example: &Example| example.domain.filter(|domain| *domain as usize >= n_domains);
            if let Some((at, domain)) = (0..).zip(split).find_map(|(at, e)| Some((at, beyond(e)?))) {
                return wrong(format!("example {at} of the {name} split has domain {domain} of {n_domains}"));
            }
        }
        Ok(())
    }

    /// With a note about each split of which texts are cut.
    pub(crate) fn with_cut_notes(mut self, config: &TextConfig) -> Self {
        let note = |(name, split): (&str, &[Example])| {
            let texts = split.iter().map(|example| example.text.as_str());
            cut_note(&format!("{name} split"), texts, config)
        };
        let notes: Vec<String> = self.named().into_iter().filter_map(note).collect();
        self.notes.extend(notes);
        self
    }

    /// Refuses splits that nothing can be chosen or judged on.
    ///
    /// # Errors
    /// Which of them has no text.
    pub fn check_held_out(&self) -> Result<(), DataError> {
        match self.named().into_iter().find(|(_, split)| split.is_empty()) {
            None => Ok(()),
            Some((name, _)) => {
                Err(DataError::Splits(format!("the {name} split is empty; there are too few texts")))
            }
        }
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
            domains: vec![],
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
    fn splits_that_cannot_be_used_are_refused() {
        let refused = |change: fn(&mut Splits)| {
            let mut splits = dataset();
            change(&mut splits);
            splits.check().unwrap_err().to_string()
        };
        assert!(dataset().check().is_ok());
        let whole = Splits { test: vec![], ..dataset() };
        assert!(whole.check().is_ok() && dataset().check_held_out().is_ok());
        let empty = whole.check_held_out().unwrap_err().to_string();
        assert!(empty.contains("the test split is empty"), "{empty}");
        assert!(refused(|s| s.train.clear()).contains("there is no text to train on"));
        assert!(
            refused(|s| s.train[1].label = 2).contains("example 1 of the training split has label 2 of 2")
        );
        assert!(refused(|s| s.classes[1] = "no".into()).contains("class `no` is there twice"));
    }
}
