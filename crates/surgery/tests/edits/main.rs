//! Edits of a module that moelt does not know, with its optimizer and its averaged weights.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod along;
mod errors;
mod first_update;
mod preservation;
mod random;
mod sameness;
mod support;
mod toy;
mod undo;
mod values;
