//! Whole-program tests: the `moelt` binary, run as a user runs it.
//!
//! One test target with a module per topic, so that the binary's dependencies are linked once.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod altered;
mod anywhere;
mod compare;
mod control;
mod damage;
mod edit;
mod export;
mod faults;
mod hostile;
mod inputs;
mod loop_rules;
mod own_texts;
mod predict;
mod pretrained;
mod refit;
mod resume;
mod routing;
#[cfg(unix)]
mod slurm;
mod support;
mod surgery;
mod usage;
