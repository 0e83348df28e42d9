//! Does the signal know anything? Labels and features of decisions against the measured effect of the moves.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, Evidence, LabelSource, Move};
use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Decided, Outcome, Point, RankCorrelation, scores::ReadDecisions};

/// Features that are told of.
const STRONGEST: usize = 5;

/// Every source, in the order of the table.
const SOURCES: [LabelSource; 3] = [LabelSource::Synthetic, LabelSource::Entropy, LabelSource::Counterfactual];

/// What labels and features know of the measured effect of moves, from the cells that measured twice
/// (`control.replicate`).
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
    /// moves that grow and against those that prune; a counterfactual label is the first gain.
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
    synthetic: Option<f64>,
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
            cell.config.control.replicate && matches!(outcomes.get(&cell.id), Some(Outcome::Finished(_)))
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
        for (layer, kind) in measured_moves(evidence) {
            match Record::of(cell, layer, kind, evidence) {
                Some(record) => self.records.push(record),
                None => self.left_out += 1,
            }
        }
    }
}

/// The layers (`layer0`) and moves of which anything measured is noted. A gain that is no number is not.
fn measured_moves(evidence: &Evidence) -> BTreeSet<(&str, Move)> {
    let parse = |name| {
        let (layer, rest) = str::split_once(name, '.')?;
        let (kind, what) = rest.split_once('.')?;
        let kind = Move::ALL.into_iter().find(|one| one.name() == kind)?;
        ["gain", "replicate", "steps"].contains(&what).then_some((layer, kind))
    };
    evidence.0.keys().filter_map(|name| parse(name)).collect()
}

impl Record {
    /// None unless both gains are numbers.
    fn of(cell: usize, layer: &str, kind: Move, evidence: &Evidence) -> Option<Self> {
        let number = |name: &str| {
            let value = evidence.0.get(&format!("{layer}.{name}")).copied();
            value.filter(|value| value.is_finite())
        };
        let prefix = format!("{layer}.feature.");
        let feature = |(name, value): (&String, &f64)| Some((name.strip_prefix(&prefix)?.to_owned(), *value));
        Some(Self {
            cell,
            direction: Direction::of(kind),
            gain: number(&format!("{}.gain", kind.name()))?,
            replicate: number(&format!("{}.replicate", kind.name()))?,
            synthetic: number("label.synthetic"),
            entropy: number("label.entropy"),
            features: evidence.0.iter().filter_map(feature).filter(|(_, value)| value.is_finite()).collect(),
        })
    }

    /// How much a source is for the move.
    fn score(&self, source: LabelSource) -> Option<f64> {
        let towards = |label: Option<f64>| label.map(|label| label * self.direction.sign());
        match source {
            LabelSource::Synthetic => towards(self.synthetic),
            LabelSource::Entropy => towards(self.entropy),
            LabelSource::Counterfactual => Some(self.gain),
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
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{
        Interval, Readers, Report,
        report::tests::{finished, no_predictions, plan},
    };

    fn evidence(numbers: &[(&str, f64)]) -> Evidence {
        numbers.iter().fold(Evidence::default(), |evidence, (name, value)| evidence.with(*name, *value))
    }

    fn found(evidence: &Evidence) -> Found {
        let mut found = Found::default();
        found.add(3, evidence);
        found
    }

    /// A plan with an arm that measures twice and one that does not, finished.
    fn study(seeds: u64) -> (AblationPlan, BTreeMap<String, Outcome>) {
        let mut plan = plan(&["study", "moe"], seeds);
        plan.cells.iter_mut().for_each(|cell| cell.config.control.replicate = cell.arm == "study");
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

    /// Sixty decisions: gains repeat with noise, growing gains more where the router is unsure, synthetic
    /// labels are drawn evenly, and the entropy label follows the feature.
    fn decisions(cell: &Cell) -> Vec<crate::Decided> {
        let mut rng = ChaCha8Rng::seed_from_u64(cell.seed);
        let mut uniform = || 2.0 * rng.random::<f64>() - 1.0;
        let mut decision = || {
            let (unsure, grow, prune) = (uniform(), uniform(), uniform());
            let label = (1.5 * uniform()).round();
            evidence(&[
                ("layer0.label.synthetic", label),
                ("layer0.label.entropy", unsure.signum()),
                ("layer0.feature.routing_entropy", unsure),
                ("layer0.feature.loss", uniform()),
                ("layer0.feature.always", 1.0),
                ("layer0.grow.gain", unsure + grow + 0.3 * uniform()),
                ("layer0.grow.replicate", unsure + grow + 0.3 * uniform()),
                ("layer0.prune.gain", prune + 0.3 * uniform()),
                ("layer0.prune.replicate", prune + 0.3 * uniform()),
            ])
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
                5 * 12,
            )
        ) {
            let names = ["label.synthetic", "label.entropy", "feature.a", "grow.gain", "grow.replicate"];
            let decided = |numbers: &[f64]| {
                let numbers = names.iter().zip(numbers).map(|(name, value)| (format!("layer7.{name}"), *value));
                let evidence = numbers.fold(Evidence::default(), |all, (name, value)| all.with(name, value));
                crate::Decided { step: 1, evidence }
            };
            let decisions: Vec<_> = numbers.chunks_exact(5).map(decided).collect();
            let runs: Vec<_> = decisions.chunks(4).map(<[_]>::to_vec).collect();
            let signal = Signal::of_runs(&runs);
            proptest::prop_assert!(signal.records <= 12);
            proptest::prop_assert!(!signal.to_terminal().is_empty());
        }
    }

    #[test]
    fn a_record_is_a_move_that_was_measured_twice() {
        let found = found(&evidence(&[
            ("candidates", 4.0),
            ("layer0.label.synthetic", -1.0),
            ("layer0.feature.loss", 0.5),
            ("layer0.grow.gain", 0.25),
            ("layer0.grow.replicate", 0.125),
            ("layer0.halve.gain", -0.25),
            ("layer0.halve.replicate", -0.5),
            ("layer1.label.synthetic", 1.0),
            ("layer1.prune.gain", 0.75),
            ("layer1.prune.steps", 9.0),
            ("layer1.double.steps", 9.0),
            ("layer1.router.gain", 9.0),
        ]));
        let scores = |source| found.records.iter().map(|record| record.score(source)).collect::<Vec<_>>();
        assert_eq!(scores(LabelSource::Synthetic), [Some(-1.0), Some(1.0)]);
        assert_eq!(scores(LabelSource::Entropy), [None, None]);
        assert_eq!(scores(LabelSource::Counterfactual), [Some(0.25), Some(-0.25)]);
        let [grow, halve] = &found.records[..] else { panic!("{:?}", found.records) };
        assert_eq!((grow.cell, grow.direction, grow.replicate), (3, Direction::Grow, 0.125));
        assert_eq!((halve.direction, halve.replicate), (Direction::Prune, -0.5));
        assert_eq!(grow.features, BTreeMap::from([("loss".to_owned(), 0.5)]));
        assert_eq!(found.left_out, 2, "of layer 1 neither prune nor double gave both numbers");
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        for name in ["layer0.grow.gain", "layer0.grow.replicate"] {
            let mut evidence = evidence(&[("layer0.grow.gain", 1.0), ("layer0.grow.replicate", 1.0)]);
            evidence.0.insert(name.to_owned(), f64::NAN);
            let found = found(&evidence);
            assert_eq!((found.records.len(), found.left_out), (0, 1), "{name}");
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
                source(LabelSource::Synthetic, 0.01, -0.04, 0.06),
                source(LabelSource::Entropy, -0.08, -0.21, 0.05),
                source(LabelSource::Counterfactual, 0.62, 0.55, 0.69),
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
