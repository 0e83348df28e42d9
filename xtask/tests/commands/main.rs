//! xtask's commands as a user meets them, with a stand-in for the moelt binary.
#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod ablate;
mod data;
mod docs;
mod help;
mod inputs;
mod many_cells;
mod names;
mod needs;
mod regress;
mod retention;
mod signal;
mod support;
mod watch;
mod workspace;
