//! Classes of texts, by a model that was loaded.

use std::path::Path;

use burn::tensor::Device;
use moelt_data::Encoded;

use crate::{CheckpointError, LoadedModel, Split, predict, prepared::encode, resolve_checkpoint};

/// What a model says of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// The most probable class.
    pub class: String,
    /// Its probability.
    pub probability: f32,
    /// The probability of every class, in the order of the model's classes.
    pub probabilities: Vec<f32>,
}

impl LoadedModel {
    /// The best checkpoint of a run, or the latest where none counts as best; a checkpoint's own folder does too.
    ///
    /// # Errors
    /// When there is none, or it cannot be read or trusted.
    pub fn open(run: impl AsRef<Path>, device: &Device) -> Result<Self, CheckpointError> {
        Self::load(&resolve_checkpoint(run.as_ref())?, device)
    }

    /// Names of the classes, in the order of their probabilities.
    pub fn classes(&self) -> &[String] {
        &self.checkpoint.manifest.classes
    }

    /// A text as the model takes it. Where experts are assigned by domains, that of the text decides, or what its n-grams
    /// make of it where none is named.
    pub fn encode(&self, text: &str, domain: Option<u32>) -> Encoded {
        encode(&self.vocabulary, self.grouping.as_ref(), text, domain)
    }

    /// Classifies texts, with averaged weights where the model has some. Texts are cut at `text.max_tokens`, as in
    /// training.
    pub fn classify<T: AsRef<str>>(&self, texts: &[T]) -> Vec<Classification> {
        let n = texts.len();
        let split = Split {
            texts: texts.iter().map(|text| self.encode(text.as_ref(), None)).collect(),
            labels: vec![0; n],
            domains: vec![None; n],
            times: vec![None; n],
        };
        let classification = |prediction: moelt_schema::Prediction| {
            let class = prediction.predicted() as usize;
            Classification {
                class: self.classes()[class].clone(),
                probability: prediction.probabilities[class],
                probabilities: prediction.probabilities,
            }
        };
        predict(&self.evaluated(), &split).into_iter().map(classification).collect()
    }
}
