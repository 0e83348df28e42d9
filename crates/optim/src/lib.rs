//! AdamW with per-row steps, weight averaging, schedules and clipping.
//!
//! What the optimizer remembers lies where it computes. On the CPU backend (feature `flex`) moments are plain vectors: one pass over a
//! parameter updates value and moments in place, on all threads, and nothing is copied. Elsewhere they are tensors beside the
//! parameters, with the same rules, and a step moves neither gradients nor weights. A gradient may be that of some rows alone, such as
//! the rows of an embedding table that a batch uses ([`NamedGradients::of_rows`]). State is keyed by the
//! parameter's path in its module, so that resuming and editing need no process-local ids. Groups are
//! rules over paths for the same reason: a parameter that an edit adds has its group before it is there.
//!
//! ```
//! use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
//! use moelt_optim::{AdamW, Optimizer, ParamGroup, ParamGroups, take_gradients};
//!
//! let no_decay = ParamGroup { weight_decay: 0.0, ..ParamGroup::default() };
//! let groups = ParamGroups::new(ParamGroup::default()).with(["bias"], no_decay);
//! let mut optimizer = Optimizer::new(AdamW::default(), groups).with_clip_norm(1.0);
//!
//! let device = Device::flex().autodiff();
//! let mut linear = LinearConfig::new(3, 1).init(&device);
//! let x = Tensor::<2>::ones([4, 3], &device);
//! let loss = |linear: &burn::nn::Linear| (linear.forward(x.clone()) - 10.0).square().mean();
//! let before = loss(&linear).into_scalar::<f32>();
//! for _ in 0..10 {
//!     let gradients = take_gradients(&linear, loss(&linear).backward());
//!     linear = optimizer.step(linear, &gradients, 1e-2);
//! }
//! assert!(loss(&linear).into_scalar::<f32>() < before);
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adamw;
mod average;
mod gradients;
mod groups;
mod host;
mod mirror;
mod optimizer;
mod parallel;
mod resident;
mod rows;
mod schedule;
mod state;
mod table;
mod transfer;

pub use adamw::AdamW;
pub use average::{AverageState, WeightAverage};
pub use gradients::{NamedGradients, take_gradients};
pub use groups::{ParamGroup, ParamGroups};
pub use host::{HostTensor, ImportError, export, export_some, import, replace};
pub use optimizer::Optimizer;
pub use rows::Rows;
pub use schedule::Schedule;
pub use state::ParamState;
