//! What labels and features are found to know.

use moelt_schema::{
    EffectEvidence, Features, LayerId, LookaheadConfig, PolicyConfig, ReplicateEvidence, StudyConfig,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    Interval, Readers, Report,
    fixtures::{finished, no_predictions, plan},
};

fn trial(candidate: Move, gain: Option<f64>, replicate: Option<f64>) -> TrialEvidence {
    let effect = EffectEvidence {
        steps: 9,
        loss_increase: None,
        gain,
        standard_error: None,
        replicate: Some(ReplicateEvidence { gain: replicate, standard_error: None }),
    };
    TrialEvidence { candidate, forecast: None, effect: Some(effect) }
}

fn evidence(layers: Vec<LayerEvidence>) -> Evidence {
    Evidence { layers, ..Evidence::default() }
}

fn found(evidence: &Evidence) -> Found {
    let mut found = Found::default();
    found.add(3, evidence);
    found
}

/// A plan with an arm that measures twice and one that does not, finished.
fn study(seeds: u64) -> (AblationPlan, BTreeMap<String, Outcome>) {
    let mut plan = plan(&["study", "moe"], seeds);
    for cell in plan.cells.iter_mut().filter(|cell| cell.arm == "study") {
        let lookahead = LookaheadConfig { study: Some(StudyConfig::default()), ..LookaheadConfig::default() };
        cell.config.control.policy = PolicyConfig::Lookahead(lookahead);
    }
    let outcomes = finished(&plan, &vec![0.9; plan.cells.len()]);
    (plan, outcomes)
}

fn signal(
    plan: &AblationPlan,
    outcomes: &BTreeMap<String, Outcome>,
    decisions: &ReadDecisions,
) -> Option<Signal> {
    let readers = Readers { predictions: &no_predictions, decisions };
    Report::new(plan, outcomes, &readers, plan.code).unwrap().signal
}

/// Sixty decisions: gains repeat with noise, growing gains more where the router is unsure, random
/// labels are drawn evenly, and the entropy label follows the feature.
fn decisions(cell: &Cell) -> Vec<crate::Decided> {
    let mut rng = ChaCha8Rng::seed_from_u64(cell.seed);
    let mut uniform = || 2.0 * rng.random::<f64>() - 1.0;
    let mut decision = || {
        let (unsure, grow, prune) = (uniform(), uniform(), uniform());
        let label = [Label::Prune, Label::Keep, Label::Grow][((1.5 * uniform()).round() + 1.0) as usize];
        let mut layer = LayerEvidence::new(LayerId(0), 4);
        layer.labels.random = Some(label);
        layer.labels.entropy = Some(if unsure > 0.0 { Label::Grow } else { Label::Prune });
        let mut values = [1.0; Features::N];
        (values[Features::ROUTING_ENTROPY], values[14]) = (unsure, uniform());
        layer.features = Some(Features::clamped(values));
        layer.trials = vec![
            trial(Move::Grow, Some(unsure + grow + 0.3 * uniform()), Some(unsure + grow + 0.3 * uniform())),
            trial(Move::Prune, Some(prune + 0.3 * uniform()), Some(prune + 0.3 * uniform())),
        ];
        evidence(vec![layer])
    };
    (1..=60).map(|step| crate::Decided { step, evidence: decision() }).collect()
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 20, ..Default::default() })]

    /// A log is a file: its numbers may be as large as numbers are.
    #[test]
    fn whatever_numbers_a_log_holds_there_is_a_report(
        numbers in proptest::collection::vec(
            proptest::prop_oneof![proptest::num::f64::ANY, proptest::strategy::Just(f64::MAX), -1.0..1.0],
            3 * 12,
        )
    ) {
        let decided = |numbers: &[f64]| {
            let [feature, gain, replicate] = numbers else { panic!() };
            let mut layer = LayerEvidence::new(LayerId(7), 2);
            layer.features = Some(Features::clamped([*feature; Features::N]));
            layer.labels.entropy = Some(Label::Grow);
            layer.trials = vec![trial(Move::Grow, Some(*gain), Some(*replicate))];
            crate::Decided { step: 1, evidence: evidence(vec![layer]) }
        };
        let decisions: Vec<_> = numbers.chunks_exact(3).map(decided).collect();
        let runs: Vec<_> = decisions.chunks(4).map(<[_]>::to_vec).collect();
        let signal = Signal::of_runs(&runs);
        proptest::prop_assert!(signal.records <= 12);
        proptest::prop_assert!(!signal.to_terminal().is_empty());
    }
}

#[test]
fn a_record_is_a_move_that_was_measured_twice() {
    let mut first = LayerEvidence::new(LayerId(0), 4);
    first.labels.random = Some(Label::Prune);
    first.features = Some(Features::clamped([0.5; Features::N]));
    first.trials =
        vec![trial(Move::Grow, Some(0.25), Some(0.125)), trial(Move::Halve, Some(-0.25), Some(-0.5))];
    let mut second = LayerEvidence::new(LayerId(1), 4);
    second.trials = vec![trial(Move::Prune, Some(0.75), None), trial(Move::Double, None, None)];
    second.trials.push(TrialEvidence { candidate: Move::Grow, forecast: None, effect: None });
    let found = found(&evidence(vec![first, second]));
    let scores = |source| found.records.iter().map(|record| record.score(source)).collect::<Vec<_>>();
    assert_eq!(scores(LabelSource::Random), [Some(-1.0), Some(1.0)]);
    assert_eq!(scores(LabelSource::Entropy), [None, None]);
    assert_eq!(scores(LabelSource::Effect), [Some(0.25), Some(-0.25)]);
    let [grow, halve] = &found.records[..] else { panic!("{:?}", found.records) };
    assert_eq!((grow.cell, grow.direction, grow.replicate), (3, Direction::Grow, 0.125));
    assert_eq!((halve.direction, halve.replicate), (Direction::Prune, -0.5));
    assert_eq!((grow.features.len(), grow.features["loss"]), (Features::N, 0.5));
    assert_eq!(found.left_out, 2, "of layer 1 neither prune nor double gave both numbers");
}

#[test]
fn what_is_no_number_is_left_out() {
    for (gain, replicate) in [(f64::NAN, 1.0), (1.0, f64::NAN)] {
        let mut layer = LayerEvidence::new(LayerId(0), 4);
        layer.trials = vec![trial(Move::Grow, Some(gain), Some(replicate))];
        let found = found(&evidence(vec![layer]));
        assert_eq!((found.records.len(), found.left_out), (0, 1), "{gain} {replicate}");
    }
}

#[test]
fn what_is_known_is_found_and_the_same_every_time() {
    let (plan, outcomes) = study(8);
    let read = |cell: &Cell| {
        assert_eq!(cell.arm, "study", "others did not measure twice");
        Ok(decisions(cell))
    };
    let found = signal(&plan, &outcomes, &read).unwrap();
    assert_eq!((found.cells, found.records, found.left_out), (8, 960, 0));
    let interval = |at: usize| found.sources[at].correlation.interval.unwrap();
    assert!(interval(0).lower < 0.0 && interval(0).upper > 0.0, "{found:?}");
    assert!(interval(1).lower > 0.0 && interval(2).lower > 0.8, "{found:?}");
    // `always` says the same of everything.
    assert_eq!((found.features_tried, found.features.len()), (4, 4));
    let first = &found.features[0];
    assert_eq!((first.feature.as_str(), first.direction), ("routing_entropy", Direction::Grow));
    assert!(first.correlation.interval.unwrap().lower > 0.4, "{first:?}");
    assert_eq!(signal(&plan, &outcomes, &read).unwrap(), found);
}

#[test]
fn cells_that_did_not_measure_twice_or_to_the_end_are_ignored() {
    let (plan, mut outcomes) = study(2);
    let read = |cell: &Cell| Ok(decisions(cell));
    outcomes.remove(&plan.cells[0].id);
    let one = signal(&plan, &outcomes, &read).unwrap();
    assert_eq!((one.cells, one.records), (1, 120));
    assert!(one.sources[2].correlation.rho.is_some_and(|rho| rho > 0.8), "{one:?}");
    assert_eq!(one.sources[2].correlation.interval, None, "of one cell");
    outcomes.remove(&plan.cells[1].id);
    assert_eq!(signal(&plan, &outcomes, &read), None);
}

#[test]
fn decisions_that_cannot_be_read_are_named() {
    let (plan, outcomes) = study(2);
    let first = &plan.cells[0].id;
    let read = |cell: &Cell| {
        if cell.id == *first { Err("events.jsonl:7: EOF".to_owned()) } else { Ok(decisions(cell)) }
    };
    let found = signal(&plan, &outcomes, &read).unwrap();
    assert_eq!(found.missing, [format!("{first}: events.jsonl:7: EOF")]);
    assert_eq!((found.cells, found.records), (2, 120));
}

/// A signal for people to look at: one source that knows nothing, one that cannot be told, one that repeats.
pub(crate) fn some_signal() -> Signal {
    let correlation = |records, rho, lower, upper| RankCorrelation {
        records,
        cells: 10,
        rho: Some(rho),
        interval: Some(Interval { level: 0.95, lower, upper }),
    };
    let source = |source, rho, lower, upper| SourceSignal {
        source,
        correlation: correlation(1_840, rho, lower, upper),
    };
    let feature = |feature: &str, direction, rho| FeatureSignal {
        feature: feature.to_owned(),
        direction,
        correlation: correlation(920, rho, rho - 0.125, rho + 0.125),
    };
    Signal {
        cells: 11,
        records: 1_840,
        left_out: 3,
        bootstrap: RankCorrelation::BOOTSTRAP,
        sources: vec![
            source(LabelSource::Random, 0.01, -0.04, 0.06),
            source(LabelSource::Entropy, -0.08, -0.21, 0.05),
            source(LabelSource::Effect, 0.62, 0.55, 0.69),
        ],
        features_tried: 30,
        features: vec![
            feature("experts", Direction::Grow, -0.5),
            feature("utilization_min", Direction::Prune, 0.25),
        ],
        criteria: vec![CriterionSignal {
            criterion: "gradmax".to_owned(),
            overall: correlation(1_200, 0.5, 0.375, 0.625),
            within: correlation(1_200, 0.0, -0.125, 0.125),
            by_size: [1, 16]
                .map(|n_experts| SizeSignal { n_experts, correlation: correlation(600, 0.25, 0.0, 0.5) })
                .into(),
        }],
        missing: vec!["study-s3: runs/x/cells/study-s3/events.jsonl:7: EOF while parsing".to_owned()],
    }
}
