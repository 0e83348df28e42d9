//! xtask's commands as a user meets them, with a stand-in for the moelt binary.
#![allow(clippy::unwrap_used)]

mod ablate;
mod regress;
mod support;
