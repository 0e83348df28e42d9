//! What finished cells keep: checkpoints that no other cell needs any more may go.

use std::fs;

use anyhow::{Context, Result};
use clap::ValueEnum;
use moelt_schema::{AblationPlan, Cell};

use super::{AblationFolder, folder::CellFiles};

/// Which checkpoints a finished cell keeps once every cell that builds on it has a result. Reports read none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    /// All that training kept: the newest ones and the best one.
    #[default]
    All,
    /// The best one, for `predict`, `eval` and `inspect`.
    Best,
    /// None.
    None,
}

/// After a cell has finished: it and those that it needed keep what they are to keep, as far as no open cell of the plan needs
/// them.
///
/// # Errors
/// When a checkpoint cannot be removed.
pub(super) fn tidy(folder: &AblationFolder, plan: &AblationPlan, finished: &Cell, keep: Keep) -> Result<()> {
    if keep == Keep::All {
        return Ok(());
    }
    let has_result = |cell: &Cell| matches!(folder.cell(&cell.id).result(cell), Ok(Some(_)));
    let concerned = |cell: &&Cell| cell.id == finished.id || finished.needs.contains(&cell.id);
    for cell in plan.cells.iter().filter(concerned) {
        let mut builds_on_it = plan.cells.iter().filter(|other| other.needs.contains(&cell.id));
        if has_result(cell) && builds_on_it.all(has_result) {
            forget(&folder.cell(&cell.id), keep)?;
        }
    }
    Ok(())
}

/// Removes the checkpoints of a finished run that are not to be kept.
fn forget(files: &CellFiles, keep: Keep) -> Result<()> {
    let checkpoints = files.run.checkpoints();
    let shown = || checkpoints.display().to_string();
    if !checkpoints.is_dir() {
        return Ok(());
    }
    let pointed = fs::read_to_string(checkpoints.join("best")).ok();
    let best = match (keep, pointed.as_deref().and_then(|line| line.split_whitespace().next())) {
        (Keep::None, _) => return fs::remove_dir_all(&checkpoints).with_context(shown),
        (Keep::Best, Some(best)) => best,
        // Without a best one nothing can be told from it.
        _ => return Ok(()),
    };
    // First the pointer: what it names is always whole.
    let latest = checkpoints.join("latest");
    if latest.exists() {
        fs::remove_file(latest).with_context(shown)?;
    }
    for entry in fs::read_dir(&checkpoints).with_context(shown)? {
        let path = entry.with_context(shown)?.path();
        if path.is_dir() && !path.ends_with(best) {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
