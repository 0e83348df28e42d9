//! Splits by evidence, drops and the descent: killed and resumed inside every part, and a run that never finds evidence.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use std::path::Path;

use moelt_schema::{
    Activation, Budget, DataConfig, DecisionKind, Edit, Event, ExpertInit, RunConfig, RunDir, Unit,
};
use support::{FROZEN, Finished, config, finish, interrupt, kill};
use tempfile::TempDir;

/// Any gain above 0 splits, nearly all units are drawn anew, and smaller sets always pass.
const EAGER: &str = "
[control.policy.split_and_drop]
times = [0.2, 0.35]
texts = 60
[control.policy.split_and_drop.drop]
first_most = 3
loss = 0.02
grace = 0.1
[control.policy.split_and_drop.split]
z = 0.0
gain = 0.0
share = 0.0
texts = 1500
redraw_below = 0.9
[control.policy.split_and_drop.descent]
quiet = 5
latest = 0.5
horizon = 0.1
loss = 10.0
settled = 100.0
";

/// 60 steps on sequences of three domains, of which small regressions can tell something.
fn run_of(policy: &str, change: impl Fn(&mut RunConfig)) -> RunConfig {
    config(policy, |config| {
        let DataConfig::Planted(planted) = &mut config.data else { panic!() };
        planted.train = 3000;
        config.train.batch_size = 50;
        config.train.budget = Budget::Epochs(1.0);
        (config.model.unit, config.model.embedding_std, config.model.layer_norm) =
            (Unit::Sequence, 1.0, false);
        change(config);
    })
}

fn edits(run: &Finished) -> Vec<Edit> {
    let of_plan = |event: &Event| match event {
        Event::Edit { plan, .. } => plan.edits.clone(),
        _ => Vec::new(),
    };
    run.events.iter().flat_map(|record| of_plan(&record.event)).collect()
}

/// Killed or stopped at every decision, a run ends as the `whole` one did.
fn goes_on_from_every_decision(config: &RunConfig, whole: &Finished, folder: &Path) {
    let actions = whole.actions();
    for (number, (step, action)) in actions.iter().enumerate() {
        let run = RunDir::new(folder.join(format!("killed-{number}")));
        let of_step = actions.iter().take(number).filter(|(other, _)| other == step).count();
        let seen = std::cell::Cell::new(0);
        kill(config, &run, &|record| {
            let is_decision = record.step == *step && matches!(record.event, Event::Decision { .. });
            is_decision && seen.replace(seen.get() + 1) == of_step
        });
        let again = finish(config, &run);
        assert_eq!(
            (&again.tensors, &again.result),
            (&whole.tensors, &whole.result),
            "step {step}, {action:?}"
        );
        assert_eq!(again.manifest, whole.manifest);
    }
    let stopped = RunDir::new(folder.join("stopped"));
    let mut steps: Vec<u64> = actions.iter().map(|(step, _)| *step).collect();
    steps.dedup();
    steps.iter().for_each(|step| interrupt(config, &stopped, *step));
    let again = finish(config, &stopped);
    assert_eq!((&again.tensors, &again.events), (&whole.tensors, &whole.events));
}

#[test]
fn killed_or_stopped_at_any_decision_a_run_goes_on_bit_by_bit() {
    for activation in [Activation::Relu, Activation::Swiglu] {
        does_everything_and_goes_on(&run_of(EAGER, |config| config.model.activation = activation));
    }
}

fn does_everything_and_goes_on(config: &RunConfig) {
    let folder = TempDir::new().unwrap();
    let whole = finish(config, &RunDir::new(folder.path().join("whole")));
    let edits = edits(&whole);
    let is_split = |edit: &Edit| matches!(edit, Edit::Grow { init: ExpertInit::SplitAlong { .. }, .. });
    assert!(edits.iter().any(is_split), "{edits:?}");
    assert!(edits.iter().any(|edit| matches!(edit, Edit::Redraw { .. })), "{edits:?}");
    assert!(edits.iter().any(|edit| matches!(edit, Edit::Prune { .. })), "{edits:?}");
    let actions = whole.actions();
    assert!(actions.iter().any(|(_, action)| *action == DecisionKind::Measure), "{actions:?}");
    assert!(whole.manifest.state.measuring_flops.computed > 0, "looks and races cost something");
    goes_on_from_every_decision(config, &whole, folder.path());
}

/// `descend`, with races that smaller sets always win.
#[test]
fn races_alone_go_on_bit_by_bit() {
    let races = "
[control.policy.split_and_drop]
times = []
texts = 60
split.most = 0
descent = { latest = 0.3, horizon = 0.1, loss = 10.0, settled = 100.0 }
";
    let folder = TempDir::new().unwrap();
    let config = run_of(races, |_| ());
    let whole = finish(&config, &RunDir::new(folder.path().join("whole")));
    assert!(edits(&whole).len() > 2 && edits(&whole).iter().all(|edit| matches!(edit, Edit::Prune { .. })));
    let actions = whole.actions();
    assert!(actions.iter().filter(|(_, action)| *action == DecisionKind::Measure).count() > 1, "{actions:?}");
    goes_on_from_every_decision(&config, &whole, folder.path());
}

/// `zero-shot-cut`, with a bound that nothing exceeds.
#[test]
fn a_late_cut_by_saliency_goes_on_bit_by_bit() {
    let cut = "
[control.policy.split_and_drop]
times = [0.9]
texts = 60
split.most = 0
descent.horizon = 0.0
drop = { order = 'saliency', loss = 10.0 }
";
    let folder = TempDir::new().unwrap();
    let config = run_of(cut, |_| ());
    let whole = finish(&config, &RunDir::new(folder.path().join("whole")));
    // Two layers of three experts: one each is left.
    assert_eq!(edits(&whole).len(), 4);
    let looked = whole.actions();
    assert_eq!(looked, [(54, DecisionKind::Look), (54, DecisionKind::Apply)]);
    let evidence = whole.events.iter().find_map(|record| match &record.event {
        Event::Edit { plan, .. } => Some(&plan.evidence),
        _ => None,
    });
    assert!(evidence.unwrap().layers.iter().all(|layer| layer.saliency.len() == 3), "{evidence:?}");
    goes_on_from_every_decision(&config, &whole, folder.path());
}

#[test]
fn a_run_that_never_finds_evidence_is_the_frozen_run_but_for_its_cost() {
    let folder = TempDir::new().unwrap();
    let frozen = finish(&run_of(FROZEN, |_| ()), &RunDir::new(folder.path().join("frozen")));
    // Nothing passes the test, and no layer may have fewer experts.
    let blind = EAGER.replace("z = 0.0", "z = 1e9");
    let blind = run_of(&blind, |config| config.control.edits.min_experts = 3);
    let silent = finish(&blind, &RunDir::new(folder.path().join("silent")));
    assert_eq!((&silent.tensors, &silent.losses), (&frozen.tensors, &frozen.losses));
    assert!(silent.actions().iter().any(|(_, action)| *action == DecisionKind::Look));
    assert!(silent.result.flops.computed > frozen.result.flops.computed);
}
