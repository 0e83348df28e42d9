//! Does the signal know anything? Labels and features of decisions against the measured effect of the moves.

mod criteria;

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, Evidence, Label, LayerEvidence, Move, TrialEvidence};
use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Decided, Outcome, Point, RankCorrelation, report::plan_scores::ReadDecisions};

pub use self::criteria::{CriterionSignal, SizeSignal};

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
    /// Each growth criterion, where the runs looked at them.
    pub criteria: Vec<CriterionSignal>,
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
            criteria: criteria::criteria(runs, &bootstrap),
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
pub(crate) mod tests;
