//! Does the signal know anything? Labels and features of decisions against the measured effect of the moves.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, Evidence, Label, LayerEvidence, Move, TrialEvidence};
use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Decided, Outcome, Point, RankCorrelation, report::plan_scores::ReadDecisions};

/// Features that are told of.
const STRONGEST: usize = 5;

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// Chance.
    Random,
    /// Thresholds on entropies.
    Entropy,
    /// The measured effect of edits.
    Effect,
}

/// Every source, in the order of the table.
const SOURCES: [LabelSource; 3] = [LabelSource::Random, LabelSource::Entropy, LabelSource::Effect];

/// What labels and features know of the measured effect of moves, from the cells that measured twice
/// (`study`).
///
/// A record is a move of a layer at one decision whose gain was measured, and measured once more on other
/// batches and other validation texts. The second gain is the target of every source, so that none shares
/// noise with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Finished cells that measured twice.
    pub cells: usize,
    /// Records.
    pub records: usize,
    /// Moves that were measured without giving a number both times.
    pub left_out: usize,
    /// How the cells were resampled.
    pub bootstrap: Bootstrap,
    /// Each label source.
    pub sources: Vec<SourceSignal>,
    /// Pairs of feature and direction that were looked at.
    pub features_tried: usize,
    /// Those of them with the strongest correlation, at most five, strongest first. They were chosen for it:
    /// their intervals are too optimistic.
    pub features: Vec<FeatureSignal>,
    /// Cells whose decisions cannot be read, with what is wrong.
    pub missing: Vec<String>,
}

/// What one label source knows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSignal {
    /// The source.
    pub source: LabelSource,
    /// Between what it says of a move and the second gain. A label (prune −1, keep 0, grow +1) counts for
    /// moves that grow and against those that prune; an effect label is the first gain.
    pub correlation: RankCorrelation,
}

/// What one feature knows of moves in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSignal {
    /// Its name, as in the evidence.
    pub feature: String,
    /// Of which moves.
    pub direction: Direction,
    /// Between the feature and the second gain.
    pub correlation: RankCorrelation,
}

/// Which way a move changes the number of experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Up: `grow` and `double`.
    Grow,
    /// Down: `prune` and `halve`.
    Prune,
}

impl Direction {
    const ALL: [Self; 2] = [Self::Grow, Self::Prune];

    fn of(kind: Move) -> Self {
        match kind {
            Move::Grow | Move::Double => Self::Grow,
            Move::Prune | Move::Halve => Self::Prune,
        }
    }

    fn sign(self) -> f64 {
        match self {
            Self::Grow => 1.0,
            Self::Prune => -1.0,
        }
    }
}

/// A move that was measured twice.
#[derive(Clone, Debug, PartialEq)]
struct Record {
    cell: usize,
    direction: Direction,
    gain: f64,
    replicate: f64,
    random: Option<f64>,
    entropy: Option<f64>,
    features: BTreeMap<String, f64>,
}

impl Signal {
    /// From the finished cells of `plan` that measured twice; none when there are none.
    pub(crate) fn of(
        plan: &AblationPlan,
        outcomes: &BTreeMap<String, Outcome>,
        read: &ReadDecisions,
    ) -> Option<Self> {
        let measured_twice = |cell: &&Cell| {
            cell.config.control.policy.is_study()
                && matches!(outcomes.get(&cell.id), Some(Outcome::Finished(_)))
        };
        let cells: Vec<&Cell> = plan.cells.iter().filter(measured_twice).collect();
        if cells.is_empty() {
            return None;
        }
        let (mut runs, mut missing) = (Vec::new(), Vec::new());
        for cell in &cells {
            match read(cell) {
                Ok(decisions) => runs.push(decisions),
                Err(reason) => missing.push(format!("{}: {reason}", cell.id)),
            }
        }
        Some(Self { cells: cells.len(), missing, ..Self::of_runs(&runs) })
    }

    /// From the decisions of some runs, each of which is a cell. What they measured only once gives no record.
    pub fn of_runs(runs: &[Vec<Decided>]) -> Self {
        let Found { records, left_out } = &Found::of(runs);
        let bootstrap = RankCorrelation::BOOTSTRAP;
        let source = |source| {
            let groups = by_direction(records, |record| record.score(source));
            SourceSignal { source, correlation: RankCorrelation::within(&groups, &bootstrap) }
        };
        let (features_tried, features) = strongest(records, &bootstrap);
        Self {
            cells: runs.len(),
            records: records.len(),
            left_out: *left_out,
            bootstrap,
            sources: SOURCES.map(source).into(),
            features_tried,
            features,
            missing: Vec::new(),
        }
    }
}

/// What was found in the decisions.
#[derive(Default)]
struct Found {
    records: Vec<Record>,
    left_out: usize,
}

impl Found {
    fn of(runs: &[Vec<Decided>]) -> Self {
        let mut found = Self::default();
        for (cell, decisions) in runs.iter().enumerate() {
            decisions.iter().for_each(|decided| found.add(cell, &decided.evidence));
        }
        found
    }

    fn add(&mut self, cell: usize, evidence: &Evidence) {
        for layer in &evidence.layers {
            for trial in layer.trials.iter().filter(|trial| trial.effect.is_some()) {
                match Record::of(cell, layer, trial) {
                    Some(record) => self.records.push(record),
                    None => self.left_out += 1,
                }
            }
        }
    }
}

/// The change of n_experts that a label asks for: 0, +1 or −1.
fn number(label: Label) -> f64 {
    match label {
        Label::Keep => 0.0,
        Label::Grow => 1.0,
        Label::Prune => -1.0,
    }
}

impl Record {
    /// None unless both gains are numbers.
    fn of(cell: usize, layer: &LayerEvidence, trial: &TrialEvidence) -> Option<Self> {
        let effect = trial.effect.as_ref()?;
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let features = layer.features.iter().flat_map(|features| features.named());
        Some(Self {
            cell,
            direction: Direction::of(trial.candidate),
            gain: finite(effect.gain)?,
            replicate: finite(effect.replicate?.gain)?,
            random: layer.labels.random.map(number),
            entropy: layer.labels.entropy.map(number),
            features: features.map(|(name, value)| (name.to_owned(), f64::from(value))).collect(),
        })
    }

    /// How much a source is for the move.
    fn score(&self, source: LabelSource) -> Option<f64> {
        let towards = |label: Option<f64>| label.map(|label| label * self.direction.sign());
        match source {
            LabelSource::Random => towards(self.random),
            LabelSource::Entropy => towards(self.entropy),
            LabelSource::Effect => Some(self.gain),
        }
    }
}

/// The records of each direction. Were they ranked as one, labels that ask to grow more often than to prune would
/// seem to know which of the two is better just now.
fn by_direction(records: &[Record], score: impl Fn(&Record) -> Option<f64>) -> [Vec<Point>; 2] {
    let of = |direction| points(records, |record| score(record).filter(|_| record.direction == direction));
    Direction::ALL.map(of)
}

/// The records that have a score, with the second gain.
fn points(records: &[Record], score: impl Fn(&Record) -> Option<f64>) -> Vec<Point> {
    let point = |record: &Record| Some(Point { cell: record.cell, x: score(record)?, y: record.replicate });
    records.iter().filter_map(point).collect()
}

/// How many pairs of feature and direction have a correlation, and the strongest of them.
fn strongest(records: &[Record], bootstrap: &Bootstrap) -> (usize, Vec<FeatureSignal>) {
    let pairs: BTreeSet<(&str, Direction)> = records
        .iter()
        .flat_map(|record| record.features.keys().map(|name| (name.as_str(), record.direction)))
        .collect();
    let points_of = |(feature, direction): (&str, Direction)| {
        let value = |record: &Record| record.features.get(feature).copied();
        points(records, |record| value(record).filter(|_| record.direction == direction))
    };
    let tried = pairs.into_iter().filter_map(|pair| {
        let points = points_of(pair);
        RankCorrelation::without_interval(&points).rho.map(|rho| (rho, pair, points))
    });
    let mut tried: Vec<_> = tried.collect();
    tried.sort_by(|(one, ..), (other, ..)| other.abs().total_cmp(&one.abs()));
    let told = tried.iter().take(STRONGEST).map(|(_, (feature, direction), points)| FeatureSignal {
        feature: (*feature).to_owned(),
        direction: *direction,
        correlation: RankCorrelation::of(points, bootstrap),
    });
    (tried.len(), told.collect())
}

#[cfg(test)]
pub(crate) mod tests {
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
            let lookahead =
                LookaheadConfig { study: Some(StudyConfig::default()), ..LookaheadConfig::default() };
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
                trial(
                    Move::Grow,
                    Some(unsure + grow + 0.3 * uniform()),
                    Some(unsure + grow + 0.3 * uniform()),
                ),
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
            missing: vec!["study-s3: runs/x/cells/study-s3/events.jsonl:7: EOF while parsing".to_owned()],
        }
    }
}
