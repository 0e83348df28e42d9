//! The local engine: cells as processes, a few at a time.

use std::{
    collections::BTreeSet,
    fs,
    num::NonZeroUsize,
    path::PathBuf,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use moelt_schema::{AblationPlan, Cell, CellResult, Digest};

use super::{
    AblationFolder, binary,
    cell::{self, Ended},
    progress::{End, Progress},
    retention::{self, Keep},
    schedule::{Next, Schedule},
    standing::Standing,
    told,
};
use crate::{Site, interrupt::Interrupt};

/// Runs cells on this machine.
pub(crate) struct Engine<'a> {
    site: &'a Site<'a>,
    binary: PathBuf,
    interrupt: Interrupt,
}

/// How cells are run.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// So many at a time.
    pub(crate) jobs: NonZeroUsize,
    /// No cell is started later.
    pub(crate) until: Option<Instant>,
    /// Which checkpoints stay.
    pub(crate) keep: Keep,
}

impl How {
    /// `jobs` at a time, without an end, and everything is kept.
    pub(crate) fn new(jobs: NonZeroUsize) -> Self {
        Self { jobs, until: None, keep: Keep::All }
    }
}

/// How a run of cells went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
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
        Ok(Self { site, binary: folder.binary(), interrupt })
    }

    /// Runs those of `cells` (all of `plan`, or some) that are not finished, a few at a time, each when the
    /// cells it needs are finished. A cell that fails is shown, and only those that need it fail with it;
    /// after Ctrl-C no cell is started.
    pub(crate) fn run(
        &self,
        folder: &AblationFolder,
        plan: &AblationPlan,
        cells: &[&Cell],
        how: &How,
    ) -> Tally {
        let mut standing = Standing::new(&plan.cells);
        let (mut done, mut pending) = (Vec::new(), Vec::new());
        for cell in cells.iter().copied() {
            match finished(folder, cell) {
                Some(result) => {
                    standing.finished(cell, result.validation.accuracy, result.seconds);
                    done.push(cell);
                }
                None => pending.push(cell),
            }
        }
        if !done.is_empty() {
            crate::tell!("{} of {} cells are finished already", done.len(), cells.len());
        }
        let progress = Progress::new(standing, pending.iter().copied(), how.jobs.get());
        done.into_iter().for_each(|cell| tidy(folder, plan, cell, how, &progress));
        let finished = finished_needs(folder, plan, &pending);
        let schedule = Schedule::new(pending, finished, how.jobs.get());
        let tally = self.work(folder, plan, how, schedule, &progress);
        progress.clear();
        tally
    }

    /// Does what the schedule says until every cell has ended.
    fn work<'c>(
        &self,
        folder: &AblationFolder,
        plan: &AblationPlan,
        how: &How,
        mut schedule: Schedule<'c>,
        progress: &Progress,
    ) -> Tally {
        let (mut tally, owner) = (Tally::default(), plan.digest());
        let (report, reports) = mpsc::channel::<(&'c Cell, Ended, Duration)>();
        thread::scope(|scope| {
            loop {
                let next = if self.starts_no_more(how.until) { schedule.drain() } else { schedule.next() };
                let (cell, ended, took) = match next {
                    Next::Start(cell) => {
                        let report = report.clone();
                        scope.spawn(move || {
                            let begun = Instant::now();
                            let ended = self.run_cell(folder, owner, cell, progress);
                            // It is read until every cell that was started has reported.
                            report.send((cell, ended, begun.elapsed()))
                        });
                        continue;
                    }
                    Next::Refuse(cell, needed) => {
                        (cell, refuse_cell(folder, cell, needed, progress), Duration::ZERO)
                    }
                    Next::Wait => match reports.recv() {
                        Ok(report) => report,
                        Err(_) => break,
                    },
                    Next::Done => break,
                };
                schedule.ended(cell, matches!(ended, Ended::Finished(_)));
                self.note(&mut tally, folder, cell, &ended, took, progress);
                tidy(folder, plan, cell, how, progress);
            }
        });
        tally
    }

    fn starts_no_more(&self, until: Option<Instant>) -> bool {
        self.interrupt.is_raised() || until.is_some_and(|until| Instant::now() >= until)
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
        took: Duration,
        progress: &Progress,
    ) {
        let (end, message) = match ended {
            Ended::Interrupted => return,
            Ended::Finished(result) => {
                (End::Finished(result.validation.accuracy, took.as_secs_f64()), told::finished(cell, result))
            }
            Ended::Failed(reason) => {
                (End::Failed, told::failed(self.site, cell, &folder.cell(&cell.id), reason))
            }
        };
        tally.failed += usize::from(matches!(end, End::Failed));
        progress.ended(cell, end, &message);
    }
}

/// Removes checkpoints that are no longer to be kept. That some cannot be is no reason to stop.
fn tidy(folder: &AblationFolder, plan: &AblationPlan, ended: &Cell, how: &How, progress: &Progress) {
    if let Err(error) = retention::tidy(folder, plan, ended, how.keep) {
        progress.say(&format!("checkpoints of {} are kept: {error:#}", ended.id));
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

/// The result of a cell that does not have to run any more. One that does not count is put aside, so that the cell goes
/// on from its last checkpoint.
pub(crate) fn finished(folder: &AblationFolder, cell: &Cell) -> Option<CellResult> {
    let files = folder.cell(&cell.id);
    match files.result(cell) {
        Ok(result) => result.filter(|_| !files.failed.exists()),
        Err(error) => {
            crate::tell!("{}: {error:#}; the cell runs again", cell.id);
            // If it cannot be put aside, moelt will say so.
            let _ = fs::rename(files.run.result(), files.run.path().join("result.refused.json"));
            None
        }
    }
}
