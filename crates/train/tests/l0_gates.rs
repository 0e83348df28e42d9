//! Gates of experts: killed and resumed at any step, and what they cost.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use moelt_schema::{DecisionKind, Event, RunConfig, RunDir};
use support::{FROZEN, config, finish, interrupt, kill};
use tempfile::TempDir;

/// A price that nothing is worth, and gates that learn fast.
const DEAR: &str = "
[control.policy.l0_gates]
price = 10.0
lr = 0.3
";

fn gates(policy: &str) -> RunConfig {
    config(policy, |config| config.model.top_k = 1)
}

#[test]
fn killed_or_stopped_at_any_step_a_run_goes_on_bit_by_bit() {
    let (folder, dear) = (TempDir::new().unwrap(), gates(DEAR));
    let whole = finish(&dear, &RunDir::new(folder.path().join("whole")));
    // One expert of each layer is left.
    assert_eq!(whole.manifest.layout.n_experts(), 2);
    let actions = whole.actions();
    assert_eq!(actions.last().map(|(step, _)| *step), Some(36));
    let pruned = actions.iter().filter(|(_, action)| *action == DecisionKind::Apply).count();
    assert!(pruned >= 1, "{actions:?}");
    for (number, (step, _)) in actions.iter().enumerate() {
        let run = RunDir::new(folder.path().join(format!("killed-{number}")));
        kill(&dear, &run, &|record| record.step == *step && matches!(record.event, Event::Decision { .. }));
        let again = finish(&dear, &run);
        assert_eq!((&again.tensors, &again.result), (&whole.tensors, &whole.result), "step {step}");
        assert_eq!(again.manifest, whole.manifest);
    }
    let stopped = RunDir::new(folder.path().join("stopped"));
    [1, 3, 4, 13, 20, 26, 36, 37].into_iter().for_each(|step| interrupt(&dear, &stopped, step));
    let again = finish(&dear, &stopped);
    assert_eq!((&again.tensors, &again.events), (&whole.tensors, &whole.events));
}

/// Wide open gates add nothing to any logit.
#[test]
fn with_gates_that_stay_open_it_is_the_frozen_run() {
    let folder = TempDir::new().unwrap();
    let open = "[control.policy.l0_gates]\nprice = 0.0\ninit = 100.0";
    let open = finish(&gates(open), &RunDir::new(folder.path().join("open")));
    let frozen = finish(&gates(FROZEN), &RunDir::new(folder.path().join("frozen")));
    assert_eq!((&open.tensors, &open.losses), (&frozen.tensors, &frozen.losses));
    assert_eq!(open.result.flops, frozen.result.flops, "gates are next to nothing, and not counted");
    assert!(open.actions().iter().all(|(_, action)| *action == DecisionKind::Keep));
}
