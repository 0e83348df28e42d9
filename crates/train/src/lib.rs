//! The training loop, strict checkpoints, bit-exact resume and the run folder.
//!
//! A [`Trainer`] takes a config to its end in a run folder, or continues the run it finds there: on a data set of moelt's
//! or any other, with a policy of moelt's or any other.
//! [`Checkpoint`] is everything a run needs to go on; [`LoadedModel`] is a checkpoint ready to
//! predict, its probe recomputed; [`LoadedModel::classify`] names the classes of texts.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod balance;
mod budget;
mod checkpoint;
mod classify;
mod decide;
mod edit;
mod effect;
mod error;
mod evaluate;
mod events;
mod extra_gradient;
mod finish;
mod grouping;
mod groups;
mod interrupt;
mod joint;
mod look;
mod machine;
mod memory;
mod observer;
mod offline;
mod other_runs;
mod prepared;
mod ramp_ins;
mod scratch;
mod session;
mod shared_texts;
mod snapshot;
mod start;
mod state;
mod step_biases;
mod taught_head;
mod trainer;
mod trial;

pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointStore, ExpertNames, ExportedModel, KeyMismatch, LoadedModel,
    NoSuchNetwork, resolve_checkpoint,
};
pub use classify::Classification;
pub use error::TrainError;
pub use evaluate::{Split, predict};
pub use events::EventLog;
pub use grouping::Grouping;
pub use groups::param_groups;
pub use interrupt::Interrupted;
pub use observer::Observer;
pub use offline::EditedCheckpoint;
pub use other_runs::{DecidedRun, decided_runs};
pub use prepared::Prepared;
pub use state::{StepReport, TrainState};
pub use taught_head::taught_file;
pub use trainer::{Outcome, Trainer};
