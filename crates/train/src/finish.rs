//! The end of a run: the best checkpoint is loaded, re-evaluated, and judged once.

use std::collections::BTreeMap;

use burn::tensor::Device;
use moelt_eval::{metrics, predictions_to_csv};
use moelt_schema::{CellResult, Digest, Metrics, RESULT_FORMAT, RunConfig, RunDir, write_atomically};

use crate::{CheckpointStore, LoadedModel, Prepared, Split, TrainError, TrainState, predict};

/// Evaluates the best checkpoint on selection, where it must repeat what was saved, and on the verdict
/// split; writes predictions and, last, `result.json`.
pub(crate) fn finish(
    config: &RunConfig,
    run: &RunDir,
    prepared: &Prepared,
    store: &CheckpointStore,
    state: &TrainState,
    device: &Device,
) -> Result<CellResult, TrainError> {
    let path = match store.pointed("best")? {
        Some(best) => best,
        None => store.path(state.step),
    };
    let best = LoadedModel::load(&path, device)?;
    let model = best.evaluated();
    let mut files = BTreeMap::new();
    let mut judge = |name: &str, split: &Split| -> Result<Metrics, TrainError> {
        let predictions = predict(&model, split);
        let (name, csv) = (RunDir::predictions_name(name), predictions_to_csv(&predictions));
        let file = run.path().join(&name);
        write_atomically(&file, csv.as_bytes()).map_err(TrainError::io(file))?;
        files.insert(name, Digest::of_bytes(csv.as_bytes()));
        Ok(metrics(&predictions, prepared.classes.len()))
    };
    let selection = judge("selection", &prepared.selection)?;
    if let Some(saved) = &best.checkpoint.manifest.selection
        && saved.confusion != selection.confusion
    {
        return Err(TrainError::Reevaluation { path, saved: saved.accuracy, now: selection.accuracy });
    }
    let verdict = judge("verdict", &prepared.verdict)?;
    let layout = best.checkpoint.manifest.layout.clone();
    let result = CellResult {
        format: RESULT_FORMAT,
        moelt: env!("CARGO_PKG_VERSION").to_owned(),
        arm: config.arm.clone(),
        seed: config.seed,
        config: config.digest(),
        data: prepared.digest,
        n_params: model.n_params(),
        n_active_params: model.n_active_params(&layout),
        layout,
        edits: state.edits.clone(),
        steps: state.step,
        best_step: best.checkpoint.manifest.step,
        splits: prepared.sizes,
        notes: prepared.notes.clone(),
        selection,
        verdict,
        bayes_accuracy: prepared.bayes_accuracy,
        flops: state.progress.flops,
        seconds: state.progress.seconds,
        files,
    };
    let json = serde_json::to_vec_pretty(&result).expect("results always serialise");
    write_atomically(&run.result(), &json).map_err(TrainError::io(run.result()))?;
    Ok(result)
}
