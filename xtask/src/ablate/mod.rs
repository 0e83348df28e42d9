//! `ablate`: plan cells, run them as processes, report what is finished.

mod aa;
mod cell;
mod code;
mod collect;
mod design;
mod engine;
mod folder;
mod inputs;
mod needs;
mod plan_file;
mod progress;
mod schedule;
mod spec;
mod tail;

use std::{num::NonZeroUsize, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};
use moelt_eval::Report;
use moelt_schema::{AblationPlan, Cell};

use collect::collect;
pub(crate) use design::{Design, Settings};
use engine::{Engine, Tally};
use folder::AblationFolder;

use crate::{
    interrupt::{INTERRUPTED, Interrupt},
    workspace::Workspace,
};

const EXAMPLES: &str = "\
Examples:
  cargo xtask ablate
  cargo xtask ablate --preset smoke
  cargo xtask ablate --dataset sst2 --phases q1,q2 --seeds 5
  cargo xtask ablate --phases q2,7a,7b3
  cargo xtask ablate --phases q2 --set optim.lr=0.001 --name slower
  cargo xtask ablate collect --name planted-standard

Finished cells are never run twice: after an interruption or a failure, give the same command again.";

/// Compare phases over several seeds: plan, run, report.
#[derive(Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct AblateArgs {
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    jobs: JobsArgs,
    #[command(subcommand)]
    step: Option<Step>,
}

#[derive(Subcommand)]
enum Step {
    /// Write runs/NAME/plan.json: every cell with its config.
    #[command(after_help = "Example:\n  cargo xtask ablate plan --preset full --name night")]
    Plan(PlanArgs),
    /// Run the cells of a plan that are not finished.
    #[command(after_help = "Example:\n  cargo xtask ablate run --name night --jobs 2")]
    Run {
        /// Only these cells (ids as in plan.json).
        cells: Vec<String>,
        #[command(flatten)]
        name: NameArgs,
        #[command(flatten)]
        jobs: JobsArgs,
    },
    /// Report from whatever is finished: table, report.md, report.json.
    #[command(after_help = "Example:\n  cargo xtask ablate collect --name night")]
    Collect(NameArgs),
    /// Compare each arm with itself, seeds against other seeds: verdicts where nothing differs.
    #[command(after_help = "Example:\n  cargo xtask ablate --phases q2 --seeds 100 --name same\n  \
                            cargo xtask ablate aa --name same")]
    Aa(AaArgs),
}

/// What to plan.
#[derive(Args)]
pub(crate) struct PlanArgs {
    /// Data set: a file of configs/datasets that also has one in configs/ablations.
    #[arg(long, default_value = "planted")]
    dataset: String,
    /// Preset of configs/ablations/DATASET.toml, such as smoke, standard, full.
    #[arg(long, default_value = "standard")]
    preset: String,
    /// Phases: files of configs/phases, and frozen-N for N frozen experts, in the order of the report; a
    /// phase that builds on another (7b3 on 7a) runs after it [default: the preset's].
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    phases: Option<Vec<String>>,
    /// Seeds per phase [default: the preset's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first of them; the others follow [default: the preset's].
    #[arg(long, value_name = "SEED")]
    first_seed: Option<u64>,
    /// Folder below runs/ [default: DATASET-PRESET, and a hash of what deviates from the preset].
    #[arg(long)]
    name: Option<String>,
    /// Set a config key in every cell; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

#[derive(Args)]
struct NameArgs {
    /// The ablation: a folder below runs/.
    #[arg(long, default_value = "planted-standard")]
    name: String,
}

/// How an arm is compared with itself.
#[derive(Args)]
struct AaArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Seeds on either side of a pair.
    #[arg(long, default_value_t = 5, value_name = "N")]
    seeds_a_side: usize,
    /// Margin, as a fraction.
    #[arg(long, default_value_t = 0.005)]
    margin: f64,
}

/// How many at a time.
#[derive(Args)]
pub(crate) struct JobsArgs {
    /// Cells that run at the same time, one thread each.
    #[arg(long, default_value = "2", value_name = "N")]
    jobs: NonZeroUsize,
}

pub(crate) fn run(workspace: &Workspace, args: AblateArgs) -> Result<ExitCode> {
    match args.step {
        None => {
            let (folder, plan) = plan(workspace, &args.plan)?;
            run_and_collect(workspace, &folder, &plan, &[], &args.jobs)
        }
        Some(Step::Plan(args)) => {
            let (folder, plan) = plan(workspace, &args)?;
            for cell in &plan.cells {
                println!("{}", cell.id);
            }
            let shown = workspace.shown(&folder.plan());
            eprintln!(
                "{} cells in {shown}; next: cargo xtask ablate run --name {}",
                plan.cells.len(),
                plan.name
            );
            Ok(ExitCode::SUCCESS)
        }
        Some(Step::Run { cells, name, jobs }) => {
            let folder = AblationFolder::named(workspace, &name.name)?;
            let plan = plan_file::read(&folder)?;
            plan_file::check_unchanged(workspace, &folder, &plan)?;
            run_and_collect(workspace, &folder, &plan, &cells, &jobs)
        }
        Some(Step::Collect(name)) => {
            let folder = AblationFolder::named(workspace, &name.name)?;
            let report = collect(workspace, &folder, &plan_file::read(&folder)?)?;
            Ok(ExitCode::from(u8::from(report.failed().count() > 0)))
        }
        Some(Step::Aa(args)) => {
            let folder = AblationFolder::named(workspace, &args.name.name)?;
            aa::run(workspace, &folder, &plan_file::read(&folder)?, &args)
        }
    }
}

fn plan(workspace: &Workspace, args: &PlanArgs) -> Result<(AblationFolder, AblationPlan)> {
    let plan = Design::from_args(workspace, args)?.plan(workspace)?;
    let folder = AblationFolder::named(workspace, &plan.name)?;
    plan_file::settle(workspace, &folder, &plan)?;
    Ok((folder, plan))
}

fn run_and_collect(
    workspace: &Workspace,
    folder: &AblationFolder,
    plan: &AblationPlan,
    only: &[String],
    jobs: &JobsArgs,
) -> Result<ExitCode> {
    let cells = folder::select(plan, only)?;
    let Some(tally) = run_cells(workspace, folder, plan, &cells, jobs)? else {
        return Ok(interrupted(&plan.name));
    };
    let report = collect(workspace, folder, plan)?;
    let failed = tally.failed > 0 || report.failed().count() > 0;
    Ok(ExitCode::from(u8::from(failed)))
}

/// Says how to go on after Ctrl-C.
fn interrupted(name: &str) -> ExitCode {
    eprintln!(
        "interrupted; checkpoints are kept. Go on with the same command, or with:\n  \
         cargo xtask ablate run --name {name}"
    );
    ExitCode::from(INTERRUPTED)
}

/// Plans in a fresh folder, whatever an earlier run left there, runs every cell and reports. None
/// after Ctrl-C.
///
/// # Errors
/// When the plan cannot be made, the binary cannot be built or the report cannot be written.
pub(crate) fn run_afresh(
    workspace: &Workspace,
    plan: &AblationPlan,
    jobs: &JobsArgs,
) -> Result<Option<Report>> {
    let folder = AblationFolder::named(workspace, &plan.name)?;
    folder.remove()?;
    plan_file::settle(workspace, &folder, plan)?;
    let tally = run_cells(workspace, &folder, plan, &folder::select(plan, &[])?, jobs)?;
    tally.map(|_| collect(workspace, &folder, plan)).transpose()
}

/// Builds the binary and runs the cells. None after Ctrl-C.
///
/// # Errors
/// When cells of another plan are there, or the binary cannot be built.
fn run_cells(
    workspace: &Workspace,
    folder: &AblationFolder,
    plan: &AblationPlan,
    cells: &[&Cell],
    jobs: &JobsArgs,
) -> Result<Option<Tally>> {
    folder.check_cells(plan)?;
    let interrupt = Interrupt::on_ctrl_c()?;
    let engine = match Engine::build(workspace, folder, plan, interrupt.clone()) {
        Err(_) if interrupt.is_raised() => return Ok(None),
        engine => engine?,
    };
    let tally = engine.run(folder, plan, cells, jobs.jobs);
    Ok((!interrupt.is_raised()).then_some(tally))
}
