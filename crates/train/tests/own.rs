//! Texts and policies of one's own: what a policy remembers survives a stop, and what cannot be is refused with the
//! step and the policy's own reason.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use burn::tensor::Device;
use moelt_control::{Decision, MeasuredEffect, Policy, StatsWindow, Trial};
use moelt_data::OwnTexts;
use moelt_schema::{
    Budget, Edit, Event, EventRecord, Evidence, ExpertId, ExpertInit, LayerId, LayerMemory, Layout,
    PolicyState, RunConfig,
};
use moelt_train::{LoadedModel, Observer, Outcome, Trainer};

const LAYER: LayerId = LayerId(0);

/// Eighty texts of two classes, each with `word` in it.
fn texts(word: &str) -> OwnTexts {
    let text =
        |i: u32| (format!("{word} {} {i}", ["rain", "sun"][i as usize % 2]), ["bad", "good"][i as usize % 2]);
    OwnTexts::new((0..80).map(text))
}

/// 24 steps, a decision after every fourth.
fn config() -> RunConfig {
    let mut config = RunConfig { arm: "mine".to_owned(), seed: 5, ..RunConfig::default() };
    (config.model.d_model, config.model.d_ff) = (4, 4);
    (config.train.budget, config.train.batch_size) = (Budget::Epochs(3.0), 8);
    (config.train.checkpoint_every, config.control.edits.every) = (4, 4);
    config
}

/// Answers what it is told to, and counts.
#[derive(Clone)]
struct Answers {
    first: Decision,
    observed: Decision,
    state: PolicyState,
}

impl Policy for Answers {
    fn decide(&mut self, _: &StatsWindow<'_>, _: &Layout) -> Decision {
        let asked = self.state.own.as_ref().and_then(serde_json::Value::as_u64).unwrap_or(0) + 1;
        self.state.own = Some(asked.into());
        self.first.clone()
    }

    fn observe(&mut self, _: &StatsWindow<'_>, _: &Layout, _: &[MeasuredEffect]) -> Decision {
        self.observed.clone()
    }

    fn state(&self) -> PolicyState {
        self.state.clone()
    }
}

fn keep() -> Decision {
    Decision::keep("still", Evidence::default())
}

fn answers(first: Decision) -> Answers {
    Answers { first, observed: keep(), state: PolicyState::default() }
}

/// A run by the policy, in a folder of its own; the error's text.
fn refused(policy: Answers) -> (String, usize) {
    let folder = tempfile::tempdir().unwrap();
    let texts = texts("a");
    let mut decisions = Decisions(0);
    let trainer = Trainer::new(config()).dataset(&texts).observer(&mut decisions);
    let ended = trainer.policy(move |_| policy.clone()).run(folder.path(), &Device::flex());
    (ended.unwrap_err().to_string(), decisions.0)
}

/// How many decisions were logged.
struct Decisions(usize);

impl Observer for Decisions {
    fn logged(&mut self, record: &EventRecord) {
        self.0 += usize::from(matches!(record.event, Event::Decision { .. }));
    }
}

#[test]
fn impossible_decisions_are_refused_before_anything_is_done() {
    let prune = |expert| vec![Edit::Prune { layer: LAYER, expert: ExpertId(expert) }];
    let apply = |edits| Decision::apply(edits, "because", Evidence::default());
    let measure = |candidates| Decision::measure(Trial::new(candidates, 2), "because", Evidence::default());
    let unbounded = Evidence { numbers: [("x".to_owned(), f64::NAN)].into(), ..Evidence::default() };
    let grown = Edit::Grow { layer: LAYER, new: ExpertId(0), init: ExpertInit::Fresh };
    for (decision, expected) in [
        (apply(prune(77)), "expert 77"),
        (apply([prune(0), prune(0)].concat()), "expert 0"),
        (apply(vec![grown]), "id 0 is not new"),
        (measure(vec![prune(0), prune(77)]), "expert 77"),
        (Decision::keep("because", unbounded), "a number that is not finite"),
    ] {
        let (error, decisions) = refused(answers(decision));
        assert!(error.starts_with("arm mine, seed 5, step 4: the policy decides `because`, but "), "{error}");
        assert!(error.contains(expected), "{error}");
        assert_eq!(decisions, 0, "nothing is logged of it");
    }
    let again = measure(vec![prune(0)]);
    let (error, _) = refused(Answers { observed: again.clone(), ..answers(again) });
    assert!(error.contains("step 4") && error.contains("now it applies something or keeps"), "{error}");
}

#[test]
fn a_memory_that_no_checkpoint_could_be_read_with_is_not_written() {
    let mut policy = answers(keep());
    policy.state.layers = vec![LayerMemory::default(); 7];
    let (error, _) = refused(policy);
    assert!(error.contains("state.policy.layers: has 7 memories of 1 layers"), "{error}");
}

/// Raises its flag at a step.
struct StopAt(u64, Arc<AtomicBool>);

impl Observer for StopAt {
    fn stepped(&mut self, step: u64, _: f64) {
        self.1.store(step == self.0, Ordering::Relaxed);
    }
}

#[test]
fn what_a_policy_remembers_survives_a_stop() {
    let (folder, texts) = (tempfile::tempdir().unwrap(), texts("a"));
    let run = |stop: u64| {
        let flag = Arc::new(AtomicBool::new(false));
        Trainer::new(config())
            .dataset(&texts)
            .policy(|start| Answers { state: start.state.clone(), ..answers(keep()) })
            .interrupt(&flag)
            .observer(&mut StopAt(stop, flag.clone()))
            .run(folder.path(), &Device::flex())
            .unwrap()
    };
    assert!(matches!(run(10), Outcome::Interrupted { step: 10 }));
    assert!(matches!(run(u64::MAX), Outcome::Finished(_)));
    let newest = LoadedModel::open(folder.path().join("checkpoints/latest"), &Device::flex());
    let own = newest.unwrap().checkpoint.manifest.state.policy.own;
    assert_eq!(own, Some(4.into()), "of 24 steps: after 4, 8, 12 and 16, the last before `until`");
}

#[test]
fn a_finished_run_is_not_returned_for_other_texts() {
    let folder = tempfile::tempdir().unwrap();
    let run = |word| Trainer::new(config()).dataset(&texts(word)).run(folder.path(), &Device::flex());
    let first = run("a").unwrap();
    assert!(matches!((first, run("a").unwrap()), (Outcome::Finished(_), Outcome::Finished(_))));
    let error = run("b").unwrap_err().to_string();
    assert!(error.contains("holds a run of this config on other data (hash "), "{error}");
}
