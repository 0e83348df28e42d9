//! Whether a control head reaches the backbone: an isolated one by nothing at all, a joint one from the first step.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use std::collections::BTreeMap;

use moelt_schema::{Budget, ControlGradients, DecisionKind, Digest, Event, Flops, RunConfig, RunDir};
use moelt_train::CheckpointStore;
use tempfile::TempDir;

use support::{FROZEN, Finished, LABEL_HEAD, config, finish, tensors};

/// The steps of a run that is looked at after every step.
const STEPS: u64 = 20;

type Tensors = BTreeMap<&'static str, Digest>;

/// A run whose time for edits begins after its last decision, and its checkpoints after every step.
fn step_by_step(control: &str) -> (Finished, Vec<Tensors>) {
    let every_step = |config: &mut RunConfig| {
        (config.control.edits.warmup, config.train.budget) = (0.95, Budget::Epochs(1.0));
        (config.train.checkpoint_every, config.train.keep_last) = (1, STEPS as usize);
    };
    let folder = TempDir::new().unwrap();
    let run = RunDir::new(folder.path().join("run"));
    let finished = finish(&config(control, every_step), &run);
    let store = CheckpointStore::at(run.checkpoints());
    let steps = (1..=STEPS).map(|step| tensors(&store.path(step))).collect();
    let actions = finished.actions();
    assert!(actions.iter().all(|(_, action)| *action == DecisionKind::Keep), "{actions:?}");
    (finished, steps)
}

/// What the windows say of a head that is not isolated.
fn windows(run: &Finished) -> Vec<Option<ControlGradients>> {
    let control = |event: &Event| match event {
        Event::Window { control, .. } => Some(*control),
        _ => None,
    };
    run.events.iter().filter_map(|record| control(&record.event)).collect()
}

/// Steps that the run's head has learnt from.
fn lessons(run: &Finished) -> u64 {
    run.manifest.state.policy.head.as_ref().unwrap().networks[0].updates
}

/// What the head's learning took: something, and little.
fn head_flops(run: &Finished) -> Flops {
    let flops = run.manifest.state.policy.head.as_ref().unwrap().flops;
    assert!(flops > 0 && 50 * flops < run.result.flops.unpadded, "{flops}");
    Flops::unpadded(flops)
}

/// A head that learns these labels.
fn head(labels: &str) -> String {
    format!("{LABEL_HEAD}labels = {labels}\n")
}

/// A head of this weight.
fn joint_head(joint: f64) -> String {
    head(&format!("{{ entropy = {{ joint = {joint:?} }} }}"))
}

#[test]
fn an_isolated_head_learns_and_the_backbone_is_that_of_a_frozen_run_at_every_step() {
    let (frozen, of_frozen) = step_by_step(FROZEN);
    for labels in ["{ entropy = { joint = 0.0 } }", "'random'"] {
        let (isolated, steps) = step_by_step(&head(labels));
        for (step, pair) in (1..).zip(steps.iter().zip(&of_frozen)) {
            assert_eq!(pair.0, pair.1, "{labels}, step {step}");
        }
        isolated.assert_trained_like(&frozen, labels);
        assert_eq!(lessons(&isolated), 2 * STEPS, "one of each layer");
        assert!(windows(&isolated).iter().all(Option::is_none));
        let head = head_flops(&isolated);
        let result = &isolated.result;
        assert_eq!((result.flops, result.measuring_flops), (frozen.result.flops + head, head));
    }
    assert!(windows(&frozen).iter().all(Option::is_none));
}

#[test]
fn a_joint_head_moves_the_backbone_from_the_first_step() {
    let (frozen, of_frozen) = step_by_step(FROZEN);
    let (joint, steps) = step_by_step(&joint_head(0.5));
    for (step, (one, other)) in (1..).zip(steps.iter().zip(&of_frozen)) {
        for file in ["model.safetensors", "average.safetensors", "optimizer.safetensors"] {
            assert_ne!(one[file], other[file], "{file}, step {step}");
        }
    }
    assert_eq!(joint.losses[0], frozen.losses[0], "the loss is that of before the first step");
    assert_ne!(joint.losses[1], frozen.losses[1]);
    assert_eq!(lessons(&joint), 2 * STEPS);
    // A second pass each step, and the head.
    let head = head_flops(&joint);
    let result = &joint.result;
    let expected = frozen.result.flops * 2 + head;
    assert_eq!((result.flops.unpadded, result.measuring_flops), (expected.unpadded, head));
}

#[test]
fn windows_of_a_joint_run_say_how_its_gradients_lie() {
    let (joint, _) = step_by_step(&joint_head(0.5));
    let windows = windows(&joint);
    assert_eq!(windows.len() as u64, STEPS.div_ceil(4));
    for window in windows {
        let ControlGradients { loss, task_norm, control_norm, cosine } = window.unwrap();
        assert!([loss, task_norm, control_norm].iter().all(|x| x.is_finite() && *x > 0.0), "{window:?}");
        assert!(cosine.abs() <= 1.0 && cosine != 0.0, "{window:?}");
    }
}

/// α is the weight of the head's loss: its gradient is that much longer, and as α goes to 0 the head is isolated.
#[test]
fn the_joined_gradient_is_as_long_as_alpha_says() {
    let first = |joint: f64| {
        let folder = TempDir::new().unwrap();
        let window = |config: &mut RunConfig| {
            (config.train.log_every, config.train.budget) = (1, Budget::Epochs(0.2));
        };
        let run = finish(&config(&joint_head(joint), window), &RunDir::new(folder.path().join("run")));
        windows(&run)[0].unwrap()
    };
    let [one, ten] = [0.1, 1.0].map(first);
    assert_eq!((one.loss.to_bits(), one.task_norm.to_bits()), (ten.loss.to_bits(), ten.task_norm.to_bits()));
    assert!((ten.control_norm / one.control_norm - 10.0).abs() < 1e-3, "{one:?} {ten:?}");
    assert!((ten.cosine - one.cosine).abs() < 1e-3, "{one:?} {ten:?}");
}
