//! A head on measured effects.

use moelt_schema::{Edit, ExpertId, ExpertInit, LayerId, LayerKind, LayerSums, Move, PolicyKind};

use super::*;

fn config() -> ControlConfig {
    ControlConfig {
        policy: PolicyKind::Head,
        every: 10,
        warmup: 0.0,
        until: 1.0,
        cooldown: 0,
        horizon: 30,
        head_hidden: 8,
        candidates: vec![Move::Grow, Move::Prune],
        ..ControlConfig::default()
    }
}

/// A run whose layout stays, as if each edit were taken back: growing changes the loss by `grow`, pruning by
/// `prune`.
struct Run {
    head: Counterfactual,
    step: u64,
    asked: usize,
}

impl Run {
    fn new() -> Self {
        Self { head: Counterfactual::new(config(), 1, PolicyState::default()).unwrap(), step: 0, asked: 0 }
    }

    fn decide(&mut self, grow: f64, prune: f64) -> Decision {
        self.step += 10;
        let layout = Layout::uniform(1, LayerKind::Moe { top_k: 1 }, 2);
        let sums = [LayerSums { rows: 5.0, tokens: vec![3.0, 2.0], ..LayerSums::zeros(2) }];
        let window =
            StatsWindow { step: self.step, total_steps: 10_000, sums: &sums, loss: 0.5, opening: &[] };
        let decision = self.head.decide(&window, &layout);
        let Action::Measure(trial) = decision.action else { return decision };
        self.asked += trial.candidates.len();
        let effect = |edits: Vec<Edit>| MeasuredEffect {
            loss: 0.5 + if matches!(edits[0], Edit::Grow { .. }) { grow } else { prune },
            edits,
            steps: trial.steps,
            loss_keep: 0.5,
            standard_error: 0.001,
            replicate: None,
        };
        let effects: Vec<_> = trial.candidates.into_iter().map(effect).collect();
        self.head.observe(&window, &layout, &effects)
    }

    fn records(&self) -> usize {
        self.head.state().head.map_or(0, |head| head.records.len())
    }
}

fn grow() -> Action {
    Action::Apply(vec![Edit::Grow { layer: LayerId(0), new: ExpertId(2), init: ExpertInit::Fresh }])
}

#[test]
fn it_measures_first_and_asks_no_more_once_it_knows_that_keeping_is_best() {
    let mut run = Run::new();
    let first = run.decide(0.1, 0.1);
    assert_eq!((first.action, run.asked, run.records()), (Action::Keep, 2, 2));
    assert_eq!((first.evidence.0["asked"], first.evidence.0["records"]), (2.0, 0.0));
    assert!(!first.evidence.0.contains_key("layer0.grow.predicted.sd"), "an infinite one is left out");
    for _ in 0..60 {
        assert_eq!(run.decide(0.1, 0.1).action, Action::Keep);
    }
    let asked = run.asked;
    let last = run.decide(0.1, 0.1);
    assert_eq!((last.action, run.asked), (Action::Keep, asked));
    assert_eq!(last.reason, "none of 2 candidates is predicted to beat keeping");
    assert!(last.evidence.0["layer0.grow.predicted.gain"] < -0.05);
    assert!(asked < 60, "{asked}");
}

#[test]
fn it_makes_a_move_unmeasured_once_it_is_sure_of_it() {
    let mut run = Run::new();
    for _ in 0..60 {
        assert_eq!(run.decide(-0.1, 0.1).action, grow());
    }
    let asked = run.asked;
    let last = run.decide(-0.1, 0.1);
    assert_eq!((last.action, run.asked), (grow(), asked));
    assert!(last.reason.starts_with("layer 0 grows expert 2: gain +0."), "{}", last.reason);
    assert!(last.reason.contains("nats predicted; its lower bound"), "{}", last.reason);
}

#[test]
fn what_is_no_number_is_never_learnt_and_never_chosen() {
    let mut run = Run::new();
    let decision = run.decide(f64::NAN, 0.1);
    assert_eq!((decision.action, run.records()), (Action::Keep, 1));
    assert_eq!(decision.evidence.0["not_finite"], 1.0);
    assert_eq!(run.decide(f64::NEG_INFINITY, f64::NAN).action, Action::Keep);
    assert_eq!(run.records(), 1);
}

#[test]
fn open_is_what_may_beat_keeping_and_all_others() {
    let gain = |nats, standard_error| Gain { nats, standard_error };
    let gains = [gain(-0.1, 0.01), gain(-0.1, 0.1), gain(0.0, f64::INFINITY), gain(0.05, 0.1)];
    assert_eq!(open(&gains, 2.0), [1, 2, 3]);
    let gains = [gain(0.1, 0.01), gain(0.05, 0.01), gain(0.07, 0.01)];
    assert_eq!(open(&gains, 2.0), [0, 2]);
}

#[test]
fn a_state_of_another_head_is_refused() {
    let mut run = Run::new();
    run.decide(0.1, 0.1);
    let wider = ControlConfig { head_hidden: 9, ..config() };
    assert!(matches!(Counterfactual::new(wider, 1, run.head.state()), Err(PolicyError::OtherHead)));
}
