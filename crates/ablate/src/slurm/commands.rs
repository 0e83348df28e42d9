//! Slurm's own commands.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Result, anyhow, ensure};

/// What follows `sbatch` for a script that is to run when the jobs `after` have ended, well or not.
pub(super) fn sbatch_arguments(after: &BTreeSet<&str>, script: &str) -> Vec<String> {
    let after: Vec<&str> = after.iter().copied().collect();
    let dependency = (!after.is_empty()).then(|| format!("--dependency=afterany:{}", after.join(":")));
    ["--parsable".to_owned()].into_iter().chain(dependency).chain([script.to_owned()]).collect()
}

/// Submits and gives the job's id.
///
/// # Errors
/// When there is no Slurm, or it refuses; the message is Slurm's own.
pub(super) fn sbatch(root: &Path, arguments: &[String]) -> Result<String> {
    let output = run("sbatch", Command::new("sbatch").args(arguments).current_dir(root))?;
    ensure!(output.status.success(), "sbatch refused {}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    // With several clusters `ID;CLUSTER`.
    let id = printed.trim().split(';').next().unwrap_or_default();
    ensure!(is_number(id), "sbatch --parsable printed `{}`, which is no job's id", printed.trim());
    Ok(id.to_owned())
}

/// The tasks of array jobs that wait or run, as `JOB_INDEX`.
///
/// # Errors
/// When there is no Slurm, or it cannot be asked.
pub(super) fn tasks_in_queue(jobs: &[&str]) -> Result<BTreeSet<String>> {
    if jobs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let list = jobs.join(",");
    let output = run(
        "squeue",
        Command::new("squeue").args(["--noheader", "--array", "--format=%i", "--jobs", &list]),
    )?;
    // Slurm forgets jobs that have ended some minutes ago.
    let forgotten = String::from_utf8_lossy(&output.stderr).contains("Invalid job id");
    ensure!(output.status.success() || forgotten, "squeue --jobs {list} failed {}", said(&output));
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect())
}

fn run(program: &str, command: &mut Command) -> Result<Output> {
    command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "there is no `{program}` on PATH: give the command on a machine that submits to the cluster, or run cells with \
             another scheduler (docs/cluster.md)"
        ),
        _ => anyhow!("starting {program}: {error}"),
    })
}

fn said(output: &Output) -> String {
    format!("({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
