//! AdamW with per-row steps, weight averaging, schedules and clipping.
//!
//! The optimizer lives on the host: moments are plain vectors, one pass over a parameter updates
//! value and moments in place, and the arithmetic is the same on every backend. On a CPU backend
//! nothing is copied; on a GPU a step moves gradients down and weights up. State is keyed by the
//! parameter's path in its module, so that resuming and editing need no process-local ids.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adamw;
mod average;
mod gradients;
mod host;
mod optimizer;
mod rows;
mod schedule;

pub use adamw::AdamW;
pub use average::{AverageState, WeightAverage};
pub use gradients::{NamedGradients, take_gradients};
pub use host::{HostTensor, ImportError, export, export_some, import, replace};
pub use optimizer::{Optimizer, ParamGroup, ParamState};
pub use rows::Rows;
pub use schedule::Schedule;
