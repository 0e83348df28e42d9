//! What a run takes from finished ones: edits to follow, and measurements to learn from.

use std::{fs, path::Path};

use moelt_control::records;
use moelt_eval::{Decided, decisions_from_jsonl};
use moelt_schema::{CellResult, Digest, EditLog, EffectRecord, Flops, OtherRun, RunConfig, RunDir, RunRef};

use crate::{Prepared, TrainError};

/// The key that names runs to learn from.
const RECORDS_OF: &str = "control.policy.lookahead.head.records_of";

/// A finished run and what it decided.
#[derive(Clone, Debug)]
pub struct DecidedRun {
    /// Its folder, as it was named.
    pub name: String,
    /// From 1; shared by runs of one seed on the same data. They see the same batches and begin with the same experts:
    /// what one of them measured is no news to another.
    pub number: u32,
    /// Hash of its data.
    pub data: Digest,
    /// Its seed.
    pub seed: u64,
    /// Classes of its data.
    pub n_classes: usize,
    /// Floating-point operations of training it, measuring included.
    pub flops: Flops,
    /// Its decisions.
    pub decisions: Vec<Decided>,
}

/// The finished runs in the folders `names`, which `key` holds.
///
/// # Errors
/// When one is no finished run, is damaged, cannot be read, or is there twice.
pub fn decided_runs(key: &'static str, names: &[&Path]) -> Result<Vec<DecidedRun>, TrainError> {
    let mut runs: Vec<DecidedRun> = Vec::new();
    let mut configs: Vec<Digest> = Vec::new();
    for name in names {
        let wrong = |message: String| TrainError::Start { key, path: (*name).into(), message };
        let (result, decisions) = read(key, name)?;
        if let Some(same) = configs.iter().position(|config| *config == result.config) {
            return Err(wrong(format!(
                "is the same run as {}: leave one of them out",
                names[same].display()
            )));
        }
        configs.push(result.config);
        let known = runs.iter().find(|run| (run.data, run.seed) == (result.data, result.seed));
        let next = runs.iter().map(|run| run.number).max().unwrap_or(0) + 1;
        let number = known.map_or(next, |run| run.number);
        runs.push(DecidedRun {
            name: name.display().to_string(),
            number,
            data: result.data,
            seed: result.seed,
            n_classes: result.validation.per_class_accuracy.len(),
            flops: result.flops,
            decisions,
        });
    }
    Ok(runs)
}

/// What a head has learnt before its run of `config` begins.
///
/// # Errors
/// As [`decided_runs`]; when a run is this one's twin, or measured nothing that a head could learn.
pub(crate) fn taught(config: &RunConfig, prepared: &Prepared) -> Result<Vec<EffectRecord>, TrainError> {
    let named = config.control.policy.records_of().iter();
    let folders: Vec<&Path> = named.map(|run| folder_of(RECORDS_OF, run)).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    for run in decided_runs(RECORDS_OF, &folders)? {
        let wrong = |message: &str| TrainError::Start {
            key: RECORDS_OF,
            path: (&run.name).into(),
            message: message.into(),
        };
        if (run.data, run.seed) == (prepared.digest, config.seed) {
            return Err(wrong("has this run's own seed: it would know what is to come; set another seed"));
        }
        let learnt = run.decisions.iter().flat_map(|one| records(run.number, one.step, &one.evidence));
        let before = all.len();
        all.extend(learnt);
        if all.len() == before {
            return Err(wrong(
                "measured no move with the features that a head of this moelt sees; train with control.policy = \
                 \"lookahead\", as configs/phases/lookahead.toml does",
            ));
        }
    }
    Ok(all)
}

/// The edits that a placebo of `config` follows.
pub(crate) fn script(config: &RunConfig) -> Result<Option<EditLog>, TrainError> {
    let Some(OtherRun { key, run, .. }) = config.control.policy.edits_of() else { return Ok(None) };
    Ok(Some(finished(key, folder_of(key, run)?)?.edits))
}

/// The folder of another run, which an ablation must have filled in.
///
/// # Errors
/// When it stands for a cell of an arm still: only an ablation knows its folder.
pub(crate) fn folder_of<'a>(key: &'static str, run: &'a RunRef) -> Result<&'a Path, TrainError> {
    run.folder().map_err(|message| {
        let value = if key == RECORDS_OF { r#"'["DIR"]'"# } else { "DIR" };
        let message = format!("{message}: --set {key}={value}");
        TrainError::Start { key, path: run.to_string().into(), message }
    })
}

fn read(key: &'static str, name: &Path) -> Result<(CellResult, Vec<Decided>), TrainError> {
    let result = finished(key, name)?;
    let wrong = |message: String| TrainError::Start { key, path: name.into(), message };
    let decisions = read_decisions(&RunDir::new(name)).map_err(|error| wrong(error.to_string()))?;
    let (found, expected) = (Decided::digest(&decisions), result.decisions);
    if found != expected {
        let log = RunDir::EVENTS;
        return Err(wrong(format!("{log}: its decisions have hash {found}; were written with {expected}")));
    }
    Ok((result, decisions))
}

/// The decisions in the event log of a run.
pub(crate) fn read_decisions(run: &RunDir) -> Result<Vec<Decided>, TrainError> {
    let path = run.events();
    let text = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    decisions_from_jsonl(&text, RunDir::EVENTS)
        .map_err(|error| TrainError::Damaged { path, message: error.to_string() })
}

/// The result of a finished run, whose files are those that it wrote.
pub(crate) fn finished(key: &'static str, name: &Path) -> Result<CellResult, TrainError> {
    let wrong = |message: String| TrainError::Start { key, path: name.into(), message };
    let result = CellResult::read_any(&RunDir::new(name)).map_err(|error| wrong(error.to_string()))?;
    result.ok_or_else(|| wrong("is no finished run: it has no result.json".to_owned()))
}
