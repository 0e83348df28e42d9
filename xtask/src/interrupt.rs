//! Ctrl-C: the children get it from the terminal and stop by themselves; xtask starts no new ones.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result};

/// Exit code after an interruption, as shells have it (128 + SIGINT).
pub(crate) const INTERRUPTED: u8 = 130;

/// Whether the user wants to stop.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Raised by Ctrl-C (and by SIGTERM or SIGHUP, which running cells do not hear of: they run on
    /// to their ends).
    ///
    /// # Errors
    /// When the process already handles Ctrl-C.
    pub(crate) fn on_ctrl_c() -> Result<Self> {
        let interrupt = Self::default();
        let raised = interrupt.clone();
        ctrlc::set_handler(move || {
            raised.raise();
            eprintln!("\nstopping; cells that are running write a checkpoint first");
        })
        .context("handling Ctrl-C")?;
        Ok(interrupt)
    }

    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
