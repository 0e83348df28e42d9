//! Candidates tried on forks in the middle of a run: the run itself does not notice, what it cost is counted, and
//! a run that is stopped or killed around a measurement goes on bit for bit.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use std::sync::LazyLock;

use burn::tensor::Device;
use moelt_data::in_order;
use moelt_schema::{
    DecisionKind, EffectEvidence, Event, EventRecord, Flops, LayerKind, Layout, Move, RunConfig, RunDir,
};
use moelt_train::{Prepared, TrainState};
use tempfile::TempDir;

use support::{FROZEN, Finished, LABEL_HEAD, LOOKAHEAD, STEPS, config, finish, interrupt, kill};

fn run_of(config: &RunConfig) -> Finished {
    let folder = TempDir::new().unwrap();
    finish(config, &RunDir::new(folder.path().join("run")))
}

static UNMOVED: LazyLock<Finished> = LazyLock::new(|| run_of(&config(FROZEN, |_| {})));

/// A bar that nothing takes.
const NEVER: &str = "confidence = 1e9\nhorizon = 4";
/// A head, for which that is none.
const HEAD: &str = "head = { act_above = 1.0 }";
const STUDY: &str = "study = {}";

/// Look-ahead of these lines.
fn lookahead(lines: &[&str]) -> String {
    format!("{LOOKAHEAD}{}", lines.join("\n"))
}

/// What training a move on forks showed, decision by decision.
fn effects(run: &Finished, layer: u32, candidate: Move) -> Vec<EffectEvidence> {
    run.trials(layer, candidate).iter().filter_map(|trial| trial.effect).collect()
}

/// Runs that measure and keep, each with how many steps its candidates train.
#[track_caller]
fn measures_and_keeps(control: &str, frozen: &Finished, change: impl Fn(&mut RunConfig)) -> Finished {
    let kept = run_of(&config(control, change));
    kept.assert_trained_like(frozen, control);
    let measured = kept.actions().iter().filter(|(_, action)| *action == DecisionKind::Measure).count();
    assert!(measured > 5, "{control}: {:?}", kept.actions());
    assert!(kept.actions().iter().all(|(_, action)| *action != DecisionKind::Apply), "{control}");
    assert_eq!(frozen.result.measuring_flops, Flops::default());
    assert!(kept.result.measuring_flops.unpadded > 0, "{control}");
    assert_eq!(kept.result.flops, frozen.result.flops + kept.result.measuring_flops, "{control}");
    assert_eq!(kept.manifest.state.flops, kept.result.flops, "{control}");
    assert_eq!(kept.result.per_time, frozen.result.per_time, "{control}");
    kept
}

#[test]
fn a_run_that_measures_and_always_keeps_is_bit_identical_to_a_frozen_one() {
    let cost = |policy: &str, racing: u64, replicate: bool| {
        let study = if replicate { STUDY } else { "" };
        let control = lookahead(&[policy, NEVER, &format!("race_every = {racing}"), study]);
        let kept = measures_and_keeps(&control, &UNMOVED, |_| {});
        let again = effects(&kept, 1, Move::Prune).iter().any(|effect| effect.replicate.is_some());
        assert_eq!(again, replicate, "{control}");
        kept.result.measuring_flops.unpadded
    };
    let [once, twice] = [false, true].map(|replicate| cost("", 0, replicate));
    let [racing, racing_twice] = [false, true].map(|replicate| cost("", 1, replicate));
    assert!(once < racing && once < twice, "looking costs, and so does measuring again");
    // Each half of the texts is looked at as often as the whole; what comes on top is the training.
    assert_eq!(twice - once, racing_twice - racing);
    assert!(cost(HEAD, 0, false) < cost(HEAD, 1, true));
}

/// Criteria stand beside what they are to foretell, cost something, and are no news to anybody else.
#[test]
fn a_study_that_looks_at_gradients_first_is_bit_identical_too() {
    let study = |texts| lookahead(&[NEVER, &format!("study = {{ criteria_texts = {texts} }}")]);
    let kept = measures_and_keeps(&study(400), &UNMOVED, |_| {});
    let looks = kept.actions().iter().filter(|(_, action)| *action == DecisionKind::Look).count();
    let measured = kept.actions().iter().filter(|(_, action)| *action == DecisionKind::Measure).count();
    assert!(looks > 5 && looks == measured, "{looks} looks, {measured} measurements");
    let decided: Vec<_> = kept
        .events
        .iter()
        .filter_map(|record| match &record.event {
            Event::Decision { action: DecisionKind::Keep, evidence, .. } => Some(evidence),
            _ => None,
        })
        .collect();
    let criteria = decided.iter().flat_map(|evidence| &evidence.layers).filter_map(|layer| layer.criteria);
    assert!(criteria.clone().count() > looks, "both layers have them");
    assert!(criteria.clone().all(|one| one.gradmax > 0.0 && (0.0..=1.0).contains(&one.gradient_conflict)));
    let plain = run_of(&config(&study(0), |_| {}));
    assert!(kept.result.measuring_flops.unpadded > plain.result.measuring_flops.unpadded);
}

#[test]
fn candidates_that_leave_the_race_leave_no_trace_either() {
    // A new expert costs more than it can ever save: all are out at the first look.
    let growing = "candidates = ['grow', 'double']\nexpert_cost = 1e3\nconfidence = 0.0\nhorizon = 9";
    let mut costs = Vec::new();
    for (every, steps) in [(0, 9), (4, 4), (1, 1)] {
        let control = lookahead(&[growing, &format!("race_every = {every}")]);
        let kept = measures_and_keeps(&control, &UNMOVED, |_| {});
        for (layer, candidate) in [(0, Move::Grow), (1, Move::Double)] {
            let effects = effects(&kept, layer, candidate);
            let trained: Vec<u64> = effects.iter().map(|effect| effect.steps).collect();
            // The last decision is 5 steps before the end.
            let expected = |at| if at + 1 == trained.len() { u64::min(steps, 5) } else { steps };
            let all = (0..trained.len()).all(|at| trained[at] == expected(at));
            assert!(all && trained.len() > 5, "{every} {layer} {candidate:?}: {trained:?}");
        }
        costs.push(kept.result.measuring_flops.computed);
    }
    assert!(costs.is_sorted_by(|more, less| more > less), "racing saves: {costs:?}");
}

#[test]
fn a_run_on_drifting_data_that_always_keeps_is_bit_identical_to_a_frozen_one() {
    let drift = |config: &mut RunConfig| {
        let planted = config.data.planted_mut().unwrap();
        planted.live = vec![[0.0, 0.5], [0.0, 1.0], [0.3333, 1.0]];
        (planted.times, planted.test) = (4, 120);
    };
    let frozen = run_of(&config(FROZEN, drift));
    for policy in ["", HEAD] {
        let control = lookahead(&[policy, NEVER, "race_every = 2", STUDY]);
        let kept = measures_and_keeps(&control, &frozen, drift);
        assert_eq!(kept.result.per_time.len(), 4);
    }
}

#[test]
fn the_immediate_effect_costs_no_training() {
    let at_once = |steps| lookahead(&["confidence = 1e9", &format!("horizon = {steps}")]);
    let looked = measures_and_keeps(&at_once(0), &UNMOVED, |_| {});
    let trained = measures_and_keeps(&at_once(1), &UNMOVED, |_| {});
    assert!(looked.result.measuring_flops.computed < trained.result.measuring_flops.computed);
}

/// What a measurement costs is what its forks trained and what looking at them took, counted here by hand. How long
/// queues are depends on the forks' weights: `tests/flops.rs` counts those.
#[test]
fn what_a_measurement_costs_is_counted_step_by_step() {
    const HORIZON: u64 = 7;
    let control = lookahead(&["confidence = 1e9", "candidates = ['prune']", &format!("horizon = {HORIZON}")]);
    let config = config(&control, |config| config.model.n_layers = 1);
    let measured = run_of(&config);
    let points: Vec<u64> = measured
        .actions()
        .iter()
        .filter(|(_, action)| *action == DecisionKind::Measure)
        .map(|(step, _)| *step)
        .collect();
    assert_eq!(points, (1..12).map(|decision| 5 * decision).collect::<Vec<_>>());
    let mut prepared = Prepared::new(&config).unwrap();
    let of_layout = |n: usize| {
        let kind = LayerKind::TopK { k: config.model.top_k };
        TrainState::with_layout(&config, &prepared, Layout::uniform(1, kind, n), &Device::flex())
    };
    let mut expected = 0;
    for fork in [of_layout(3), of_layout(2)] {
        // A step is three forward passes.
        let step = |batch: &_| fork.clone().train_step(batch, &config, STEPS).0.progress.flops.unpadded;
        for point in &points {
            let last = STEPS.min(point + HORIZON);
            expected += (*point..last).map(|at| step(&prepared.train.at(at))).sum::<u64>();
            let validation = &prepared.validation;
            expected += in_order(&validation.texts, &validation.labels, 256)
                .iter()
                .map(|batch| step(batch) / 3)
                .sum::<u64>();
        }
    }
    assert_eq!(measured.result.measuring_flops.unpadded, expected);
}

/// Policies that act soon and often on these data: their tables, and more lines of these.
const POLICIES: [(&str, &str, &str); 6] = [
    ("lookahead", LOOKAHEAD, "confidence = 0.0\nhorizon = 2\nrace_every = 1\nexpert_cost = 0.0"),
    ("study", LOOKAHEAD, "confidence = 0.5\nhorizon = 3\nstudy = {}"),
    ("head", LOOKAHEAD, "confidence = 0.0\nhorizon = 3\nexpert_cost = 0.0\nhead = {}"),
    ("random labels", LABEL_HEAD, "labels = 'random'\nlr = 0.05"),
    ("entropy labels", LABEL_HEAD, "labels = 'entropy'\nlr = 0.05"),
    ("joint", LABEL_HEAD, "labels = { entropy = { joint = 0.5 } }\nlr = 0.05"),
];

static ACTING: LazyLock<Vec<(&'static str, RunConfig, Finished)>> = LazyLock::new(|| {
    let run = |(name, table, lines): (&'static str, &str, &str)| {
        let config = config(&format!("{table}{lines}"), |_| {});
        let whole = run_of(&config);
        assert!(whole.edit_steps().len() > 1, "{name}: {:?}", whole.actions());
        (name, config, whole)
    };
    POLICIES.into_iter().map(run).collect()
});

#[test]
fn a_run_that_acts_and_is_interrupted_around_decisions_ends_bit_for_bit_like_one_that_was_not() {
    for (name, config, whole) in &*ACTING {
        let folder = TempDir::new().unwrap();
        let run = RunDir::new(folder.path().join("run"));
        let edits = whole.edit_steps();
        let (first, last) = (edits[0], edits[edits.len() - 1]);
        let mut steps: Vec<u64> = [first, last].iter().flat_map(|edit| [edit - 1, *edit, edit + 1]).collect();
        steps.extend([1, 33]);
        steps.sort_unstable();
        steps.dedup();
        for step in &steps {
            interrupt(config, &run, *step);
        }
        whole.assert_repeated_by(&finish(config, &run), &format!("{name} interrupted after {steps:?}"));
    }
}

#[test]
fn a_run_killed_between_a_decision_and_its_checkpoint_decides_the_same_again() {
    for (name, config, whole) in &*ACTING {
        let edits = whole.edit_steps();
        let (first, last) = (edits[0], edits[edits.len() - 1]);
        let folder = TempDir::new().unwrap();
        let run = RunDir::new(folder.path().join("run"));
        let decided = |record: &EventRecord| matches!(record.event, Event::Decision { .. });
        let edited = |record: &EventRecord| matches!(record.event, Event::Edit { .. });
        let saved = |record: &EventRecord| matches!(record.event, Event::Checkpoint { .. });
        // What it measured, learnt and edited is lost each time, and so is what the log says of it.
        kill(config, &run, &|record| decided(record) && record.step == first);
        kill(config, &run, &|record| edited(record) && record.step == first);
        kill(config, &run, &|record| saved(record) && record.step >= first);
        kill(config, &run, &|record| edited(record) && record.step == last);
        kill(config, &run, &|record| saved(record) && record.step >= last);
        whole.assert_repeated_by(&finish(config, &run), name);
    }
}

/// What measures is what is paid for, and a head's learning.
#[test]
fn policies_that_act_pay_for_what_they_measure() {
    for (name, config, whole) in &*ACTING {
        let measures = whole.actions().iter().any(|(_, action)| *action == DecisionKind::Measure);
        let policy = &config.control.policy;
        assert_eq!(measures, policy.lookahead().is_some(), "{name}");
        let learns = policy.learns_every_step() || policy.lookahead().unwrap().head.is_some();
        assert_eq!(whole.result.measuring_flops.unpadded > 0, measures || learns, "{name}");
        assert!(whole.result.flops.unpadded > whole.result.measuring_flops.unpadded, "{name}");
        assert_eq!(whole.numbers("not_finite").iter().sum::<f64>(), 0.0, "{name}");
    }
}
