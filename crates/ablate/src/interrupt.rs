//! Ctrl-C, SIGTERM and SIGHUP: no new cells are started, and every signal is passed on to those that run.

use std::{
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::process::interrupt;

/// Exit code after an interruption, as shells have it (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// Signals that come within this time are one request: a scheduler tells every process of a job, and each passes it
/// on to its children. A run must not take the second of them for a user who no longer wants to wait.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// Calls `stop` whenever Ctrl-C, SIGTERM or SIGHUP asks to stop.
///
/// # Errors
/// When the process already handles them.
pub fn on_stop(mut stop: impl FnMut() + Send + 'static) -> Result<()> {
    let mut asked: Option<Instant> = None;
    ctrlc::set_handler(move || {
        if asked.is_none_or(|at| at.elapsed() >= ONE_REQUEST) {
            asked = Some(Instant::now());
            stop();
        }
    })
    .context("Ctrl-C cannot be caught")
}

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
        on_stop(move || {
            raised.0.fetch_add(1, Ordering::Relaxed);
            crate::tell!("\nstopping; cells that are running write a checkpoint first");
        })?;
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
