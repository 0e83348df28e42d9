//! Classes of texts, by a model that was loaded.

use std::{
    iter,
    path::{Path, PathBuf},
};

use burn::tensor::{Device, activation::softmax};
use moelt_data::{Encoded, TokenBatch};
use moelt_model::Mode;
use moelt_schema::{Prediction, RunDir, Unit};
use rayon::prelude::*;

use crate::{
    CheckpointError, LoadedModel,
    evaluate::{host, model_input},
    prepared::encode,
    resolve_checkpoint,
};

/// The most texts of a batch.
const BATCH_TEXTS: usize = 512;

/// The most tokens of a batch, unless a single text has more: what a thread holds at a time.
const BATCH_TOKENS: usize = 2048;

/// Texts of a portion for each thread: several batches, so that all threads end at about the same time.
const PORTION_TEXTS: usize = 8 * BATCH_TEXTS;

/// Bytes of text after which a portion is full all the same, for each thread.
const PORTION_BYTES: usize = 1 << 20;

/// Rows of the routers' product, at least. The CPU backend sums a product of no more than 256 values in another order than
/// a larger one (gemm's horizontal kernels); with so many rows there is none.
const ROUTED: usize = 257;

/// Rows of the classifier's product, at least: gemm has a way of its own for a single one and, where it sums more than
/// [`LONG_SUM`] values, for up to 64.
const POOLED: [usize; 2] = [2, 65];

/// Values beyond which gemm cuts a sum.
const LONG_SUM: usize = 512;

/// What a model says of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// The most probable class.
    pub class: String,
    /// Its probability.
    pub probability: f32,
    /// The probability of every class, in the order of the model's classes.
    pub probabilities: Vec<f32>,
    /// What they are the softmax of.
    pub logits: Vec<f32>,
}

impl LoadedModel {
    /// The model of a run that answers: the best checkpoint, or the latest where none counts as best, of [`Self::answering`]. A
    /// checkpoint's own folder does too.
    ///
    /// # Errors
    /// When there is none, or it cannot be read or trusted.
    pub fn open(run: impl AsRef<Path>, device: &Device) -> Result<Self, CheckpointError> {
        Self::load(&resolve_checkpoint(&Self::answering(run.as_ref()))?, device)
    }

    /// The folder of the run whose model answers: the refit of a run, where it has one that is finished, or `run` itself.
    pub fn answering(run: &Path) -> PathBuf {
        let (judged, refit) = (RunDir::new(run), RunDir::new(run).refit());
        let answers = judged.config().is_file() && refit.result().is_file();
        if answers { refit.path().to_owned() } else { run.to_owned() }
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
    ///
    /// All threads of rayon's pool take part. On the CPU a text's answer has the same bits whatever the number of threads
    /// and whatever texts come with it.
    pub fn classify<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Vec<Classification> {
        self.classify_each(texts).collect()
    }

    /// [`Self::classify`] for texts that need not all fit into memory: an iterator over their answers, in order. It takes
    /// some thousand texts at a time, as many as keep all threads busy.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let model = moelt_train::LoadedModel::open("runs/mine", &burn::tensor::Device::default())?;
    /// let texts = std::io::stdin().lines().map_while(Result::ok);
    /// for answer in model.classify_each(texts) {
    ///     println!("{} {:.3}", answer.class, answer.probability);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn classify_each<I>(&self, texts: I) -> impl Iterator<Item = Classification>
    where
        I: IntoIterator,
        I::Item: AsRef<str> + Sync,
    {
        let mut texts = texts.into_iter();
        let portions =
            iter::from_fn(move || Some(next_portion(&mut texts)).filter(|portion| !portion.is_empty()));
        portions.flat_map(|portion| self.classify_portion(&portion))
    }

    /// Texts of like length share a batch; every batch is a task.
    fn classify_portion<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Vec<Classification> {
        let texts: Vec<Encoded> = texts.par_iter().map(|text| self.encode(text.as_ref(), None)).collect();
        let batches = batches(&texts);
        let answers = batches.par_iter().flat_map_iter(|batch| self.classify_batch(&texts, batch));
        let mut answers: Vec<(usize, Classification)> = answers.collect();
        answers.sort_unstable_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// The answers to the texts at some places, each with its place.
    fn classify_batch(&self, texts: &[Encoded], places: &[usize]) -> Vec<(usize, Classification)> {
        let filler = Encoded::from_tokens(&[]).in_groups(texts[places[0]].groups().to_vec());
        let batch: Vec<_> = places.iter().map(|&place| (place, &texts[place], 0)).collect();
        let fillers = self.fillers(&batch);
        let batch = [batch, vec![(usize::MAX, &filler, 0); fillers]].concat();
        let logits = self.evaluated.forward(&model_input(&TokenBatch::new(&batch)), Mode::Eval).logits;
        let (probabilities, logits) = (host(softmax(logits.clone(), 1)), host(logits));
        let n_classes = self.classes().len();
        let rows = probabilities.chunks_exact(n_classes).zip(logits.chunks_exact(n_classes));
        let answers = rows.map(|(p, logits)| self.classification(p.to_vec(), logits.to_vec()));
        places.iter().copied().zip(answers).collect()
    }

    /// Empty texts that a batch needs so that its texts are computed as in any other.
    fn fillers(&self, batch: &[(usize, &Encoded, u32)]) -> usize {
        let tokens: usize = batch.iter().map(|(_, text, _)| text.n_tokens()).sum();
        let model = &self.checkpoint.config.model;
        let routed = match model.unit {
            Unit::Token => tokens,
            Unit::Sequence => batch.len(),
        };
        let pooled = POOLED[usize::from(model.pooled_width() > LONG_SUM)];
        ROUTED.saturating_sub(routed).max(pooled.saturating_sub(batch.len()))
    }

    fn classification(&self, probabilities: Vec<f32>, logits: Vec<f32>) -> Classification {
        let prediction = Prediction { label: 0, domain: None, probabilities };
        let class = prediction.predicted() as usize;
        Classification {
            class: self.classes()[class].clone(),
            probability: prediction.probabilities[class],
            probabilities: prediction.probabilities,
            logits,
        }
    }
}

/// The texts that are taken next: enough to keep all threads busy, or what is left.
fn next_portion<T: AsRef<str>>(texts: &mut impl Iterator<Item = T>) -> Vec<T> {
    let (threads, mut portion, mut bytes) = (rayon::current_num_threads(), Vec::new(), 0);
    while portion.len() < threads * PORTION_TEXTS
        && bytes < threads * PORTION_BYTES
        && let Some(text) = texts.next()
    {
        bytes += text.as_ref().len();
        portion.push(text);
    }
    portion
}

/// Places of texts by length, the shortest first, in batches.
fn batches(texts: &[Encoded]) -> Vec<Vec<usize>> {
    let mut places: Vec<usize> = (0..texts.len()).collect();
    places.sort_by_key(|place| texts[*place].n_tokens());
    let (mut batches, mut tokens) = (Vec::<Vec<usize>>::new(), 0);
    for place in places {
        tokens += texts[place].n_tokens();
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_TEXTS && tokens <= BATCH_TOKENS => batch.push(place),
            _ => {
                tokens = texts[place].n_tokens();
                batches.push(vec![place]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_like_length_and_bounded() {
        let text = |n: usize| Encoded::from_tokens(&vec![vec![1]; n]);
        let lengths = [3, 1, 2, BATCH_TOKENS - 5, BATCH_TOKENS + 1];
        let texts: Vec<Encoded> = lengths.into_iter().map(text).collect();
        assert_eq!(batches(&texts), [vec![1, 2, 0], vec![3], vec![4]]);
        assert!(batches(&[]).is_empty());
        let many: Vec<Encoded> = (0..BATCH_TEXTS + 1).map(|_| text(1)).collect();
        assert_eq!(batches(&many).iter().map(Vec::len).collect::<Vec<_>>(), [BATCH_TEXTS, 1]);
    }
}
