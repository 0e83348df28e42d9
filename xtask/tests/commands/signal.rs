//! `cargo xtask ablate` of a study: what the signal knows.

use std::fs;

use moelt_schema::{Cell, EffectEvidence, Evidence, LayerEvidence, LayerId, Move, ReplicateEvidence};

use crate::{ablate::report, support::TestWorkspace};

/// That growing gained so much, and a little more when it was measured again.
fn measured_twice(gain: f64) -> Evidence {
    let mut layer = LayerEvidence::new(LayerId(0), 4);
    let replicate = ReplicateEvidence { gain: Some(gain + 0.25), standard_error: None };
    layer.trial_mut(Move::Grow).effect = Some(EffectEvidence {
        steps: 1,
        loss_increase: None,
        gain: Some(gain),
        standard_error: None,
        replicate: Some(replicate),
    });
    Evidence { layers: vec![layer], ..Evidence::default() }
}

#[test]
fn what_the_signal_knows_is_read_from_the_decisions() {
    let workspace = TestWorkspace::new();
    let plan = workspace.plan("test", &["--phases", "study,moe", "--seeds", "3"]);
    assert!(plan.cells.iter().all(|cell| cell.config.control.policy.is_study() == (cell.arm == "study")));
    plan.cells.iter().for_each(|cell| workspace.prepare(cell, 90));
    let study: Vec<&Cell> = plan.cells.iter().filter(|cell| cell.arm == "study").collect();
    let decision = |at: u64| {
        let evidence = serde_json::to_string(&measured_twice((at * 7 % 10) as f64 - 4.5)).unwrap();
        format!(r#"{{"step":{at},"event":"decision","action":"keep","reason":"","evidence":{evidence}}}"#)
    };
    let log = (0..10).map(decision).collect::<Vec<_>>().join("\n");
    for cell in &study {
        fs::write(workspace.path(&format!("moelt.cells/{}/events.jsonl", cell.id)), &log).unwrap();
    }
    let text = workspace.xtask(&["ablate", "run", "--name", "test"], 0);
    assert!(text.contains("measured effect labels repeat"), "{text}");
    let signal = report(&workspace, "test").signal.unwrap();
    assert_eq!((signal.cells, signal.records, signal.sources[2].correlation.rho), (3, 30, Some(1.0)));

    let events = format!("runs/test/cells/{}/events.jsonl", study[0].id);
    fs::write(workspace.path(&events), format!("{log}\n{{\"event\":\"deci")).unwrap();
    let text = workspace.xtask(&["ablate", "collect", "--name", "test"], 0);
    assert!(text.contains(&format!("NOTE: no decisions of {}: {events}:11: EOF", study[0].id)), "{text}");
    assert_eq!(report(&workspace, "test").signal.unwrap().records, 20);
}
