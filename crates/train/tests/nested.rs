//! Prefixes of the experts drawn step by step: killed and resumed, what closed experts learn, and what it costs.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use moelt_schema::{DecisionKind, Event, LayerSums, RunConfig, RunDir};
use support::{Finished, STEPS, config, finish, interrupt, kill};
use tempfile::TempDir;

/// At most two experts are ever open before the decision, but at a third of the steps, and everything is within the bound.
const NESTED: &str = "
[control.policy.nested]
sizes = [1, 2]
loss = 10.0
texts = 40
";

fn nested() -> RunConfig {
    config(NESTED, |config| (config.train.log_every, config.model.top_k) = (1, 1))
}

/// Experts that got tokens, step by step, in the first layer.
fn open(run: &Finished) -> Vec<usize> {
    let of_step = |event: &Event| match event {
        Event::Window { routing, .. } => {
            Some(routing[0].tokens_per_expert.iter().rposition(|n| *n > 0.0).unwrap() + 1)
        }
        _ => None,
    };
    run.events.iter().filter_map(|record| of_step(&record.event)).collect()
}

#[test]
fn killed_or_stopped_at_any_step_a_run_goes_on_bit_by_bit() {
    let folder = TempDir::new().unwrap();
    let whole = finish(&nested(), &RunDir::new(folder.path().join("whole")));
    let last = STEPS * 7 / 10;
    assert_eq!(whole.actions(), [(last, DecisionKind::Look), (last, DecisionKind::Apply)]);
    assert_eq!(whole.numbers("loss of 1").len(), 1);
    assert!(whole.manifest.state.measuring_flops.computed > 0, "looking costs something");
    // One expert of each layer is left.
    assert_eq!(whole.manifest.layout.n_experts(), 2);
    let open = open(&whole);
    assert!((1..=3).all(|n| open[..last as usize].contains(&n)), "{open:?}");
    for number in 0..2 {
        let run = RunDir::new(folder.path().join(format!("killed-{number}")));
        let seen = std::cell::Cell::new(0);
        kill(&nested(), &run, &|record| {
            matches!(record.event, Event::Decision { .. }) && seen.replace(seen.get() + 1) == number
        });
        let again = finish(&nested(), &run);
        assert_eq!((&again.tensors, &again.result), (&whole.tensors, &whole.result), "decision {number}");
        assert_eq!(again.manifest, whole.manifest);
    }
    let stopped = RunDir::new(folder.path().join("stopped"));
    [1, 2, 13, last - 1, last, last + 1].into_iter().for_each(|step| interrupt(&nested(), &stopped, step));
    let again = finish(&nested(), &stopped);
    assert_eq!((&again.tensors, &again.events), (&whole.tensors, &whole.events));
}

/// The model that is saved and evaluated has no step's biases.
#[test]
fn a_bias_of_a_step_is_not_left_behind() {
    let folder = TempDir::new().unwrap();
    let run = RunDir::new(folder.path());
    interrupt(&nested(), &run, 20);
    let path = moelt_train::CheckpointStore::at(run.checkpoints()).newest().unwrap().unwrap();
    let loaded = moelt_train::LoadedModel::load(&path, &burn::tensor::Device::flex()).unwrap();
    for layer in 0..2 {
        assert_eq!(loaded.trained.biases(moelt_schema::LayerId(layer)), [0.0; 3]);
    }
    let LayerSums { tokens_per_expert, .. } = &loaded.checkpoint.manifest.state.decision_window.layers[0];
    assert!(tokens_per_expert[0] > tokens_per_expert[2], "the first expert is always open");
}
