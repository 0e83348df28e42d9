//! Ctrl-C, SIGTERM and SIGHUP: no new cells are started, and every signal is passed on to those that run.

use std::{
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result};

use super::process::interrupt;

/// Exit code after an interruption, as shells have it (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// How often the user has asked to stop.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Raised by Ctrl-C, SIGTERM and SIGHUP.
    ///
    /// # Errors
    /// When the process already handles Ctrl-C.
    pub(crate) fn on_ctrl_c() -> Result<Self> {
        let interrupt = Self::default();
        let raised = interrupt.clone();
        ctrlc::set_handler(move || {
            raised.0.fetch_add(1, Ordering::Relaxed);
            eprintln!("\nstopping; cells that are running write a checkpoint first");
        })
        .context("handling Ctrl-C")?;
        Ok(interrupt)
    }

    /// Stops everything because one cell was asked to stop; it is no second signal to those that know already.
    pub(crate) fn raise(&self) {
        // That it is raised already is just as good.
        let _ = self.0.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Passes on to a cell what it has not been told yet: the first signal lets it write a checkpoint, the second
    /// ends it at once. Cells are in process groups of their own, so that no terminal tells them too.
    pub(crate) fn pass_on(&self, cell: &Child, told: &mut usize) {
        while *told < self.0.load(Ordering::Relaxed) {
            *told += 1;
            interrupt(cell);
        }
    }
}
