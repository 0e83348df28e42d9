//! One cell as one process.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use moelt_schema::{Cell, CellResult, create_folders, resolved_toml, write_atomically};

use super::{
    folder::CellFiles,
    process::{was_interrupted, with_own_group},
    progress::CellBar,
    tail::EventTail,
};
use crate::interrupt::{INTERRUPTED, Interrupt};

/// A running cell is looked at after pauses of a twentieth of its time so far, within these bounds: a cell that takes a fraction of a
/// second must not wait as long again for somebody to see that it has ended.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// How a cell ended.
pub(super) enum Ended {
    /// With a complete result.
    Finished(Box<CellResult>),
    /// By a signal, with a checkpoint to go on from.
    Interrupted,
    /// In any other way.
    Failed(String),
}

/// Runs a cell to its end, resuming what an earlier process left.
///
/// # Errors
/// When it cannot be started, or another process is running it.
pub(super) fn run(
    command: &mut Command,
    files: &CellFiles,
    cell: &Cell,
    bar: &mut CellBar<'_>,
    interrupt: &Interrupt,
) -> Result<Ended> {
    let log = locked_log(&files.log)?;
    // It need not be there.
    let _ = fs::remove_file(&files.failed);
    write_atomically(&files.config, resolved_toml(&cell.config).as_bytes())
        .with_context(|| files.config.display().to_string())?;
    let child = train(command, files, &log).spawn().with_context(|| format!("starting {command:?}"))?;
    let status = watch(child, EventTail::new(files.run.events()), bar, interrupt)?;
    let ended = judge(status, files, cell);
    if let Ended::Failed(reason) = &ended {
        note_failure(files, reason)?;
    }
    Ok(ended)
}

/// Lets a cell fail that cannot be started.
///
/// # Errors
/// When the failure cannot be noted, or another process is running the cell.
pub(super) fn refuse(files: &CellFiles, reason: String) -> Result<Ended> {
    // What an earlier process printed does not belong to this failure.
    let _log = locked_log(&files.log)?;
    note_failure(files, &reason)?;
    Ok(Ended::Failed(reason))
}

fn note_failure(files: &CellFiles, reason: &str) -> Result<()> {
    fs::write(&files.failed, reason).with_context(|| files.failed.display().to_string())
}

/// The emptied log of a cell. It stays locked as long as this process or the child has it open, so
/// that no cell is run by two processes at a time, even when an earlier ablation died before its child.
fn locked_log(path: &Path) -> Result<File> {
    let shown = || path.display().to_string();
    if let Some(folder) = path.parent() {
        create_folders(folder).with_context(shown)?;
    }
    let log = OpenOptions::new().create(true).append(true).open(path).with_context(shown)?;
    log.try_lock().map_err(|error| anyhow!("another process seems to be running this cell: {error}"))?;
    log.set_len(0).with_context(shown)?;
    Ok(log)
}

/// `moelt train` for this cell; it says everything into the log.
fn train<'a>(command: &'a mut Command, files: &CellFiles, log: &File) -> &'a mut Command {
    let into_log = || log.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
    with_own_group(command)
        .arg("train")
        .arg(&files.config)
        .arg("--out")
        .arg(files.run.path())
        .args(["--threads", "1", "--quiet", "--verbose", "--texts"])
        .arg(&files.texts)
        .stdin(Stdio::null())
        .stdout(into_log())
        .stderr(into_log())
}

/// Waits for the child, shows how far it is, and tells it to stop when the user wants to.
fn watch(
    mut child: Child,
    mut tail: EventTail,
    bar: &mut CellBar<'_>,
    interrupt: &Interrupt,
) -> Result<ExitStatus> {
    let (mut told, begun) = (0, Instant::now());
    loop {
        if let Some(status) = child.try_wait().context("waiting for a cell")? {
            return Ok(status);
        }
        interrupt.pass_on(&child, &mut told);
        bar.show(tail.poll());
        thread::sleep((begun.elapsed() / 20).clamp(PAUSES[0], PAUSES[1]));
    }
}

fn judge(status: ExitStatus, files: &CellFiles, cell: &Cell) -> Ended {
    if status.code() == Some(INTERRUPTED.into()) || was_interrupted(status) {
        return Ended::Interrupted;
    }
    if !status.success() {
        return Ended::Failed(status.to_string());
    }
    match files.result(cell) {
        Ok(Some(result)) => Ended::Finished(Box::new(result)),
        Ok(None) => Ended::Failed("exited with 0, but left no result.json".to_owned()),
        Err(error) => Ended::Failed(format!("exited with 0, but {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_run_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cells/dense.log");
        let log = locked_log(&path).unwrap();
        assert!(locked_log(&path).unwrap_err().to_string().contains("another process"));
        drop(log);
        locked_log(&path).unwrap();
    }
}
