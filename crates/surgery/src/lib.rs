//! Adds and removes experts of a Burn module while it trains, with its optimizer state.
//!
//! A [`Plan`](moelt_schema::Plan) says what is to change, [`apply`] makes it so. Training remembers more of an expert
//! than its weights: two moments, a step count, an average. An edit that moves some of them and forgets the others goes
//! wrong in silence. So all of them are one value, [`Trainable`], that goes through an edit as one and follows one row
//! map per layer: survivors are bit-identical, a new expert starts its own bias correction, nothing is left of a
//! removed one. The module needs to know nothing of this. It lists its parameters with an expert axis
//! ([`ExpertAxes`](moelt_schema::ExpertAxes)) and takes their sizes from the tensors, not from a number of its own.
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply;
mod carry;
mod check;
mod error;
mod merge;
mod new_rows;
mod redraw;
mod remap;
mod start;
mod trainable;
mod undo;

pub use apply::{Applied, apply};
pub use error::SurgeryError;
pub use trainable::Trainable;
pub use undo::Undo;

/// The optimizer and the averaged weights that edits carry along.
pub use moelt_optim as optim;
/// Layouts, plans and what a module says about its experts.
pub use moelt_schema as schema;
