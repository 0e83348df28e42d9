//! Finished runs with their configs and what they decided.

use std::path::Path;

use moelt_control::{head::MeasuredMove, measured_gain, records};
use moelt_schema::{RunConfig, RunDir, load_config};
use moelt_train::{DecidedRun, decided_runs};

/// A finished run.
pub(super) struct FinishedRun {
    pub(super) decided: DecidedRun,
    pub(super) config: RunConfig,
}

/// The runs in these folders, each another one.
pub(super) fn finished_runs(folders: &[String]) -> anyhow::Result<Vec<FinishedRun>> {
    let finished = |decided: DecidedRun| {
        let config = load_config(&[RunDir::new(&decided.name).config()], &[])?;
        Ok(FinishedRun { decided, config })
    };
    let folders: Vec<&Path> = folders.iter().map(Path::new).collect();
    decided_runs("RUN", &folders)?.into_iter().map(finished).collect()
}

/// The moves that a run measured.
pub(super) fn measured_moves(run: &FinishedRun) -> Vec<MeasuredMove> {
    let DecidedRun { number, decisions, .. } = &run.decided;
    let of_decision = |decided: &moelt_eval::Decided| {
        let with_gain =
            |record| Some(MeasuredMove { gain: measured_gain(&record, &decided.evidence)?, record });
        let records = records(*number, decided.step, &decided.evidence).into_iter();
        records.filter_map(with_gain).collect::<Vec<_>>()
    };
    decisions.iter().flat_map(of_decision).collect()
}
