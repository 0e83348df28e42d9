//! One line about a cell that has ended.

use moelt_schema::{Cell, CellResult};

use super::folder::CellFiles;
use crate::Site;

/// That a cell has a result: accuracy on validation, since whoever watches may choose by what is shown.
pub(super) fn finished(cell: &Cell, result: &CellResult) -> String {
    let accuracy = 100.0 * result.validation.accuracy;
    format!("{} finished: {accuracy:.2} % on validation after {:.1} s", cell.id, result.seconds)
}

/// That it failed, and below that what it printed last.
pub(super) fn failed(site: &Site, cell: &Cell, files: &CellFiles, reason: &str) -> String {
    let mut log: String = files.log_tail().iter().map(|line| format!("\n    {line}")).collect();
    if !log.is_empty() {
        log += &format!("\n    ({})", site.shown(&files.log));
    }
    format!("{} FAILED: {reason}{log}", cell.id)
}
