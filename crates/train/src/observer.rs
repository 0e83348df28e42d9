//! Who is told how a run goes.

use moelt_schema::EventRecord;

use crate::Prepared;

/// Is told how a run goes: a progress bar, a test, nothing (`()`).
pub trait Observer {
    /// The data is ready; `done` of `total` steps are taken already.
    fn started(&mut self, _prepared: &Prepared, _done: u64, _total: u64) {}
    /// A step was taken.
    fn stepped(&mut self, _step: u64, _loss: f64) {}
    /// A line was written to the event log.
    fn logged(&mut self, _record: &EventRecord) {}
}

impl Observer for () {}
