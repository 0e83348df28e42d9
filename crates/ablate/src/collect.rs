//! From cells to a report: on the terminal, as Markdown, as JSON, as a page.

use std::{
    collections::BTreeMap,
    fs,
    io::{Write, stdout},
    path::Path,
};

use anyhow::{Context, Result};
use moelt_eval::{
    Decided, Outcome, Readers, Report, TrainingLog, decisions_from_jsonl, predictions_from_csv,
    render::CellSource,
};
use moelt_schema::{AblationPlan, Cell, Prediction, RunDir, write_atomically};

use super::AblationFolder;
use crate::Site;

/// Reports from whatever is finished: prints the answer, a short table and the verdicts, and writes `report.json`, `report.md` and
/// `report.html`.
///
/// # Errors
/// When a cell belongs to another plan, cells saw different data, a comparison cannot be judged, or a report cannot be written.
pub(crate) fn collect(site: &Site, folder: &AblationFolder, plan: &AblationPlan) -> Result<Report> {
    folder.check_cells(plan)?;
    let outcomes = plan.cells.iter().map(|cell| (cell.id.clone(), folder.cell(&cell.id).outcome(cell)));
    let outcomes = outcomes.collect();
    if !plan.comparisons.is_empty() {
        // With many seeds and examples that takes seconds.
        crate::tell!("judging {} comparisons, {} resamples each", plan.comparisons.len(), plan.resamples);
    }
    let report = write_report(site, folder, plan, &outcomes)?;
    let mut out = stdout();
    write!(out, "{}", report.to_terminal())?;
    let [markdown, html, json] = ["md", "html", "json"].map(|kind| site.shown(&folder.report(kind)));
    writeln!(
        out,
        "All arms, each verdict in sentences, sweep, experts over time: {markdown}; for programs: {json}; with charts, for a browser: {html}"
    )?;
    Ok(report)
}

/// Writes `report.json`, `report.md` and `report.html` of these outcomes, by cell id.
///
/// # Errors
/// When cells saw different data, a comparison cannot be judged, or a report cannot be written.
pub(crate) fn write_report(
    site: &Site,
    folder: &AblationFolder,
    plan: &AblationPlan,
    outcomes: &BTreeMap<String, Outcome>,
) -> Result<Report> {
    let read = Readers {
        predictions: &|cell: &Cell, split: &str| predictions(site, folder, cell, split),
        decisions: &|cell: &Cell| decisions(site, folder, cell),
    };
    let report = Report::new(plan, outcomes, &read, site.code()?)?;
    write(&folder.report("json"), &(serde_json::to_string_pretty(&report)? + "\n"))?;
    write(&folder.report("md"), &report.to_markdown())?;
    let source = CellSource {
        plan,
        outcomes,
        log: &|cell| training(site, folder, cell),
        command: &|cell| command(site, folder, cell),
    };
    write(&folder.report("html"), &report.to_html(&source))?;
    Ok(report)
}

/// A cell's predictions on a split, or why there are none.
pub(super) fn predictions(
    site: &Site,
    folder: &AblationFolder,
    cell: &Cell,
    split: &str,
) -> Result<Vec<Prediction>, String> {
    let path = folder.cell(&cell.id).run.path().join(RunDir::predictions_name(split));
    let (text, shown) = text(site, &path)?;
    predictions_from_csv(&text, &shown).map_err(|error| error.to_string())
}

/// The evidence of a cell's decisions, or why there is none.
fn decisions(site: &Site, folder: &AblationFolder, cell: &Cell) -> Result<Vec<Decided>, String> {
    let (text, shown) = text(site, &folder.cell(&cell.id).run.events())?;
    decisions_from_jsonl(&text, &shown).map_err(|error| error.to_string())
}

/// How training a cell went, or why that is not known.
fn training(site: &Site, folder: &AblationFolder, cell: &Cell) -> Result<TrainingLog, String> {
    let (text, shown) = text(site, &folder.cell(&cell.id).run.events())?;
    TrainingLog::from_jsonl(&text, &shown).map_err(|error| error.to_string())
}

/// Runs a cell again as it was run, into a folder of its own.
fn command(site: &Site, folder: &AblationFolder, cell: &Cell) -> String {
    let (binary, files) = (site.shown(&folder.binary()), folder.cell(&cell.id));
    let [config, run] = [files.config.as_path(), files.run.path()].map(|path| site.shown(path));
    format!("{binary} train {config} --out {run}-again --threads 1")
}

/// What a file holds, and its name for people.
fn text(site: &Site, path: &Path) -> Result<(String, String), String> {
    let shown = site.shown(path);
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    Ok((text, shown))
}

fn write(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes()).with_context(|| path.display().to_string())
}
