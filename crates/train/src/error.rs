//! What can stop a run.

use std::{io, path::PathBuf};

use moelt_control::PolicyError;
use moelt_data::DataError;
use moelt_model::PretrainedError;
use moelt_optim::ImportError;
use moelt_schema::{ConfigFault, Digest, PlanError, ResultError};
use moelt_surgery::SurgeryError;

use crate::{CheckpointError, Interrupted};

/// Why a run did not end as planned.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The config cannot work.
    #[error(transparent)]
    Config(#[from] ConfigFault),
    /// The data set cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A checkpoint cannot be written, read or trusted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run folder cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Asked to stop in the middle of something that is done whole or not at all. [`Trainer`](crate::Trainer) answers
    /// with [`Outcome::Interrupted`](crate::Outcome::Interrupted) instead.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The folder holds a run of another config.
    #[error(
        "{}: holds a run of another config ({differences}); choose another --out, or delete the folder to start anew",
        path.display()
    )]
    OtherConfig {
        /// The run folder.
        path: PathBuf,
        /// The lines that differ.
        differences: String,
    },
    /// The folder holds a finished run on other texts.
    #[error(
        "{}: holds a run of this config on other data (hash {}…, here {}…); choose another --out, or delete the folder \
         to start anew",
        path.display(),
        theirs.short(),
        ours.short()
    )]
    OtherData {
        /// The run folder.
        path: PathBuf,
        /// Hash of its examples.
        theirs: Digest,
        /// Hash of those that are here.
        ours: Digest,
    },
    /// The folder has a result that does not count.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// Another process trains in the folder.
    #[error("{}: another process trains here; wait for it or choose another --out", path.display())]
    Locked {
        /// The run folder.
        path: PathBuf,
    },
    /// A file of the run folder is not what it should be.
    #[error("{}: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The loss, a gradient or something that a checkpoint would hold is not a number.
    #[error(
        "arm {arm}, seed {seed}, step {step}: the {what} is {value}; training stopped. {}. \
         Lower optim.lr or set optim.clip_norm",
        last_good(checkpoint)
    )]
    NotFinite {
        /// The arm's name.
        arm: String,
        /// The seed.
        seed: u64,
        /// The step, from 1.
        step: u64,
        /// Loss, gradient norm, weights, ….
        what: &'static str,
        /// NaN or infinite.
        value: f64,
        /// The last good checkpoint.
        checkpoint: Option<PathBuf>,
    },
    /// An edit of a checkpoint leads to something that is not a number.
    #[error("with these edits {what} is {value}; try less noise")]
    EditNotFinite {
        /// A weight, the model's output, ….
        what: &'static str,
        /// NaN or infinite.
        value: f64,
    },
    /// A checkpoint evaluates to something else than it did when it was saved.
    #[error(
        "{}: validation accuracy was {saved} when saved and is {now} now: \
         these are not the weights, the data or the program of then",
        path.display()
    )]
    Reevaluation {
        /// The checkpoint.
        path: PathBuf,
        /// Accuracy in its manifest.
        saved: f64,
        /// Accuracy recomputed.
        now: f64,
    },
    /// What the run was to start from or follow cannot serve.
    #[error("`{key}`: {} {message}", path.display())]
    Start {
        /// The config key.
        key: &'static str,
        /// The run or checkpoint.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// A pretrained encoder or word vectors cannot be read.
    #[error(transparent)]
    Pretrained(#[from] PretrainedError),
    /// More than the machine can hold.
    #[error("`{key}`: is {value}: {message}")]
    Memory {
        /// The config key that is to blame.
        key: &'static str,
        /// Its value.
        value: usize,
        /// What it would take, what there is, and what is possible.
        message: String,
    },
    /// The policy cannot be had.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// An edit that does not fit the experts.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A policy answers something that cannot be.
    #[error("arm {arm}, seed {seed}, step {step}: the policy decides `{reason}`, but {message}")]
    Decision {
        /// The arm's name.
        arm: String,
        /// The seed.
        seed: u64,
        /// Optimizer steps done.
        step: u64,
        /// The decision's reason.
        reason: String,
        /// What is wrong with it.
        message: String,
    },
    /// An edit that does not fit model, optimizer or average: a bug.
    #[error(transparent)]
    Surgery(#[from] SurgeryError),
    /// Averaged weights that do not fit the model: a bug.
    #[error("averaged weights do not fit the model: {0}")]
    Average(#[from] ImportError),
}

impl TrainError {
    /// For `map_err` on file operations at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause }
    }
}

fn last_good(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => format!("The last good checkpoint is {}", path.display()),
        None => "No checkpoint had been written".to_owned(),
    }
}
