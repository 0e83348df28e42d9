//! `ablate aa`: each arm against itself, seeds against seeds.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use moelt_eval::{AaReport, Bootstrap, Outcome, Scores, a_a};
use moelt_schema::{AblationPlan, Cell, Prediction};

use super::{AblationFolder, args::AaArgs, collect::predictions};
use crate::Site;

/// Risk of a wrong verdict for each pair.
const ALPHA: f64 = 0.05;

/// Compares every arm of a plan with itself and prints one line per pair; exit code 1 when a verdict is wrong.
///
/// # Errors
/// When a cell belongs to another plan, has no result, or an arm has too few seeds.
pub(super) fn run(
    site: &Site,
    folder: &AblationFolder,
    plan: &AblationPlan,
    args: &AaArgs,
) -> Result<ExitCode> {
    folder.check_cells(plan)?;
    let pairs = |arm: &str| {
        let scores = scores(site, folder, plan, arm)?;
        let pairs = a_a(&scores, args.seeds_a_side, args.margin, ALPHA, &Bootstrap::default());
        Ok((arm.to_owned(), pairs.with_context(|| format!("arm {arm}"))?))
    };
    let report = AaReport { arms: plan.arms().into_iter().map(pairs).collect::<Result<_>>()? };
    writeln!(stdout(), "{report}")?;
    let (_, wrong) = report.counts();
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

/// The scores of an arm on test, all of its cells finished.
fn scores(site: &Site, folder: &AblationFolder, plan: &AblationPlan, arm: &str) -> Result<Scores> {
    let read = |cell: &Cell| -> Result<(u64, Vec<Prediction>)> {
        let finished = matches!(folder.cell(&cell.id).outcome(cell), Outcome::Finished(_));
        let next = format!("go on with: {} run --name {}", site.command(), plan.name);
        ensure!(finished, "{} has no result; {next}", cell.id);
        Ok((cell.seed, predictions(site, folder, cell, "test").map_err(anyhow::Error::msg)?))
    };
    let cells = plan.cells.iter().filter(|cell| cell.arm == arm);
    let runs: Vec<(u64, Vec<Prediction>)> = cells.map(read).collect::<Result<_>>()?;
    Ok(Scores::of_predictions(runs.iter().map(|(seed, run)| (*seed, run.as_slice())))?)
}
