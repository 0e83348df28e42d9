//! Experts that come and go while a run trains: what is logged replays, placebos do what they are for.

#[cfg(unix)]
mod kill;
mod misuse;
mod start;

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use moelt_schema::{
    CellResult, DecisionKind, Edit, EditEffect, Event, EventRecord, Evidence, Layout, Manifest, Plan,
};
use tempfile::TempDir;

use crate::support::{EDITED, Run, TINY, checkpoints};

/// The runs that the tests look at, by name: each edits its experts.
const POLICIES: [&str; 5] = ["rule", "loss", "dynmoe", "placebo_time", "placebo_surgery"];

/// A run of a policy, with a checkpoint after every step; placebos follow the rule's run in the same folder.
fn configured(folder: &Path, name: &str) -> Run {
    let common = ["train.budget.epochs=4", "train.checkpoint_every=1", "train.keep_last=100"];
    let run = common.into_iter().fold(Run::new(folder, name, &[TINY, EDITED].concat()), Run::set);
    match name {
        "rule" => run,
        "loss" => run.set("control.policy.rule.saliency=loss").set("control.policy.rule.prune_below=0.001"),
        "dynmoe" => run.set("control.policy=dynmoe").set("model.routing=top_any"),
        placebo => run
            .set(format!("control.policy={placebo}"))
            .set(format!("control.policy.{placebo}.edits_of={}", folder.join("rule").display())),
    }
}

struct Finished {
    _folder: TempDir,
    runs: BTreeMap<&'static str, Run>,
}

static FINISHED: LazyLock<Finished> = LazyLock::new(|| {
    let folder = TempDir::new().unwrap();
    let train = |name| {
        let run = configured(folder.path(), name);
        run.train().well();
        (name, run)
    };
    Finished { runs: POLICIES.map(train).into(), _folder: folder }
});

/// A run that nobody may change.
fn finished(name: &str) -> &'static Run {
    &FINISHED.runs[name]
}

fn result(run: &Run) -> CellResult {
    CellResult::read_any(&run.dir).unwrap().unwrap()
}

fn records(run: &Run) -> Vec<EventRecord> {
    let log = fs::read_to_string(run.dir.events()).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The edits in the log: plan, layout from then on, effect.
fn edits(run: &Run) -> Vec<(Plan, Layout, EditEffect)> {
    let edit = |record: EventRecord| match record.event {
        Event::Edit { plan, layout, effect } => {
            assert_eq!(plan.step, record.step);
            Some((plan, layout, effect))
        }
        _ => None,
    };
    records(run).into_iter().filter_map(edit).collect()
}

/// Steps with edits.
fn edit_steps(run: &Run) -> Vec<u64> {
    edits(run).iter().map(|(plan, ..)| plan.step).collect()
}

/// The kinds of a run's edits, by plan.
fn kinds(run: &Run) -> Vec<Vec<&'static str>> {
    let kind = |edit: &Edit| match edit {
        Edit::Grow { .. } => "grow",
        Edit::Prune { .. } => "prune",
        Edit::Merge { .. } => "merge",
        Edit::Upcycle { .. } => "upcycle",
        Edit::Reorder { .. } => "reorder",
        Edit::Redraw { .. } => "redraw",
        Edit::Freeze { .. } | Edit::FreezeShared {} => "freeze",
        Edit::Thaw { .. } | Edit::ThawShared {} => "thaw",
    };
    edits(run).iter().map(|(plan, ..)| plan.edits.iter().map(kind).collect()).collect()
}

fn manifest(run: &Run, step: u64) -> Manifest {
    let path = run.checkpoint(&format!("step-{step:08}")).join("manifest.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_layout_replays_from_the_edits_at_every_step() {
    for name in POLICIES {
        let run = finished(name);
        let (result, edits) = (result(run), edits(run));
        assert!(edits.len() > 1, "{name}: {edits:?}");
        assert_ne!(result.layout, result.edits.initial, "{name}: nothing was edited before the best step");
        let plans: Vec<Plan> = edits.iter().map(|(plan, ..)| plan.clone()).collect();
        assert_eq!(result.edits.plans, plans, "{name}");
        for (plan, layout, _) in &edits {
            assert_eq!(result.edits.layout_at(plan.step + 1).unwrap(), *layout, "{name}, step {}", plan.step);
        }
        let Event::Start { layout, .. } = &records(run)[0].event else { panic!("{name} has no start") };
        assert_eq!(result.edits.initial, *layout, "{name}");
        assert_eq!(checkpoints(run).len() as u64, result.steps, "{name}");
        for step in 1..=result.steps {
            let manifest = manifest(run, step);
            assert_eq!(manifest.layout, result.edits.layout_at(step).unwrap(), "{name}, step {step}");
            let so_far: Vec<Plan> = plans.iter().filter(|plan| plan.step < step).cloned().collect();
            assert_eq!(manifest.edits.plans, so_far, "{name}, step {step}");
        }
    }
}

#[test]
fn the_rule_grows_and_prunes() {
    for name in ["rule", "loss"] {
        let kinds = kinds(finished(name)).concat();
        assert!(kinds.contains(&"grow") && kinds.contains(&"prune"), "{name}: {kinds:?}");
    }
}

#[test]
fn an_expert_that_is_let_in_gradually_changes_nothing_at_first() {
    for name in ["rule", "loss", "placebo_time"] {
        for (plan, _, effect) in edits(finished(name)) {
            let grows = plan.edits.iter().all(|edit| matches!(edit, Edit::Grow { .. }));
            assert!(!grows || effect.deviation <= 1e-5, "{name}: {plan:?} {effect:?}");
            assert_eq!(
                effect.deviation == 0.0,
                effect.loss_before == effect.loss_after,
                "{name}: {effect:?}"
            );
        }
    }
}

#[test]
fn placebo_time_makes_the_same_edits_at_other_times() {
    let (model, placebo) = (finished("rule"), finished("placebo_time"));
    assert_eq!(kinds(placebo), kinds(model));
    assert_ne!(edit_steps(placebo), edit_steps(model));
}

#[test]
fn placebo_surgery_edits_at_the_same_times_and_leaves_the_number_of_experts() {
    let (model, placebo) = (finished("rule"), finished("placebo_surgery"));
    assert_eq!(edit_steps(placebo), edit_steps(model));
    let n_experts = result(placebo).edits.initial.n_experts();
    let mut next = result(placebo).edits.initial.next_id();
    for (plan, layout, _) in edits(placebo) {
        assert_eq!(layout.n_experts(), n_experts, "{plan:?}");
        assert!(layout.next_id() > next, "an expert is fresh, with an id of its own: {plan:?}");
        next = layout.next_id();
    }
}

/// What was decided at each step, in order.
fn decisions(run: &Run) -> BTreeMap<u64, Vec<DecisionKind>> {
    let mut decisions: BTreeMap<u64, Vec<DecisionKind>> = BTreeMap::new();
    for record in records(run) {
        if let Event::Decision { action, reason, evidence, .. } = record.event {
            let at = format!("{}, step {}", run.dir.path().display(), record.step);
            let told = !reason.is_empty() && evidence != Evidence::default();
            assert!(told, "{at}: `{reason}` {evidence:?}");
            decisions.entry(record.step).or_default().push(action);
        }
    }
    decisions
}

#[test]
fn every_decision_is_an_event_with_its_reason_and_evidence() {
    for name in POLICIES {
        let run = finished(name);
        let decisions = decisions(run);
        assert!(decisions.keys().copied().eq((5..80).step_by(5)), "{name}: {decisions:?}");
        let applied = decisions.iter().filter(|(_, actions)| actions.last() == Some(&DecisionKind::Apply));
        assert_eq!(applied.map(|(step, _)| *step).collect::<Vec<_>>(), edit_steps(run), "{name}");
        let ends = |actions: &[DecisionKind], with| actions.last() == Some(&with);
        let kept: Vec<&Vec<DecisionKind>> =
            decisions.values().filter(|actions| !ends(actions, DecisionKind::Apply)).collect();
        let all_kept = kept.iter().all(|actions| ends(actions, DecisionKind::Keep));
        assert!(!kept.is_empty() && all_kept, "{name}: {kept:?}");
        let measured = decisions.values().filter(|actions| actions.len() > 1);
        let measured: Vec<&[DecisionKind]> = measured.map(Vec::as_slice).collect();
        let first = measured.iter().all(|actions| actions.len() == 2 && actions[0] == DecisionKind::Measure);
        assert!(first && (name == "loss") != measured.is_empty(), "{name}: {decisions:?}");
    }
}

#[test]
fn an_edit_follows_its_decision_and_rests_on_the_same() {
    for name in POLICIES {
        let records = records(finished(name));
        for pair in records.windows(2) {
            let Event::Edit { plan, .. } = &pair[1].event else { continue };
            let Event::Decision { action, reason, evidence, .. } = &pair[0].event else {
                panic!("{name}: {pair:?}")
            };
            let decided = (*action, reason, evidence);
            assert_eq!(decided, (DecisionKind::Apply, &plan.reason, &plan.evidence), "{name}");
        }
    }
}
