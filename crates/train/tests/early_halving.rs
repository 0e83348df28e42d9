//! All sizes start, the worse half stops at each look, and the run goes on with the size that is left.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use moelt_schema::{DecisionKind, Event, RunConfig, RunDir};
use support::{Finished, STEPS, config, finish, kill};
use tempfile::TempDir;

const HALVING: &str = "
[control.policy.early_halving]
sizes = [2, 3, 4, 5]
every = 0.1
looks = 3
";

/// One layer that begins with a single expert.
fn halving() -> RunConfig {
    config(HALVING, |config| {
        config.model.n_layers = 1;
        config.model.routing = config.model.routing.with_experts(1);
        config.control.edits.ramp_in = 0;
    })
}

/// How long each size was trained.
fn lengths(run: &Finished) -> Vec<u64> {
    let decided = run.events.iter().filter_map(|record| match &record.event {
        Event::Decision { action, evidence, .. } if *action != DecisionKind::Measure => Some(evidence),
        _ => None,
    });
    let names = decided.flat_map(|evidence| evidence.numbers.keys());
    let mut lengths: Vec<u64> =
        names.map(|name| name.split_whitespace().rev().nth(1).unwrap().parse().unwrap()).collect();
    lengths.sort_unstable();
    lengths
}

#[test]
fn the_worse_half_stops_and_a_killed_run_goes_on() {
    let folder = TempDir::new().unwrap();
    let whole = finish(&halving(), &RunDir::new(folder.path().join("whole")));
    let every = STEPS / 10;
    // Of four sizes two stop at the first look and one at the second.
    assert_eq!(lengths(&whole), [every, every, 2 * every, 3 * every]);
    assert_eq!(whole.actions().iter().filter(|(_, action)| *action == DecisionKind::Measure).count(), 1);
    let killed = RunDir::new(folder.path().join("killed"));
    kill(&halving(), &killed, &|record| {
        matches!(record.event, Event::Decision { action: DecisionKind::Measure, .. })
    });
    let again = finish(&halving(), &killed);
    assert_eq!((again.tensors, again.result), (whole.tensors, whole.result));
}
