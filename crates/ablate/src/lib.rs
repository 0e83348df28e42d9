//! Ablations: phases compared over several seeds. Plans cells, runs them as processes, reports what is finished.
//!
//! A plan is fixed before the first cell runs: every config, the hash of every file that is read and of the code, and
//! what is going to be judged. Cells are processes of the `moelt` binary; this crate reads what they leave and knows
//! neither models nor tensors. `cargo xtask ablate` and `moelt ablate` are both this crate, with another [`Site`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aa;
mod args;
mod arm;
mod binary;
mod built_in;
mod by_rows;
mod cell;
mod collect;
mod design;
mod engine;
mod folder;
mod inputs;
mod interrupt;
mod needs;
mod plan_file;
mod process;
mod progress;
mod retention;
mod schedule;
mod site;
mod slurm;
mod spec;
mod standing;
mod tail;
mod teaching;
mod tell;
mod told;
mod watch;

use std::{
    io::{Write, stdout},
    num::NonZeroUsize,
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use moelt_eval::Report;
use moelt_schema::{AblationPlan, Cell};

pub use args::{AblateArgs, JobsArgs, help_for};
use args::{ChosenEngine, PlanArgs, Step};
pub use built_in::{BUILT_IN, config_files};
pub use by_rows::{OWN_RECIPE, recipe_by_rows};
use collect::collect;
pub use design::{Design, Settings};
use engine::{Engine, How, Tally};
use folder::AblationFolder;
use interrupt::Interrupt;
pub use interrupt::{INTERRUPTED, on_stop};
use retention::Keep;
pub use site::{Program, Site};
pub use teaching::{TeachingRuns, TeachingTasks, run_teaching};

/// Does what was typed.
///
/// # Errors
/// When there is no such data set, preset or phase, a plan does not fit what is there, or a file cannot be read or
/// written. Cells that fail are no error: the exit code tells.
pub fn run(site: &Site, args: AblateArgs) -> Result<ExitCode> {
    match args.step {
        None => {
            let engine = args.engine.chosen()?;
            let (folder, plan) = plan(site, &args.plan)?;
            run_with(site, &folder, &plan, &[], &engine)
        }
        Some(Step::Plan(args)) => {
            let (folder, plan) = plan(site, &args)?;
            let mut out = stdout();
            for cell in &plan.cells {
                writeln!(out, "{}", cell.id)?;
            }
            let shown = site.shown(&folder.plan());
            crate::tell!(
                "{} cells in {shown}; next: {} run --name {}",
                plan.cells.len(),
                site.command(),
                plan.name
            );
            Ok(ExitCode::SUCCESS)
        }
        Some(Step::Run { cells, name, cell, engine }) => {
            let (keep, engine) = (engine.keep(), engine.chosen()?);
            let folder = AblationFolder::named(site, &name.name)?;
            let plan = plan_file::read(site, &folder)?;
            plan_file::check_unchanged(site, &folder, &plan)?;
            match cell {
                Some(cell) => run_alone(site, &folder, &plan, &cell, keep),
                None => run_with(site, &folder, &plan, &cells, &engine),
            }
        }
        Some(Step::Collect(args)) => {
            let folder = AblationFolder::named(site, &args.name.name)?;
            let plan = plan_file::read(site, &folder)?;
            if args.watch {
                watch::until_all_have_ended(site, &folder, &plan, Duration::from_secs(args.every))?;
            }
            let report = collect(site, &folder, &plan)?;
            Ok(ExitCode::from(u8::from(report.failed().count() > 0)))
        }
        Some(Step::Aa(args)) => {
            let folder = AblationFolder::named(site, &args.name.name)?;
            aa::run(site, &folder, &plan_file::read(site, &folder)?, &args)
        }
    }
}

fn plan(site: &Site, args: &PlanArgs) -> Result<(AblationFolder, AblationPlan)> {
    let plan = Design::from_args(site, args)?.plan(site)?;
    let folder = AblationFolder::named(site, &plan.name)?;
    plan_file::settle(site, &folder, &plan)?;
    Ok((folder, plan))
}

/// Runs cells here and reports, or hands them to a cluster.
fn run_with(
    site: &Site,
    folder: &AblationFolder,
    plan: &AblationPlan,
    only: &[String],
    engine: &ChosenEngine,
) -> Result<ExitCode> {
    let cells = folder::select(plan, only)?;
    match engine {
        ChosenEngine::Local(how) => run_and_collect(site, folder, plan, &cells, how),
        ChosenEngine::Slurm(args, keep) => {
            slurm::submit(site, folder, plan, &cells, args, *keep).map(|()| ExitCode::SUCCESS)
        }
    }
}

fn run_and_collect(
    site: &Site,
    folder: &AblationFolder,
    plan: &AblationPlan,
    cells: &[&Cell],
    how: &How,
) -> Result<ExitCode> {
    let Some(tally) = run_cells(site, folder, plan, cells, how)? else {
        return Ok(interrupted(site, &plan.name));
    };
    let report = collect(site, folder, plan)?;
    let failed = tally.failed > 0 || report.failed().count() > 0;
    Ok(ExitCode::from(u8::from(failed)))
}

/// Runs one cell and reports nothing: others run beside it.
fn run_alone(
    site: &Site,
    folder: &AblationFolder,
    plan: &AblationPlan,
    called: &str,
    keep: Keep,
) -> Result<ExitCode> {
    let cell = folder::find(plan, called)?;
    let tally = run_cells(site, folder, plan, &[cell], &How { keep, ..How::new(NonZeroUsize::MIN) })?;
    Ok(tally.map_or(ExitCode::from(INTERRUPTED), |tally| ExitCode::from(u8::from(tally.failed > 0))))
}

/// Says how to go on after Ctrl-C.
fn interrupted(site: &Site, name: &str) -> ExitCode {
    crate::tell!(
        "interrupted; checkpoints are kept. Go on with the same command, or with:\n  \
         {} run --name {name}",
        site.command()
    );
    ExitCode::from(INTERRUPTED)
}

/// Plans in a fresh folder, whatever an earlier run left there, runs every cell and reports. None
/// after Ctrl-C.
///
/// # Errors
/// When the plan cannot be made, the binary cannot be built or the report cannot be written.
pub fn run_afresh(site: &Site, plan: &AblationPlan, jobs: &JobsArgs) -> Result<Option<Report>> {
    let folder = AblationFolder::named(site, &plan.name)?;
    folder.remove()?;
    plan_file::settle(site, &folder, plan)?;
    let tally = run_cells(site, &folder, plan, &folder::select(plan, &[])?, &How::new(jobs.count()))?;
    tally.map(|_| collect(site, &folder, plan)).transpose()
}

/// Builds the binary and runs the cells. None after Ctrl-C.
///
/// # Errors
/// When cells of another plan are there, or the binary cannot be built.
fn run_cells(
    site: &Site,
    folder: &AblationFolder,
    plan: &AblationPlan,
    cells: &[&Cell],
    how: &How,
) -> Result<Option<Tally>> {
    folder.check_cells(plan)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let engine = match Engine::build(site, folder, plan, interrupt.clone()) {
        Err(_) if interrupt.is_raised() => return Ok(None),
        engine => engine?,
    };
    let tally = engine.run(folder, plan, cells, how);
    Ok((!interrupt.is_raised()).then_some(tally))
}
