//! A data set ready to train on: vocabulary built, texts encoded.

use moelt_data::{Batches, Encoded, Example, Vocabulary, load};
use moelt_schema::{Digest, RunConfig, SplitSizes, Streams};

use crate::{Split, TrainError};

/// The three splits, encoded with a vocabulary of the training texts.
pub struct Prepared {
    /// Names of the classes, in label order.
    pub classes: Vec<String>,
    /// Built from training texts only.
    pub vocabulary: Vocabulary,
    /// Training batches, a pure function of the step.
    pub train: Batches,
    /// For everything that chooses.
    pub selection: Split,
    /// For the one reading at the end.
    pub verdict: Split,
    /// Hash of all examples.
    pub digest: Digest,
    /// Examples per split.
    pub sizes: SplitSizes,
    /// The accuracy no classifier can beat, when known.
    pub bayes_accuracy: Option<f64>,
    /// What a reader of the results should know about the data.
    pub notes: Vec<String>,
}

impl Prepared {
    /// Reads or generates the data set of a config.
    ///
    /// # Errors
    /// When the data cannot be read.
    pub fn new(config: &RunConfig) -> Result<Self, TrainError> {
        let dataset = load(&config.data)?;
        let vocabulary = Vocabulary::build(dataset.train.iter().map(|e| e.text.as_str()), &config.text);
        let encode = |examples: &[Example]| -> Vec<Encoded> {
            examples.iter().map(|example| vocabulary.encode(&example.text)).collect()
        };
        let split = |examples: &[Example]| Split {
            texts: encode(examples),
            labels: examples.iter().map(|example| example.label).collect(),
            domains: examples.iter().map(|example| example.domain).collect(),
        };
        let labels = dataset.train.iter().map(|example| example.label).collect();
        let streams = Streams::new(config.seed);
        Ok(Self {
            train: Batches::new(encode(&dataset.train), labels, config.train.batch_size, streams),
            selection: split(&dataset.selection),
            verdict: split(&dataset.verdict),
            digest: dataset.digest(),
            sizes: dataset.sizes(),
            classes: dataset.classes,
            bayes_accuracy: dataset.bayes_accuracy,
            notes: dataset.notes,
            vocabulary,
        })
    }
}
