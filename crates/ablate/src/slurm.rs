//! The Slurm engine: what is not finished becomes array jobs, level by level of the graph of cells.
//!
//! Nothing here waits for a job. Each task runs `ablate run --cell` with the ablation's own binary, which refuses a
//! cell whose needs have no result; so an array follows those it needs whatever becomes of them.

mod commands;
mod jobs;
mod levels;
mod script;
mod time_limit;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Write, stdout},
};

use anyhow::{Context, Result};
use moelt_schema::{AblationPlan, Cell, write_atomically};

use self::jobs::Jobs;
use super::{AblationFolder, args::SlurmArgs, binary, engine::finished, retention::Keep};
use crate::Site;

/// Submits those of `cells` that are neither finished nor in the queue already.
///
/// # Errors
/// When cells of another plan are there, the binary cannot be built, or Slurm is not there or refuses a job; what it
/// accepted before is noted by then.
pub(super) fn submit(
    site: &Site,
    folder: &AblationFolder,
    plan: &AblationPlan,
    cells: &[&Cell],
    args: &SlurmArgs,
    keep: Keep,
) -> Result<()> {
    folder.check_cells(plan)?;
    binary::install(site, folder, plan)?;
    let jobs = Jobs::read(folder.slurm("jobs.json"))?;
    let queued = jobs.queued(plan.cells.iter().filter(|cell| !has_result(folder, cell)))?;
    let is_open = |cell: &&&Cell| queued.contains_key(&cell.id) || !is_finished(folder, cell, args.dry_run);
    let open: Vec<&Cell> = cells.iter().filter(is_open).copied().collect();
    say_what_stays(cells.len() - open.len(), &queued);
    let arrays = levels::arrays(&open, |cell| queued.contains_key(&cell.id));
    if arrays.is_empty() {
        return say_next(site, &plan.name, &queued);
    }
    if let Some(limit) = &args.time {
        let warned = time_limit::warning(limit, &open, &took(folder, plan));
        warned.into_iter().for_each(|warning| crate::tell!("{warning}"));
    }
    let mut submission = Submission { site, folder, args, keep, jobs, job_of: queued };
    for (number, array) in arrays.iter().enumerate() {
        submission.array(number + 1, array).with_context(|| submission.what_is_left(&arrays[number..]))?;
    }
    if args.dry_run {
        say_unknown(&submission.site.shown(&folder.slurm("jobs.json")));
        return Ok(());
    }
    say_next(site, &plan.name, &submission.job_of)
}

/// Whether a cell does not have to run any more. A dry run leaves a result that does not count where it is.
fn is_finished(folder: &AblationFolder, cell: &Cell, dry_run: bool) -> bool {
    if dry_run {
        has_result(folder, cell) && !folder.cell(&cell.id).failed.exists()
    } else {
        finished(folder, cell).is_some()
    }
}

fn has_result(folder: &AblationFolder, cell: &Cell) -> bool {
    matches!(folder.cell(&cell.id).result(cell), Ok(Some(_)))
}

/// The arms of finished cells, with the seconds that each trained.
fn took<'a>(folder: &AblationFolder, plan: &'a AblationPlan) -> Vec<(&'a str, f64)> {
    let of = |cell: &'a Cell| {
        let result = folder.cell(&cell.id).result(cell).ok()??;
        Some((cell.arm.as_str(), result.seconds))
    };
    plan.cells.iter().filter_map(of).collect()
}

/// Arrays on their way to Slurm.
struct Submission<'a> {
    site: &'a Site<'a>,
    folder: &'a AblationFolder,
    args: &'a SlurmArgs,
    keep: Keep,
    jobs: Jobs,
    /// The job in which each cell waits or runs; in a dry run the shell's variable for it.
    job_of: BTreeMap<String, String>,
}

impl Submission<'_> {
    /// Writes the script of an array and submits it after the jobs of the cells that it needs.
    fn array(&mut self, number: usize, array: &levels::Array<'_>) -> Result<()> {
        let path = self.folder.slurm(&format!("array-{number}.sh"));
        let shown = self.site.shown(&path);
        let text = script::text(&self.folder.name(), &array.cells, self.args, self.keep);
        write_atomically(&path, text.as_bytes()).with_context(|| shown.clone())?;
        let waits_for = array.waits_for.iter().filter_map(|id| self.job_of.get(*id).map(String::as_str));
        let after: BTreeSet<&str> = waits_for.collect();
        let arguments = commands::sbatch_arguments(&after, &shown);
        let ids: Vec<String> = array.cells.iter().map(|cell| cell.id.clone()).collect();
        let job = if self.args.dry_run {
            writeln!(stdout(), "array{number}=$(sbatch {})", arguments.join(" "))?;
            format!("$array{number}")
        } else {
            let job = commands::sbatch(self.site.root(), &arguments)?;
            self.jobs.add(&job, &ids)?;
            writeln!(stdout(), "job {job}: {} cells, {shown}{}", ids.len(), following(&after))?;
            job
        };
        self.job_of.extend(ids.into_iter().map(|id| (id, job.clone())));
        Ok(())
    }

    fn what_is_left(&self, arrays: &[levels::Array<'_>]) -> String {
        let cells: usize = arrays.iter().map(|array| array.cells.len()).sum();
        format!("{cells} cells are not submitted; the same command submits them")
    }
}

fn following(after: &BTreeSet<&str>) -> String {
    let jobs: Vec<&str> = after.iter().copied().collect();
    if jobs.is_empty() { String::new() } else { format!(", after {}", jobs.join(" and ")) }
}

fn say_what_stays(finished: usize, queued: &BTreeMap<String, String>) {
    if finished > 0 {
        crate::tell!("{finished} cells are finished already");
    }
    if !queued.is_empty() {
        crate::tell!("{} cells are in the queue already: {}", queued.len(), distinct(queued).join(", "));
    }
}

/// Which jobs are in the queue is known by what was noted, and Slurm does not say which cells a job has.
fn say_unknown(jobs: &str) {
    crate::tell!(
        "nothing is submitted. Jobs that you submit by hand are not noted in {jobs}: while they wait or run, this command without \
         --dry-run submits their cells once more, and cells that run already fail in the second job"
    );
}

/// How to watch and to report, from anywhere and at any time.
fn say_next(site: &Site, name: &str, job_of: &BTreeMap<String, String>) -> Result<()> {
    let mut out = stdout();
    let jobs = distinct(job_of);
    if jobs.is_empty() {
        writeln!(out, "nothing to submit")?;
    } else {
        writeln!(out, "watch:  squeue -j {}", jobs.join(","))?;
    }
    writeln!(out, "report: {} collect --name {name}  (also while cells run)", site.command())?;
    Ok(())
}

/// The jobs, each once, as they were submitted.
fn distinct(job_of: &BTreeMap<String, String>) -> Vec<&str> {
    let jobs: BTreeSet<&String> = job_of.values().collect();
    let mut jobs: Vec<&str> = jobs.into_iter().map(String::as_str).collect();
    // 2 before 15.
    jobs.sort_by_key(|job| job.len());
    jobs
}
