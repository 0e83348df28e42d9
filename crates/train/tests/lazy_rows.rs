//! Rows of the embedding table that rest when a batch does not use them: their steps, and runs that go on.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use burn::tensor::Device;
use moelt_schema::{EmbeddingUpdate, RunConfig, RunDir};
use moelt_train::{CheckpointStore, LoadedModel};
use support::{FROZEN, STEPS, config, finish, interrupt};
use tempfile::TempDir;

fn lazy() -> RunConfig {
    config(FROZEN, |config| config.optim.embedding_update = EmbeddingUpdate::Lazy)
}

#[test]
fn interrupted_at_any_step_a_run_goes_on_bit_by_bit() {
    let folder = TempDir::new().unwrap();
    let whole = finish(&lazy(), &RunDir::new(folder.path().join("whole")));
    let stopped = RunDir::new(folder.path().join("stopped"));
    [1, 7, 30, STEPS - 1].into_iter().for_each(|step| interrupt(&lazy(), &stopped, step));
    let again = finish(&lazy(), &stopped);
    assert_eq!((&again.tensors, &again.result), (&whole.tensors, &whole.result));
}

#[test]
fn each_row_counts_the_steps_that_used_it() {
    let folder = TempDir::new().unwrap();
    let run = RunDir::new(folder.path());
    finish(&lazy(), &run);
    let newest = CheckpointStore::at(run.checkpoints()).newest().unwrap().unwrap();
    let loaded = LoadedModel::load(&newest, &Device::flex()).unwrap();
    let steps = &loaded.optimizer["embedding.table"].steps;
    assert_eq!(steps.len(), loaded.vocabulary.n_rows());
    // Row 0 is no word's; words are used in most steps, but not in all.
    assert_eq!(steps[0], 0);
    assert!(
        steps[1..].iter().all(|n| (1..=STEPS).contains(n)) && steps[1..].iter().any(|n| *n < STEPS),
        "{steps:?}"
    );
}
