//! A data set ready to train on: vocabulary built, texts encoded.

use std::{borrow::Cow, fs};

use moelt_data::{Batches, DataError, Dataset, Encoded, Example, Splits, Vocabulary};
use moelt_schema::{
    Budget, ConfigFault, Digest, Drift, MAX_STEPS, PretrainedFiles, RunConfig, SplitSizes, Streams, TaskStart,
};
use rayon::prelude::*;

use crate::{Grouping, Split, TrainError, memory};

/// The three splits, encoded with a vocabulary of the training texts.
pub struct Prepared {
    /// Names of the classes, in label order.
    pub classes: Vec<String>,
    /// Names of the domains, by their numbers; empty when the data set has none.
    pub domains: Vec<String>,
    /// How texts get their groups, where experts are assigned by them.
    pub grouping: Option<Grouping>,
    /// Built from training texts only.
    pub vocabulary: Vocabulary,
    /// Training batches, a pure function of the step.
    pub train: Batches,
    /// Steps of a run that does not stop early: [`Self::steps_of`] its config.
    pub total_steps: u64,
    /// Which domains are live when, if they come and go.
    pub drift: Option<Drift>,
    /// For everything that chooses.
    pub validation: Split,
    /// For the one reading at the end.
    pub test: Split,
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
    /// When the data cannot be read or held, drifts with more evaluation times than the run has steps, or the run
    /// has more steps than any.
    pub fn new(config: &RunConfig) -> Result<Self, TrainError> {
        Self::of(config, &config.data)
    }

    /// The same of any data set.
    ///
    /// # Errors
    /// As [`Self::new`]; when a split is empty that the config does not say is, or a label has no class.
    pub fn of(config: &RunConfig, dataset: &dyn Dataset) -> Result<Self, TrainError> {
        memory::check_data(config, memory::of_machine())?;
        let dataset = dataset.splits(&config.text)?;
        dataset.check()?;
        if config.data.csv().is_none() {
            dataset.check_held_out()?;
        }
        if dataset.drift.is_some() && config.train.patience > 0 {
            let message = "stops early, but the data drift: every evaluation is of other texts, so that none is better \
                           than another; set it to 0";
            return Err(ConfigFault::new("train.patience", message).into());
        }
        let total_steps = total_steps(config, dataset.train.len());
        check_steps(total_steps)?;
        check_times(&dataset, total_steps)?;
        let vocabulary = vocabulary(config, &dataset.train)?;
        let grouping = Grouping::learn(config, &dataset)?;
        let split = |examples: &[Example]| {
            Split::of(examples, |example| {
                encode(&vocabulary, grouping.as_ref(), &example.text, example.domain)
            })
        };
        let train = |example: &Example| {
            let groups = grouping.as_ref().map(|grouping| grouping.of_training(example)).unwrap_or_default();
            vocabulary.encode(&example.text).in_groups(groups)
        };
        // A pretrained tokenizer takes seconds for what words take an instant.
        let texts = dataset.train.par_iter().map(train).collect();
        let labels = dataset.train.iter().map(|example| example.label).collect();
        let segments = dataset.segments(total_steps);
        let (batch_size, streams) = (config.train.batch_size, Streams::new(config.seed));
        Ok(Self {
            train: Batches::drifting(texts, labels, batch_size, streams, segments),
            total_steps,
            validation: split(&dataset.validation),
            test: split(&dataset.test),
            digest: dataset.digest(),
            sizes: dataset.sizes(),
            classes: dataset.classes,
            domains: dataset.domains,
            bayes_accuracy: dataset.bayes_accuracy,
            drift: dataset.drift,
            notes: dataset.notes,
            grouping,
            vocabulary,
        })
    }

    /// Makes sure that a policy, or early stopping, has validation texts to go by.
    pub(crate) fn check_validation(&self, config: &RunConfig) -> Result<(), ConfigFault> {
        let needed = |key, what: &str| {
            let message = format!(
                "{what} by validation texts, and there are none; set data.csv.validation_fraction above 0, or name \
                 data.csv.validation"
            );
            Err(ConfigFault::new(key, message))
        };
        let policy = &config.control.policy;
        if !self.validation.texts.is_empty() {
            return Ok(());
        }
        if config.train.patience > 0 {
            return needed("train.patience", "stops");
        }
        if !policy.is_frozen() {
            return needed("control.policy", &format!("is `{}`, which decides", policy.name()));
        }
        Ok(())
    }

    /// The steps that a run of `config` on this data takes unless it stops early.
    pub fn steps_of(&self, config: &RunConfig) -> u64 {
        total_steps(config, self.sizes.train)
    }

    /// What a model may be judged by after `step` of `total` steps: the validation split or, where the data
    /// drifts, its texts of the domains that are live by now ([`Drift::view`]).
    pub fn validation_at(&self, step: u64, total: u64) -> Cow<'_, Split> {
        let Some(drift) = &self.drift else { return Cow::Borrowed(&self.validation) };
        let (split, view) = (&self.validation, drift.view(step, total));
        split.part(&split.places_of(&view))
    }

    /// When domains appear in a run of `total` steps ([`Drift::task_starts`]); never where domains do not come and go.
    pub fn task_starts(&self, total: u64) -> Vec<TaskStart> {
        self.drift.as_ref().map_or(Vec::new(), |drift| drift.task_starts(total))
    }

    /// The steps after which a model is judged by the texts of an evaluation time; none without drift.
    pub fn judged_after(&self) -> impl Iterator<Item = u64> {
        let times = self.drift.iter().flat_map(|drift| (1..=drift.times()).map(move |time| (drift, time)));
        times.map(|(drift, time)| drift.step_of(time, self.total_steps))
    }
}

/// That of the pretrained encoder, or one of the training texts.
fn vocabulary(config: &RunConfig, train: &[Example]) -> Result<Vocabulary, TrainError> {
    let Some(folder) = &config.model.pretrained else {
        return Ok(Vocabulary::build(train.iter().map(|example| example.text.as_str()), &config.text));
    };
    let path = PretrainedFiles::new(folder).tokenizer();
    let json = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    Vocabulary::pretrained(&json, &config.text).map_err(|error| TrainError::Start {
        key: "model.pretrained",
        path,
        message: format!("is {error}"),
    })
}

/// A text that was not trained on, as tokens, with its groups where experts are assigned by them.
pub(crate) fn encode(
    vocabulary: &Vocabulary,
    grouping: Option<&Grouping>,
    text: &str,
    domain: Option<u32>,
) -> Encoded {
    let groups = grouping.map(|grouping| grouping.of_new(text, domain)).unwrap_or_default();
    vocabulary.encode(text).in_groups(groups)
}

/// Epochs × batches in a pass over the training split.
pub(crate) fn total_steps(config: &RunConfig, train: usize) -> u64 {
    let per_epoch = train.div_ceil(config.train.batch_size);
    let epochs = config.train.budget.epochs().unwrap_or(Budget::DEFAULT_EPOCHS);
    ((per_epoch as f64 * epochs).round() as u64).max(1)
}

/// Steps are counted, added and multiplied: there is an end to them.
pub(crate) fn check_steps(total_steps: u64) -> Result<(), DataError> {
    if total_steps <= MAX_STEPS {
        return Ok(());
    }
    let message = format!("makes {total_steps} steps; at most {MAX_STEPS} are possible");
    Err(ConfigFault::new("train.budget.epochs", message).into())
}

/// A model is judged after a step, so that every evaluation time needs one of its own; and so does every domain,
/// or the model would be judged by one that it never saw.
fn check_times(dataset: &Splits, total_steps: u64) -> Result<(), DataError> {
    let Some(drift) = &dataset.drift else { return Ok(()) };
    let [times_key, live_key] = if drift.has_texts_of_times() {
        ["data.planted.times", "data.planted.live"]
    } else {
        ["data.csv.stream"; 2]
    };
    let times = drift.times();
    if u64::from(times) > total_steps {
        let what = if drift.has_texts_of_times() { "is" } else { "has evaluation times:" };
        let message =
            format!("{what} {times}, but the run has {total_steps} steps; raise train.budget.epochs");
        return Err(ConfigFault::new(times_key, message).into());
    }
    match drift.unseen(total_steps) {
        None => Ok(()),
        Some((domain, [from, to])) => {
            let message = format!(
                "has domain {domain} live from {from} to {to}, which is none of the run's {total_steps} steps; \
                 widen it, or raise train.budget.epochs"
            );
            Err(ConfigFault::new(live_key, message).into())
        }
    }
}
