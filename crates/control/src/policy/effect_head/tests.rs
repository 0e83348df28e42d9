//! A head on measured effects.

use moelt_schema::{
    Edit, ExpertId, ExpertInit, Flops, ForecastErrors, LayerId, LayerKind, LayerSums, Move, NewExpertConfig,
    Saliency, TaughtHead, TrialEvidence,
};

use super::*;
use crate::Action;

fn edits() -> EditsConfig {
    EditsConfig { every: 10, warmup: 0.0, until: 1.0, ..EditsConfig::default() }
}

fn lookahead() -> LookaheadConfig {
    LookaheadConfig {
        cooldown: 0,
        horizon: 30,
        candidates: vec![Move::Grow, Move::Prune],
        saliency: Saliency::Utilization,
        new_expert: NewExpertConfig::Fresh {},
        ..LookaheadConfig::default()
    }
}

fn config() -> EffectHeadConfig {
    EffectHeadConfig { hidden: 8, ..EffectHeadConfig::default() }
}

fn head(
    config: EffectHeadConfig,
    records: Vec<EffectRecord>,
    state: PolicyState,
) -> Result<EffectHead, PolicyError> {
    EffectHead::new(lookahead(), config, edits(), 1, Given { records, ..Given::default() }, state)
}

fn trial(evidence: &Evidence, candidate: Move) -> Option<&TrialEvidence> {
    evidence.layers[0].trials.iter().find(|trial| trial.candidate == candidate)
}

/// A run whose layout stays, as if each edit were taken back: growing changes the loss by `grow`, pruning by
/// `prune`.
struct Run {
    head: EffectHead,
    step: u64,
    asked: usize,
}

impl Run {
    fn new() -> Self {
        Self { head: head(config(), Vec::new(), PolicyState::default()).unwrap(), step: 0, asked: 0 }
    }

    fn decide(&mut self, grow: f64, prune: f64) -> Decision {
        self.step += 10;
        let layout = Layout::uniform(1, LayerKind::TopK { k: 1 }, 2);
        let sums = [LayerSums { tokens: 5.0, tokens_per_expert: vec![3.0, 2.0], ..LayerSums::zeros(2) }];
        let window =
            StatsWindow { step: self.step, total_steps: 10_000, sums: &sums, loss: 0.5, ramping_in: &[] };
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
    assert_eq!((first.evidence.numbers["asked"], first.evidence.numbers["records"]), (2.0, 0.0));
    assert_eq!(trial(&first.evidence, Move::Grow).unwrap().forecast, None, "nothing is known yet");
    for _ in 0..60 {
        assert_eq!(run.decide(0.1, 0.1).action, Action::Keep);
    }
    let asked = run.asked;
    let last = run.decide(0.1, 0.1);
    assert_eq!((last.action, run.asked), (Action::Keep, asked));
    assert_eq!(last.reason, "none of 2 candidates is predicted to be worth a measurement");
    assert!(trial(&last.evidence, Move::Grow).unwrap().forecast.unwrap().gain < -0.05);
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
    assert!(last.reason.contains("nats predicted, in 100 of 100 cases above 0"), "{}", last.reason);
}

#[test]
fn what_is_no_number_is_never_learnt_and_never_chosen() {
    let mut run = Run::new();
    let decision = run.decide(f64::NAN, 0.1);
    assert_eq!((decision.action, run.records()), (Action::Keep, 1));
    assert_eq!(decision.evidence.numbers["not_finite"], 1.0);
    assert_eq!(run.decide(f64::NEG_INFINITY, f64::NAN).action, Action::Keep);
    assert_eq!(run.records(), 1);
}

#[test]
fn what_other_runs_measured_is_known_from_the_start() {
    let others = (1..=16).map(|number| {
        let mut other = Run::new();
        other.decide(-0.1, 0.1);
        let records = other.head.state().head.unwrap().records;
        records.into_iter().map(move |record| EffectRecord { run: number, ..record }).collect()
    });
    let records: Vec<EffectRecord> = others.collect::<Vec<Vec<_>>>().concat();
    let taught = head(config(), records, PolicyState::default()).unwrap();
    let mut run = Run { head: taught, ..Run::new() };
    let first = run.decide(-0.1, 0.1);
    assert_eq!(
        (first.action, run.asked, first.evidence.numbers["records"]),
        (grow(), 0, 32.0),
        "{}",
        first.reason
    );
    let learnt = run.head.state().head.unwrap();
    assert_eq!(learnt.flops, 8 * 400 * 16 * 6 * (8 * 21 + 9), "paid once");
    // A run that goes on has all of it in its state already.
    let resumed = head(config(), learnt.records.clone(), run.head.state()).unwrap();
    assert_eq!(resumed.state(), run.head.state());
}

/// Half of the effects go either way by `swing` nats.
fn in_doubt(swing: f64, ask_above: f64) -> Run {
    let records = (1..=12).flat_map(|number| {
        let mut other = Run::new();
        let gain = if number % 2 == 0 { swing } else { -swing };
        other.decide(gain, 0.1);
        let records = other.head.state().head.unwrap().records;
        records.into_iter().map(move |record| EffectRecord { run: number, ..record })
    });
    let config = EffectHeadConfig { ask_above, ..config() };
    let head = head(config, records.collect(), PolicyState::default()).unwrap();
    Run { head, ..Run::new() }
}

#[test]
fn in_doubt_it_asks_where_knowing_promises_enough_and_else_keeps() {
    let mut run = in_doubt(0.05, 0.01);
    assert_eq!(run.decide(0.1, 0.1).action, Action::Keep);
    assert_eq!(run.asked, 1, "pruning never gained anything");
    let mut run = in_doubt(0.05, 0.1);
    let decision = run.decide(-0.1, 0.1);
    assert_eq!((decision.action, run.asked), (Action::Keep, 0), "{}", decision.reason);
    let chance = trial(&decision.evidence, Move::Grow).unwrap().forecast.unwrap().chance;
    assert!((0.2..0.8).contains(&chance), "{chance}");
}

#[test]
fn a_state_of_another_head_is_refused() {
    let mut run = Run::new();
    run.decide(0.1, 0.1);
    let wider = EffectHeadConfig { hidden: 9, ..config() };
    assert!(matches!(head(wider, Vec::new(), run.head.state()), Err(PolicyError::OtherHead)));
}

/// A head that says of every move, in every run, that it saves so many hundredths of the loss: its networks have no weights.
fn always(hundredths: &[(Move, f64)]) -> TaughtHead {
    let (hidden, weights) = (1, vec![0.0; 23]);
    let errors = |candidate| {
        let saved = hundredths.iter().find(|(kind, _)| *kind == candidate).map_or(0.0, |(_, saved)| *saved);
        ForecastErrors { bounds: Vec::new(), groups: vec![vec![saved / 2.0; 10]] }
    };
    let errors = Move::ALL.map(|candidate| (candidate, errors(candidate))).into();
    TaughtHead { hidden, networks: vec![weights; Ensemble::MEMBERS], errors, flops: Flops::default() }
}

fn taught(head: TaughtHead, ask_above: f64, state: PolicyState) -> Result<Run, PolicyError> {
    let config = EffectHeadConfig { taught: Some("head.json".to_owned()), ask_above, ..config() };
    let given = Given { taught: Some(head), n_classes: 2, ..Given::default() };
    Ok(Run { head: EffectHead::new(lookahead(), config, edits(), 1, given, state)?, ..Run::new() })
}

/// The loss is 0.5 nats, an expert costs 0.001.
#[test]
fn a_taught_head_acts_in_the_currency_of_the_run_and_learns_nothing() {
    let mut run =
        taught(always(&[(Move::Grow, 4.0), (Move::Prune, -1.0)]), 0.002, PolicyState::default()).unwrap();
    let decision = run.decide(0.1, 0.1);
    assert_eq!((decision.action.clone(), run.asked), (grow(), 0), "{}", decision.reason);
    let gain = |candidate| trial(&decision.evidence, candidate).unwrap().forecast.unwrap().gain;
    assert!((gain(Move::Grow) - 0.019).abs() < 1e-6 && (gain(Move::Prune) + 0.004).abs() < 1e-6);
    let state = run.head.state().head.unwrap();
    assert_eq!((state.records.len(), state.flops, state.networks.len()), (0, 0, 0));
    // A run that goes on has it in its state, and needs no file.
    let config = EffectHeadConfig { taught: Some("head.json".to_owned()), ..config() };
    let resumed = head(config, Vec::new(), run.head.state()).unwrap();
    assert_eq!(resumed.state(), run.head.state());
}

#[test]
fn a_taught_head_in_doubt_asks_and_forgets_what_it_was_told() {
    let mut doubtful = always(&[(Move::Prune, -4.0)]);
    let errors = [[-2.0; 5], [2.0; 5]].concat();
    doubtful.errors.insert(Move::Grow, ForecastErrors { bounds: Vec::new(), groups: vec![errors] });
    let mut run = taught(doubtful.clone(), 0.002, PolicyState::default()).unwrap();
    for _ in 0..3 {
        assert_eq!(run.decide(-0.1, 0.1).action, grow());
    }
    assert_eq!((run.asked, run.records()), (3, 0));
    let mut silent = taught(doubtful, 1e6, PolicyState::default()).unwrap();
    assert_eq!((silent.decide(-0.1, 0.1).action, silent.asked), (Action::Keep, 0));
}

#[test]
fn a_taught_head_of_another_size_or_none_at_all_is_refused() {
    let refused = |head: TaughtHead, state| matches!(taught(head, 0.0, state), Err(PolicyError::OtherHead));
    let whole = always(&[]);
    assert!(refused(TaughtHead { hidden: 2, ..whole.clone() }, PolicyState::default()));
    let mut learnt = Run::new();
    learnt.decide(0.1, 0.1);
    assert!(refused(whole.clone(), learnt.head.state()), "the state is of a head that learns");
    let state = taught(whole, 0.0, PolicyState::default()).unwrap().head.state();
    assert!(matches!(head(config(), Vec::new(), state), Err(PolicyError::OtherHead)));
    let missing = EffectHeadConfig { taught: Some("head.json".to_owned()), ..config() };
    assert!(matches!(head(missing, Vec::new(), PolicyState::default()), Err(PolicyError::OtherHead)));
}
