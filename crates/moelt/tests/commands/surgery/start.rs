//! A run that starts from what another one left.

use std::{fs, path::Path};

use moelt_schema::{Event, ExpertId, Layout};
use safetensors::SafeTensors;
use serde_json::json;
use tempfile::TempDir;

use super::{finished, manifest, records, result};
use crate::{
    damage::{edit_manifest, rehash},
    support::{EDITED, Run, TINY, copy, files},
};

/// A frozen run that starts from `first`.
fn from(folder: &TempDir, name: &str, first: &Run) -> Run {
    Run::new(folder.path(), name, TINY).set(start("weights", first.dir.path()))
}

/// What is taken from a run or a checkpoint.
fn start(what: &str, from: &Path) -> String {
    format!("start.{what}.run={}", from.display())
}

/// The experts at the start, and the last note.
fn begun(run: &Run) -> (Layout, String) {
    match &records(run)[0].event {
        Event::Start { layout, notes, .. } => (layout.clone(), notes.last().cloned().unwrap_or_default()),
        event => panic!("{event:?}"),
    }
}

/// Mean loss of the first window, nats.
fn first_loss(run: &Run) -> f64 {
    let window = |event| if let Event::Window { loss, .. } = event { Some(loss) } else { None };
    records(run).into_iter().find_map(|record| window(record.event)).unwrap()
}

#[test]
fn weights_are_taken_over_with_their_experts_and_evaluate_as_when_saved() {
    let folder = TempDir::new().unwrap();
    let (first, cold) = (finished("rule"), Run::new(folder.path(), "cold", TINY));
    let warm = from(&folder, "warm", first);
    let said = warm.train().well().stderr;
    cold.train().well();
    let (layout, note) = begun(&warm);
    assert_eq!(layout, result(first).layout);
    let accuracy = format!("{:.2} % on validation, as when saved", 100.0 * result(first).validation.accuracy);
    assert!(note.starts_with("weights of ") && note.ends_with(&accuracy), "{note}");
    assert!(said.contains(&note), "{said}");
    assert!(result(&warm).edits.plans.is_empty());
    assert_eq!(result(&warm).layout, layout);
    assert!(first_loss(&warm) < first_loss(&cold), "{} and {}", first_loss(&warm), first_loss(&cold));
}

#[test]
fn weights_that_do_not_evaluate_as_when_saved_are_refused() {
    let folder = TempDir::new().unwrap();
    let first = finished("rule").in_folder(folder.path().join("first"));
    copy(finished("rule").dir.path(), first.dir.path());
    let best = first.pointed("best").unwrap();
    edit_manifest(&first.checkpoint(&best), |manifest| {
        // One text more is wrong, and all numbers agree on it.
        let validation = &mut manifest["validation"];
        let count = |value: &serde_json::Value| value.as_u64().unwrap();
        let [right, wrong] = [0, 1].map(|class| count(&validation["confusion"][0][class]));
        (validation["confusion"][0][0], validation["confusion"][0][1]) = (json!(right - 1), json!(wrong + 1));
        let all_right = right - 1 + count(&validation["confusion"][1][1]);
        validation["accuracy"] = json!(all_right as f64 / count(&validation["n"]) as f64);
    });
    rehash(&first, &best);
    let warm = from(&folder, "warm", &first);
    let parts = ["validation accuracy was 0.", " when saved and is ", "these are not the weights", &best];
    warm.train().with_error("another confusion matrix", &parts);
}

#[test]
fn weights_of_another_world_are_refused_and_the_folder_is_free_for_another_try() {
    let folder = TempDir::new().unwrap();
    let warm = from(&folder, "warm", finished("rule"));
    let refused = |set: &str, message: &str| {
        let ended = warm.clone().set(set).train();
        ended.with_error(set, &["`start.weights.run`: ", "step-", message]);
        assert!(!warm.dir.config().exists() && !warm.dir.events().exists(), "{set}");
    };
    refused("data.planted.filler_words=30", "was trained with another vocabulary");
    refused("text.max_tokens=5", "was trained with another vocabulary");
    refused("data.planted.test=65", "was trained on other data");
    refused("model.d_ff=4", "has another model; set the [model] section as in its config.toml");
    refused("model.top_k=1", "has another model; set the [model] section as in its config.toml");
    let nowhere = warm.clone().set(start("weights", &folder.path().join("gone")));
    nowhere.train().with_error("no run", &["`start.weights.run`: ", "gone has no checkpoint to start from"]);
    assert!(!warm.dir.config().exists());
    warm.train().well();
}

#[test]
fn the_number_of_experts_alone_is_a_start_from_scratch() {
    let folder = TempDir::new().unwrap();
    let first = finished("rule");
    let n_experts = result(first).layout.n_experts();
    assert_ne!(n_experts, 4, "as many as at the start show nothing");
    let sized = Run::new(folder.path(), "sized", TINY).set(start("size", first.dir.path()));
    let plain =
        Run::new(folder.path(), "plain", TINY).set(format!("model.routing.top_k.n_experts={n_experts}"));
    for run in [&sized, &plain] {
        run.train().well();
    }
    let (layout, note) = begun(&sized);
    assert!(note.starts_with("as many experts as ") && note.ends_with(&format!(": {n_experts}")), "{note}");
    assert_eq!(layout, begun(&plain).0);
    let tensors = |run: &Run| {
        let mut files = files(run.dir.path());
        files.retain(|name, _| name.ends_with(".safetensors"));
        files
    };
    assert!(tensors(&sized).len() >= 6);
    assert_eq!(tensors(&sized), tensors(&plain));
}

#[cfg(unix)]
#[test]
fn a_run_that_started_from_another_goes_on_without_it() {
    use crate::{
        resume::{Moment, assert_same, go_on, kill_surely},
        support::checkpoints,
    };

    let folder = TempDir::new().unwrap();
    let first = finished("rule").in_folder(folder.path().join("first"));
    copy(finished("rule").dir.path(), first.dir.path());
    let (whole, killed) = (from(&folder, "whole", &first), from(&folder, "killed", &first));
    whole.train().well();
    kill_surely(&killed, Moment::Pointed(2));
    fs::remove_dir_all(first.dir.path()).unwrap();
    go_on(&killed);
    assert_same(&whole, &killed, &checkpoints(&whole));
}

#[cfg(unix)]
#[test]
fn a_placebo_goes_on_with_the_edits_it_has_followed_so_far_or_not_at_all() {
    use crate::resume::{Moment, kill_surely};

    let folder = TempDir::new().unwrap();
    let model = finished("rule").in_folder(folder.path().join("model"));
    copy(finished("rule").dir.path(), model.dir.path());
    let placebo = super::configured(folder.path(), "placebo_time")
        .set(format!("control.policy.placebo_time.edits_of={}", model.dir.path().display()));
    kill_surely(&placebo, Moment::Pointed(30));
    let whole = fs::read(model.dir.result()).unwrap();
    fs::remove_dir_all(model.dir.path()).unwrap();
    copy(finished("loss").dir.path(), model.dir.path());
    let parts = [
        "`control.policy.placebo_time.edits_of`: ",
        "holds other edits than those that this run has followed so far",
    ];
    placebo.train().with_error("another run's edits", &parts);
    fs::write(model.dir.result(), whole).unwrap();
    copy(finished("rule").dir.path(), model.dir.path());
    placebo.train().well();
}

#[test]
fn a_script_that_the_run_is_too_short_for_is_refused() {
    let folder = TempDir::new().unwrap();
    let short = Run::new(folder.path(), "short", &[TINY, EDITED].concat())
        .set("train.budget.epochs=2")
        .set("control.policy=placebo_surgery")
        .set(format!("control.policy.placebo_surgery.edits_of={}", finished("rule").dir.path().display()));
    short.train().with_error("half as long", &["placebo_surgery follows ", "this run has 7 decisions"]);
}

#[test]
fn an_expert_that_was_being_let_in_is_let_in_by_the_run_that_takes_it_over() {
    let (folder, first) = (TempDir::new().unwrap(), finished("rule"));
    // One step after an edit the new expert has no share yet, some steps later a part of it.
    for age in [1, 6] {
        let is = |step: &u64| manifest(first, *step).state.ramp_ins.iter().any(|o| o.since + age == *step);
        let step = (1..80).find(is).unwrap();
        let path = first.checkpoint(&format!("step-{step:08}"));
        let warm = Run::new(folder.path(), &format!("warm-{age}"), TINY)
            .set(start("weights", &path))
            .set("control.edits.ramp_in=20")
            .set("train.checkpoint_every=1")
            .set("train.keep_last=100");
        warm.train().well();
        let biases = |step: u64| -> Vec<f32> {
            let bias = |id: &ExpertId| bias(&warm, step, *id);
            manifest(&warm, step).layout.layers()[0].experts.iter().map(bias).collect()
        };
        let lowest: Vec<f32> =
            (1..=60).map(|step| biases(step).into_iter().reduce(f32::min).unwrap()).collect();
        let at_first = if age == 1 { -30.0 } else { (5f32 / 12.0).ln() };
        assert!((lowest[0] - at_first).abs() < 1e-6, "age {age}: {lowest:?}");
        assert!(lowest.is_sorted(), "age {age}: {lowest:?}");
        assert!(lowest[19] < 0.0 && lowest[20..].iter().all(|bias| *bias == 0.0), "age {age}: {lowest:?}");
        assert!(manifest(&warm, 60).state.ramp_ins.is_empty());
    }
}

/// The router bias of an expert in the checkpoint of a step.
fn bias(run: &Run, step: u64, expert: ExpertId) -> f32 {
    let path = run.checkpoint(&format!("step-{step:08}")).join("model.safetensors");
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(&format!("layers.0.router.bias.expert.{}", expert.0)).unwrap();
    f32::from_le_bytes(tensor.data().try_into().unwrap())
}
