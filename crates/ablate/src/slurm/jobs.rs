//! `slurm/jobs.json`: what was submitted earlier, and what of it is still in the queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::PathBuf,
};

use anyhow::{Context, Result};
use moelt_schema::{Cell, write_atomically};
use serde::{Deserialize, Serialize};

use super::commands;

/// Every array job of an ablation, in the order of submission.
pub(super) struct Jobs {
    path: PathBuf,
    jobs: Vec<Job>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    /// As Slurm counts them.
    job: String,
    /// Ids, in the order of the array's indices.
    cells: Vec<String>,
}

impl Jobs {
    /// Those noted at `path`; none when there is no such file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(path: PathBuf) -> Result<Self> {
        let shown = || path.display().to_string();
        let jobs = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => serde_json::from_slice(&text.with_context(shown)?).with_context(shown)?,
        };
        Ok(Self { path, jobs })
    }

    /// Notes a job, on disk too.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn add(&mut self, job: &str, cells: &[String]) -> Result<()> {
        self.jobs.push(Job { job: job.to_owned(), cells: cells.to_vec() });
        write_atomically(&self.path, &serde_json::to_vec_pretty(&self.jobs)?)
            .with_context(|| format!("job {job} is submitted, but not noted in {}", self.path.display()))
    }

    /// Those of `cells` that wait or run, by id, with their jobs.
    ///
    /// # Errors
    /// When Slurm cannot be asked.
    pub(super) fn queued<'a>(
        &self,
        cells: impl Iterator<Item = &'a Cell>,
    ) -> Result<BTreeMap<String, String>> {
        let cells: BTreeSet<&str> = cells.map(|cell| cell.id.as_str()).collect();
        let asked = self.jobs.iter().filter(|job| job.cells.iter().any(|id| cells.contains(id.as_str())));
        let asked: Vec<&Job> = asked.collect();
        let tasks = commands::tasks_in_queue(&asked.iter().map(|job| job.job.as_str()).collect::<Vec<_>>())?;
        let mut queued = BTreeMap::new();
        for job in asked {
            for (index, id) in job.cells.iter().enumerate() {
                if cells.contains(id.as_str()) && tasks.contains(&format!("{}_{index}", job.job)) {
                    queued.insert(id.clone(), job.job.clone());
                }
            }
        }
        Ok(queued)
    }
}
