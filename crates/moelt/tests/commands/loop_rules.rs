//! What the loop is told to do: when to stop, which checkpoints to keep, how much balance counts.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Run, TINY, checkpoints, files};

/// The events of a kind, in order.
fn of_kind(run: &Run, kind: &str) -> Vec<Value> {
    run.events().into_iter().filter(|event| event["event"] == kind).collect()
}

/// A run that has nothing more to learn long before its end.
#[cfg(unix)]
fn patient(folder: &TempDir, name: &str) -> Run {
    ["train.budget.epochs=20", "train.patience=2", "train.checkpoint_every=1"]
        .into_iter()
        .fold(Run::new(folder.path(), name, TINY), Run::set)
}

#[cfg(unix)]
#[test]
fn patience_stops_early_and_is_not_forgotten_by_a_run_that_is_killed() {
    use crate::resume::{Moment, assert_same, evaluations_since_best, go_on, kill_surely};

    let folder = TempDir::new().unwrap();
    let whole = patient(&folder, "whole");
    whole.train().well();
    let stop = &of_kind(&whole, "stop")[0];
    let best_step = stop["best_step"].as_u64().unwrap();
    assert_eq!((&stop["reason"], stop["step"].as_u64()), (&"early_stopping".into(), Some(best_step + 20)));
    assert!(stop["step"].as_u64() < whole.events()[0]["total_steps"].as_u64());
    let best: Vec<bool> = of_kind(&whole, "validation").iter().map(|e| e["best"] == true).collect();
    assert_eq!(best.iter().rev().take(3).collect::<Vec<_>>(), [&false, &false, &true]);

    let killed = patient(&folder, "killed");
    kill_surely(&killed, Moment::Waiting);
    assert_eq!(evaluations_since_best(&killed), 1, "one evaluation short of the end");
    go_on(&killed);
    assert_same(&whole, &killed, &checkpoints(&whole));
}

#[test]
fn the_last_two_checkpoints_and_the_best_are_kept() {
    let folder = TempDir::new().unwrap();
    let run = Run::new(folder.path(), "run", TINY).set("train.keep_last=2");
    run.train().well();
    let written: Vec<String> =
        of_kind(&run, "checkpoint").iter().map(|event| event["name"].as_str().unwrap().to_owned()).collect();
    let best = run.pointed("best").unwrap();
    let stop = &of_kind(&run, "stop")[0];
    assert_eq!(best, format!("step-{:08}", stop["best_step"].as_u64().unwrap()));
    let last = &written[written.len() - 2..];
    assert!(written.len() > 3 && !last.contains(&best), "{best} of {written:?} shows nothing");
    assert_eq!(checkpoints(&run), [&[best], last].concat());
}

#[test]
fn the_load_balancing_loss_is_trained_on_as_told_and_reported_either_way() {
    let folder = TempDir::new().unwrap();
    let [without, with] = ["0", "1"].map(|coef| {
        let run = Run::new(folder.path(), coef, TINY)
            .set(format!("train.load_balancing_coef={coef}"))
            .set("train.log_every=1");
        run.train().well();
        let balance = |event: &Value| event["load_balancing_loss"].as_f64().unwrap();
        let losses: Vec<f64> = of_kind(&run, "window").iter().map(balance).collect();
        (files(&run.pointed_folder("latest"))["model.safetensors"], losses)
    });
    assert_ne!(without.0, with.0);
    assert_eq!((without.1.len(), with.1.len()), (60, 60));
    assert_eq!(without.1[0], with.1[0], "the first step is from the same weights");
    let last = |losses: &[f64]| losses[50..].iter().sum::<f64>() / 10.0;
    assert!(last(&with.1) < last(&without.1), "{with:?} and {without:?}");
}
