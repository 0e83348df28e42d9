//! The local engine: cells as processes, a few at a time.

use std::{
    collections::BTreeSet, fs, num::NonZeroUsize, path::PathBuf, process::Command, sync::mpsc, thread,
    time::Instant,
};

use anyhow::Result;
use moelt_schema::{AblationPlan, Cell, CellResult, Digest};

use super::{
    AblationFolder, binary,
    cell::{self, Ended},
    folder::CellFiles,
    progress::Progress,
    schedule::{Next, Schedule},
};
use crate::{Site, interrupt::Interrupt};

/// Runs cells on this machine.
pub(crate) struct Engine<'a> {
    site: &'a Site<'a>,
    binary: PathBuf,
    interrupt: Interrupt,
    /// No cell is started later.
    until: Option<Instant>,
}

/// How a run of cells went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Cells that ended, well or not.
    ended: usize,
    /// Cells that failed.
    pub(crate) failed: usize,
}

impl<'a> Engine<'a> {
    /// An engine with the ablation's own binary, which is built and copied first.
    ///
    /// # Errors
    /// When it does not build, is not of the planned code or cannot be copied.
    pub(crate) fn build(
        site: &'a Site<'a>,
        folder: &AblationFolder,
        plan: &AblationPlan,
        interrupt: Interrupt,
    ) -> Result<Self> {
        binary::install(site, folder, plan)?;
        Ok(Self { site, binary: folder.binary(), interrupt, until: None })
    }

    /// The same engine, which starts no cell after this time.
    pub(crate) fn until(self, until: Option<Instant>) -> Self {
        Self { until, ..self }
    }

    /// Runs those of `cells` (all of `plan`, or some) that are not finished, `jobs` at a time, each when the
    /// cells it needs are finished. A cell that fails is shown, and only those that need it fail with it;
    /// after Ctrl-C no cell is started.
    pub(crate) fn run(
        &self,
        folder: &AblationFolder,
        plan: &AblationPlan,
        cells: &[&Cell],
        jobs: NonZeroUsize,
    ) -> Tally {
        let pending: Vec<&Cell> = cells.iter().copied().filter(|cell| is_pending(folder, cell)).collect();
        if pending.len() < cells.len() {
            eprintln!("{} of {} cells are finished already", cells.len() - pending.len(), cells.len());
        }
        let progress = Progress::new(pending.len());
        let finished = finished_needs(folder, plan, &pending);
        let schedule = Schedule::new(pending, finished, jobs.get());
        let tally = self.work(folder, plan.digest(), schedule, &progress);
        progress.clear();
        tally
    }

    /// Does what the schedule says until every cell has ended.
    fn work<'c>(
        &self,
        folder: &AblationFolder,
        owner: Digest,
        mut schedule: Schedule<'c>,
        progress: &Progress,
    ) -> Tally {
        let mut tally = Tally::default();
        let (report, reports) = mpsc::channel::<(&'c Cell, Ended)>();
        thread::scope(|scope| {
            loop {
                let next = if self.starts_no_more() { schedule.drain() } else { schedule.next() };
                let (cell, ended) = match next {
                    Next::Start(cell) => {
                        let report = report.clone();
                        // It is read until every cell that was started has reported.
                        scope
                            .spawn(move || report.send((cell, self.run_cell(folder, owner, cell, progress))));
                        continue;
                    }
                    Next::Refuse(cell, needed) => (cell, refuse_cell(folder, cell, needed, progress)),
                    Next::Wait => match reports.recv() {
                        Ok(report) => report,
                        Err(_) => break,
                    },
                    Next::Done => break,
                };
                schedule.ended(cell, matches!(ended, Ended::Finished(_)));
                self.note(&mut tally, folder, cell, &ended, progress);
            }
        });
        tally
    }

    fn starts_no_more(&self) -> bool {
        self.interrupt.is_raised() || self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn run_cell(&self, folder: &AblationFolder, owner: Digest, cell: &Cell, progress: &Progress) -> Ended {
        let files = folder.cell(&cell.id);
        let mut bar = progress.cell(&cell.id);
        let mut command = Command::new(&self.binary);
        // Configs name files, and the runs a cell builds on, from the root.
        command.current_dir(self.site.root());
        let ended = files
            .claim(owner)
            .and_then(|()| cell::run(&mut command, &files, cell, &mut bar, &self.interrupt));
        let ended = ended.unwrap_or_else(not_run);
        bar.end();
        if matches!(ended, Ended::Interrupted) {
            // Somebody may have stopped this cell alone: what is wanted is that everything stops.
            self.interrupt.raise();
        }
        ended
    }

    /// Counts and shows a cell that has ended; an interrupted one has not.
    fn note(
        &self,
        tally: &mut Tally,
        folder: &AblationFolder,
        cell: &Cell,
        ended: &Ended,
        progress: &Progress,
    ) {
        if matches!(ended, Ended::Interrupted) {
            return;
        }
        tally.ended += 1;
        tally.failed += usize::from(matches!(ended, Ended::Failed(_)));
        progress.ended(tally.ended, &self.message(cell, &folder.cell(&cell.id), ended));
    }

    /// One line about a cell that has ended; of a failed one also what it printed last.
    fn message(&self, cell: &Cell, files: &CellFiles, ended: &Ended) -> String {
        match ended {
            Ended::Finished(result) => format!("{} finished: {}", cell.id, numbers(result)),
            Ended::Interrupted => format!("{} interrupted", cell.id),
            Ended::Failed(reason) => {
                let mut log: String = files.log_tail().iter().map(|line| format!("\n    {line}")).collect();
                if !log.is_empty() {
                    log += &format!("\n    ({})", self.site.shown(&files.log));
                }
                format!("{} FAILED: {reason}{log}", cell.id)
            }
        }
    }
}

/// Lets a cell fail for want of the result of another one.
fn refuse_cell(folder: &AblationFolder, cell: &Cell, needed: &str, progress: &Progress) -> Ended {
    progress.cell(&cell.id).end();
    let reason = format!("needs {needed}, which has no result");
    cell::refuse(&folder.cell(&cell.id), reason).unwrap_or_else(not_run)
}

fn not_run(error: anyhow::Error) -> Ended {
    Ended::Failed(format!("{error:#}"))
}

/// The cells that some of `pending` need and that have their results already.
fn finished_needs<'c>(
    folder: &AblationFolder,
    plan: &'c AblationPlan,
    pending: &[&Cell],
) -> BTreeSet<&'c str> {
    let needed: BTreeSet<&String> = pending.iter().flat_map(|cell| &cell.needs).collect();
    let cells = plan.cells.iter().filter(|cell| needed.contains(&cell.id));
    let finished = cells.filter(|cell| matches!(folder.cell(&cell.id).result(cell), Ok(Some(_))));
    finished.map(|cell| cell.id.as_str()).collect()
}

/// Whether a cell still has to run. A result that does not count is put aside, so that the cell goes on
/// from its last checkpoint.
pub(crate) fn is_pending(folder: &AblationFolder, cell: &Cell) -> bool {
    let files = folder.cell(&cell.id);
    match files.result(cell) {
        Ok(result) => result.is_none() || files.failed.exists(),
        Err(error) => {
            eprintln!("{}: {error:#}; the cell runs again", cell.id);
            // If it cannot be put aside, moelt will say so.
            let _ = fs::rename(files.run.result(), files.run.path().join("result.refused.json"));
            true
        }
    }
}

fn numbers(result: &CellResult) -> String {
    let accuracy = 100.0 * result.validation.accuracy;
    format!("{accuracy:.2} % on validation after {:.1} s", result.seconds)
}
