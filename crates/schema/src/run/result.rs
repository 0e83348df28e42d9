//! What a finished cell leaves behind.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Digest, DomainAccuracy, EditLog, Flops, Inherited, Layout, MAX_STEPS, Machine, Metrics, RunDir};

/// Version of `result.json`.
pub const RESULT_FORMAT: u32 = 7;

/// `result.json`: written last, so that a cell with one is finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// [`RESULT_FORMAT`].
    pub format: u32,
    /// Version of moelt that ran it.
    pub moelt: String,
    /// The arm's name.
    pub arm: String,
    /// The seed.
    pub seed: u64,
    /// Hash of the resolved config.
    pub config: Digest,
    /// Hash of the examples.
    pub data: Digest,
    /// The experts of the checkpoint that was evaluated; of the last one where the data drifts.
    pub layout: Layout,
    /// Every edit of the whole run; up to `best_step` they lead to `layout`.
    pub edits: EditLog,
    /// Trainable values.
    pub n_params: usize,
    /// Values that work on one token.
    pub n_active_params: usize,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Step of the checkpoint that was evaluated; the last step where the data drifts.
    pub best_step: u64,
    /// Sizes of the splits.
    pub splits: SplitSizes,
    /// Names of the domains, by their numbers; empty when the data set has none.
    pub domains: Vec<String>,
    /// What a reader should know about the data: repeats, contradictions, what was held out,
    /// skipped, guessed or cut.
    pub notes: Vec<String>,
    /// Metrics on the validation split; all 0 where it is empty.
    pub validation: Metrics,
    /// Metrics on the test split, read once, here; all 0 where it is empty.
    pub test: Metrics,
    /// Accuracy at each evaluation time of a data set whose domains come and go, in order; the last one is the end of
    /// training. Empty when nothing does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_time: Vec<TimeAccuracy>,
    /// Which experts served which domain of the test split, in domain order; empty without domains, or without a router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routing: Vec<DomainRouting>,
    /// The accuracy no classifier can beat, when the data set knows it.
    pub bayes_accuracy: Option<f64>,
    /// What the last checkpoint knew. Nothing is ever chosen by it: it shows what judging the best checkpoint hides.
    pub last: LastCheckpoint,
    /// Floating-point operations of training, counted by the model in the passes that it made: a step counts
    /// three forward passes. What policies had measured is included; evaluations on validation and the look at the
    /// effect of an edit, which is for the log alone, are not.
    pub flops: Flops,
    /// … of which for what policies had measured, and for what their heads learnt.
    pub measuring_flops: Flops,
    /// Floating-point operations that went into the head it used, which was taught once before any run; not part of
    /// `flops`, and shared by every run that uses the head. 0 without one.
    #[serde(default, skip_serializing_if = "Flops::is_zero")]
    pub taught_flops: Flops,
    /// Floating-point operations of predicting the test split once, by the model that is judged (the last one, where
    /// domains come and go).
    pub test_flops: Flops,
    /// What went into the weights that the run started from; not part of `flops`.
    pub inherited: Inherited,
    /// Wall-clock seconds of training, evaluation on validation included.
    pub seconds: f64,
    /// What the run came to its end on; one that was resumed may have begun elsewhere. None in results that were written before
    /// it was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// Hashes of the cell's other files that count (predictions).
    pub files: BTreeMap<String, Digest>,
    /// Hash of what the decisions in the event log rest on, which heads of other runs learn from. The log itself has
    /// times of day, and is another one each time.
    pub decisions: Digest,
}

/// A `result.json` that does not count.
#[derive(Debug, thiserror::Error)]
#[error("{}: {message}", path.display())]
pub struct ResultError {
    /// The file that is not what it should be.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

impl CellResult {
    /// The result in a run folder; none when the run is not finished. It counts when it is of this
    /// format and of the config with hash `config`, and the files it lists have the hashes it lists.
    ///
    /// # Errors
    /// When there is one that does not count.
    pub fn read(run: &RunDir, config: Digest) -> Result<Option<Self>, ResultError> {
        let result = Self::read_any(run)?;
        match &result {
            Some(result) if result.config != config => {
                let message = format!("is of config {}, not {}", result.config.short(), config.short());
                Err(ResultError { path: run.result(), message })
            }
            _ => Ok(result),
        }
    }

    /// The same, of whatever config.
    ///
    /// # Errors
    /// When there is one that does not count.
    pub fn read_any(run: &RunDir) -> Result<Option<Self>, ResultError> {
        let path = run.result();
        let wrong = |message: String| ResultError { path: path.clone(), message };
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|e| wrong(e.to_string()))?,
        };
        let result = Self::from_json(&text).map_err(wrong)?;
        for (name, expected) in &result.files {
            let path = run.path().join(name);
            let found = Digest::of_file(&path);
            if found.as_ref().ok() != Some(expected) {
                let found = found.map_or_else(|e| e.to_string(), |found| format!("has hash {found}"));
                return Err(ResultError { path, message: format!("{found}; was written with {expected}") });
            }
        }
        Ok(Some(result))
    }
}

impl CellResult {
    /// Reads the text of a `result.json` and checks it, but not the files that it lists.
    ///
    /// # Errors
    /// When it is no result, one of another format, or none that a run can have written. The message does not know the
    /// file's name.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let result: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if result.format != RESULT_FORMAT {
            return Err(format!("has format {}, not {RESULT_FORMAT}", result.format));
        }
        result.check()?;
        Ok(result)
    }

    /// Refuses what no run can have written.
    fn check(&self) -> Result<(), String> {
        let Self { steps, best_step, flops, measuring_flops, layout, .. } = self;
        let replayed = self.edits.layout().and_then(|_| self.edits.check_at(*best_step, layout));
        replayed.map_err(|error| error.to_string())?;
        if steps > &MAX_STEPS || best_step > steps {
            return Err(format!("best_step: is {best_step} of {steps} steps; {MAX_STEPS} are possible"));
        }
        if !measuring_flops.is_part_of(*flops) {
            return Err(format!(
                "measuring_flops: is {measuring_flops}, which is no part of flops = {flops}"
            ));
        }
        for (split, metrics) in [("validation", &self.validation), ("test", &self.test)] {
            let n_classes = self.validation.per_class_accuracy.len();
            metrics.check(n_classes).map_err(|message| format!("{split}.{message}"))?;
        }
        check_times(&self.per_time)?;
        check_routing(&self.routing)?;
        let known = ["validation", "test"].map(RunDir::predictions_name);
        match self.files.keys().find(|name| !known.contains(name)) {
            Some(name) => Err(format!("files: names `{name}`; a run has {} alone", known.join(" and "))),
            None => Ok(()),
        }
    }
}

/// Accuracies are shares.
fn check_times(times: &[TimeAccuracy]) -> Result<(), String> {
    let shares = times.iter().flat_map(|time| {
        let of_domains = time.per_domain.iter().map(|domain| domain.accuracy);
        [time.at, time.validation, time.test].into_iter().chain(of_domains)
    });
    match shares.into_iter().find(|share| !(0.0..=1.0).contains(share)) {
        Some(share) => Err(format!("per_time: has {share} for a share; must be 0 to 1")),
        None => Ok(()),
    }
}

/// Tokens are counts.
fn check_routing(domains: &[DomainRouting]) -> Result<(), String> {
    let mut tokens = domains.iter().flat_map(|domain| domain.tokens_per_expert.iter().flatten());
    match tokens.find(|tokens| !(tokens.is_finite() && **tokens >= 0.0)) {
        Some(tokens) => Err(format!("routing: has {tokens} for a number of tokens; must be at least 0")),
        None => Ok(()),
    }
}

/// What a model knew at one time, by the texts that it was asked about then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeAccuracy {
    /// When: a fraction of training.
    pub at: f64,
    /// Step of the checkpoint that was evaluated.
    pub step: u64,
    /// Fraction of its validation examples classified right.
    pub validation: f64,
    /// Fraction of its test examples classified right.
    pub test: f64,
    /// The same of each domain that was asked about, in domain order.
    pub per_domain: Vec<DomainAccuracy>,
}

/// Where the routers of the judged checkpoint sent the texts of a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRouting {
    /// The domain.
    pub domain: u32,
    /// Per layer with a router, tokens (or sequences) that each expert got, in router order.
    pub tokens_per_expert: Vec<Vec<f64>>,
}

/// What the last checkpoint of a run knew, which need not be the one that the run is judged by. Where the data
/// drifts a run is judged by each checkpoint at its time, and this is the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastCheckpoint {
    /// Its step.
    pub step: u64,
    /// Fraction of the validation examples classified right.
    pub validation: f64,
    /// Fraction of the test examples classified right.
    pub test: f64,
}

/// Examples per split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSizes {
    /// Trained on.
    pub train: usize,
    /// Chosen on.
    pub validation: usize,
    /// Judged on.
    pub test: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_routing_that_no_run_has_written_are_refused() {
        let time = |at, accuracy| {
            let per_domain = vec![DomainAccuracy { domain: 0, n: 4, accuracy }];
            TimeAccuracy { at, step: 1, validation: 0.5, test: 0.5, per_domain }
        };
        assert_eq!(check_times(&[time(0.5, 0.0), time(1.0, 1.0)]), Ok(()));
        for (at, accuracy, found) in [(0.5, 7.0, "7"), (1.5, 0.5, "1.5"), (0.5, -1.0, "-1")] {
            let expected = format!("per_time: has {found} for a share; must be 0 to 1");
            assert_eq!(check_times(&[time(1.0, 1.0), time(at, accuracy)]), Err(expected));
        }
        let routing = |tokens| vec![DomainRouting { domain: 0, tokens_per_expert: vec![vec![3.0, tokens]] }];
        assert_eq!(check_routing(&routing(0.0)), Ok(()));
        let expected = "routing: has -2 for a number of tokens; must be at least 0";
        assert_eq!(check_routing(&routing(-2.0)), Err(expected.to_owned()));
        assert!(check_routing(&routing(f64::INFINITY)).is_err());
    }
}
