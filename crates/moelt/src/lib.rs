//! moelt: train, evaluate and use Mixture-of-Experts text classifiers.
//!
//! A thin facade over the crates that do the work; the `moelt` binary is built on it. This crate alone
//! chooses the backend, by its features `flex` (default), `wgpu` and `cuda`.

pub use moelt_ablate as ablate;
pub use moelt_control as control;
pub use moelt_data as data;
pub use moelt_eval as eval;
pub use moelt_model as model;
pub use moelt_optim as optim;
pub use moelt_schema as schema;
pub use moelt_train as train;
