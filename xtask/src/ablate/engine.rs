//! The local engine: cells as processes, a few at a time.

use std::{env, fs, num::NonZeroUsize, path::PathBuf, process::Command, sync::Mutex, thread};

use anyhow::{Context, Result, ensure};
use moelt_schema::{Cell, CellResult};

use super::{
    AblationFolder,
    cell::{self, Ended},
    folder::CellFiles,
    progress::Progress,
};
use crate::{interrupt::Interrupt, metadata::Metadata, validate::succeed, workspace::Workspace};

/// Overrides the moelt binary; nothing is built then. For tests.
const BINARY_VARIABLE: &str = "MOELT_BIN";

/// Runs cells on this machine.
pub(crate) struct Engine<'a> {
    workspace: &'a Workspace,
    binary: PathBuf,
    interrupt: Interrupt,
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
    /// Builds the moelt binary, once for all cells.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build(workspace: &'a Workspace, interrupt: Interrupt) -> Result<Self> {
        let binary = match env::var_os(BINARY_VARIABLE) {
            Some(binary) => PathBuf::from(binary),
            None => build_moelt(workspace)?,
        };
        Ok(Self { workspace, binary, interrupt })
    }

    /// Runs those of `cells` that are not finished, `jobs` at a time. A cell that fails is shown and
    /// leaves the others alone; after Ctrl-C no cell is started.
    pub(crate) fn run(&self, folder: &AblationFolder, cells: &[&Cell], jobs: NonZeroUsize) -> Tally {
        let pending: Vec<&Cell> = cells.iter().copied().filter(|cell| is_pending(folder, cell)).collect();
        if pending.len() < cells.len() {
            eprintln!("{} of {} cells are finished already", cells.len() - pending.len(), cells.len());
        }
        let progress = Progress::new(pending.len());
        let jobs = jobs.get().min(pending.len());
        let queue = Mutex::new(pending.into_iter());
        let tally = Mutex::new(Tally::default());
        let work = || {
            while let Some(cell) = self.next(&queue) {
                self.run_cell(folder, cell, &progress, &tally);
            }
        };
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(work);
            }
        });
        progress.clear();
        tally.into_inner().unwrap_or_default()
    }

    /// The next cell to run; none after Ctrl-C.
    fn next<'c>(&self, queue: &Mutex<impl Iterator<Item = &'c Cell>>) -> Option<&'c Cell> {
        if self.interrupt.is_raised() {
            return None;
        }
        queue.lock().ok()?.next()
    }

    fn run_cell(&self, folder: &AblationFolder, cell: &Cell, progress: &Progress, tally: &Mutex<Tally>) {
        let files = folder.cell(&cell.id);
        let mut bar = progress.cell(&cell.id);
        let mut command = Command::new(&self.binary);
        command.current_dir(self.workspace.root());
        let ended = cell::run(&mut command, &files, cell, &mut bar)
            .unwrap_or_else(|error| Ended::Failed(format!("{error:#}")));
        bar.end();
        if matches!(ended, Ended::Interrupted) {
            // The terminal's Ctrl-C may reach the child before it reaches xtask; then it is known now.
            self.interrupt.raise();
            return;
        }
        let Ok(mut tally) = tally.lock() else { return };
        tally.ended += 1;
        tally.failed += usize::from(matches!(ended, Ended::Failed(_)));
        progress.ended(tally.ended, &self.message(cell, &files, &ended));
    }

    /// One line about a cell that has ended; of a failed one also what it printed last.
    fn message(&self, cell: &Cell, files: &CellFiles, ended: &Ended) -> String {
        match ended {
            Ended::Finished(result) => format!("{} finished: {}", cell.id, numbers(result)),
            Ended::Interrupted => format!("{} interrupted", cell.id),
            Ended::Failed(reason) => {
                let log: String = files.log_tail().iter().map(|line| format!("\n    {line}")).collect();
                format!("{} FAILED: {reason}{log}\n    ({})", cell.id, self.workspace.shown(&files.log))
            }
        }
    }
}

/// `cargo build` of the binary, and where it lies.
fn build_moelt(workspace: &Workspace) -> Result<PathBuf> {
    succeed(workspace.cargo().args(["build", "--release", "--package", "moelt"]))
        .context("building moelt failed")?;
    let target = Metadata::read(workspace)?.target_directory;
    let binary = target.join("release").join(format!("moelt{}", env::consts::EXE_SUFFIX));
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    Ok(binary)
}

/// Whether a cell still has to run. A result that does not count is put aside, so that the cell goes on
/// from its last checkpoint.
fn is_pending(folder: &AblationFolder, cell: &Cell) -> bool {
    let files = folder.cell(&cell.id);
    match files.result(cell) {
        Ok(result) => result.is_none(),
        Err(error) => {
            eprintln!("{}: {error:#}; the cell runs again", cell.id);
            // If it cannot be put aside, moelt will say so.
            let _ = fs::rename(files.run.result(), files.run.path().join("result.refused.json"));
            true
        }
    }
}

fn numbers(result: &CellResult) -> String {
    let accuracy = 100.0 * result.selection.accuracy;
    format!("{accuracy:.2} % on selection after {:.1} s", result.seconds)
}
