//! What every data set ends as: labelled texts in three splits.

use moelt_schema::{DataConfig, DatasetKind, Digest, Drift, SplitSizes, TextConfig};
use serde::Serialize;

use crate::{DataError, csv, cut_note, planted, sst2};

/// A text and its class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The text, as it came.
    pub text: String,
    /// Index into [`Dataset::classes`].
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
pub struct Dataset {
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

impl Dataset {
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

/// Reads or generates the data set that a config names. No split is empty. `text` says which texts a model cannot
/// tell apart: they are on one side of a split.
///
/// ```
/// use moelt_schema::{DataConfig, PlantedConfig, TextConfig};
/// let planted = PlantedConfig { train: 100, validation: 10, test: 20, ..PlantedConfig::default() };
/// let data = moelt_data::load(&DataConfig { planted, ..DataConfig::default() }, &TextConfig::default())?;
/// assert_eq!(data.sizes().test, 20);
/// assert!((data.bayes_accuracy.unwrap() - 0.968_381).abs() < 1e-6);
/// # Ok::<(), moelt_data::DataError>(())
/// ```
///
/// # Errors
/// When a file is missing or malformed (the message names file, line and fix), or when the config
/// cannot be met.
pub fn load(config: &DataConfig, text: &TextConfig) -> Result<Dataset, DataError> {
    let mut data = match config.kind {
        DatasetKind::Planted => planted::generate(&config.planted)?,
        DatasetKind::Sst2 => sst2::load(&config.sst2, text)?,
        DatasetKind::Csv => csv::load(&config.csv, text)?,
    };
    for (name, split) in
        [("training", &data.train), ("validation", &data.validation), ("test", &data.test)]
    {
        let texts = split.iter().map(|example| example.text.as_str());
        data.notes.extend(cut_note(&format!("{name} split"), texts, text));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(text: &str, label: u32) -> Example {
        Example { text: text.into(), label, domain: None, time: None }
    }

    fn dataset() -> Dataset {
        Dataset {
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
        assert_eq!(digest, Dataset { notes: vec!["x".into()], ..dataset() }.digest());
        assert_ne!(digest, Dataset { validation: vec![], ..dataset() }.digest());
        assert_ne!(digest, Dataset { train: vec![example("a", 1), example("b", 1)], ..dataset() }.digest());
        let sizes = SplitSizes { train: 2, validation: 1, test: 1 };
        assert_eq!(dataset().sizes(), sizes);
    }
}
