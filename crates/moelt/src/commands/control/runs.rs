//! Finished runs with what they decided.

use anyhow::bail;
use moelt_eval::Decided;
use moelt_schema::{RunConfig, RunDir, load_config};
use moelt_train::decisions_of;

/// A finished run.
pub(super) struct FinishedRun {
    /// Its folder, as typed.
    pub(super) name: String,
    pub(super) config: RunConfig,
    pub(super) decisions: Vec<Decided>,
}

/// The runs in these folders, each another one.
pub(super) fn finished_runs(folders: &[String]) -> anyhow::Result<Vec<FinishedRun>> {
    let runs = folders.iter().map(|folder| FinishedRun::read(folder)).collect::<Result<Vec<_>, _>>()?;
    for (at, run) in runs.iter().enumerate() {
        // A run repeats exactly: with the same config and seed it would count, or teach itself, twice.
        if let Some(same) = runs[..at].iter().find(|other| other.config == run.config) {
            bail!("RUN: {} and {} are the same run: leave one of them out", same.name, run.name);
        }
    }
    Ok(runs)
}

impl FinishedRun {
    fn read(folder: &str) -> anyhow::Result<Self> {
        let decisions = decisions_of("RUN", folder)?;
        let config = load_config(&[RunDir::new(folder).config()], &[])?;
        Ok(Self { name: folder.to_owned(), config, decisions })
    }
}
