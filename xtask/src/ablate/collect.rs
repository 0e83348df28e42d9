//! From cells to a report: on the terminal, as Markdown, as JSON.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result};
use moelt_eval::{Outcome, Report};
use moelt_schema::{AblationPlan, write_atomically};

use super::AblationFolder;
use crate::workspace::Workspace;

/// Reports from whatever is finished: prints the table, writes `report.json` and `report.md`.
///
/// # Errors
/// When cells saw different data, or a report cannot be written.
pub(crate) fn collect(workspace: &Workspace, folder: &AblationFolder, plan: &AblationPlan) -> Result<Report> {
    let outcomes: BTreeMap<String, Outcome> =
        plan.cells.iter().map(|cell| (cell.id.clone(), folder.cell(&cell.id).outcome(cell))).collect();
    let report = Report::new(plan, &outcomes)?;
    write(&folder.report("json"), &(serde_json::to_string_pretty(&report)? + "\n"))?;
    write(&folder.report("md"), &report.to_markdown())?;
    print!("{}", report.to_terminal());
    let [markdown, json] = ["md", "json"].map(|kind| workspace.shown(&folder.report(kind)));
    println!("Report: {markdown}, {json}");
    Ok(report)
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes()).with_context(|| path.display().to_string())
}
