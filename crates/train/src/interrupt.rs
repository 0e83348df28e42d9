//! The flag by which a user asks a run to stop, and where it is looked at.

use std::sync::atomic::{AtomicBool, Ordering};

/// Looked at between any two training steps, those of forks included, and between any two batches of the
/// evaluations that a run ends with. So a run stops within one step and one checkpoint, whatever it is at.
#[derive(Clone, Copy)]
pub(crate) struct Interrupt<'a>(&'a AtomicBool);

impl<'a> Interrupt<'a> {
    pub(crate) fn new(flag: &'a AtomicBool) -> Self {
        Self(flag)
    }

    /// For work that nobody interrupts.
    pub(crate) fn never() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self(&NEVER)
    }

    pub(crate) fn is_set(self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// When the flag is set: what is under way is given up as if it had never begun.
    pub(crate) fn check(self) -> Result<(), Interrupted> {
        if self.is_set() { Err(Interrupted) } else { Ok(()) }
    }
}

/// Asked to stop in the middle of something that is done whole or not at all.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;
