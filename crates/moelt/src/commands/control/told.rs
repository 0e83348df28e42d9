//! What a head says of measured moves, in numbers: by move, and of all.

use moelt_control::head::{HeldOut, Intent};
use moelt_eval::{
    Point, RankCorrelation,
    render::{Column, Table},
};
use moelt_schema::Move;
use serde::Serialize;

/// What it says of some measured moves.
#[derive(Serialize)]
pub(super) struct AllTold {
    moves: Vec<MoveReport>,
    total: Told,
}

/// What it says of one kind of move.
#[derive(Serialize)]
struct MoveReport {
    #[serde(rename = "move")]
    candidate: Move,
    #[serde(flatten)]
    told: Told,
}

/// What it says of moves of one kind, or of all.
#[derive(Serialize)]
struct Told {
    records: usize,
    /// Of them, without a forecast: the other runs measured too few.
    unknown: usize,
    /// Between predicted and measured gain, over runs.
    correlation: RankCorrelation,
    /// Made unmeasured.
    made: Outcome,
    /// Asked to be measured.
    asked: Outcome,
    /// Neither.
    kept: Outcome,
}

/// What became of some moves when they were measured.
#[derive(Serialize)]
struct Outcome {
    records: usize,
    /// Those with a gain above 0.
    gained: usize,
    /// Nats; none of no move.
    mean_gain: Option<f64>,
}

impl AllTold {
    pub(super) fn of(told: &[HeldOut]) -> Self {
        let of =
            |candidate| told.iter().filter(|one| one.candidate == candidate).copied().collect::<Vec<_>>();
        let groups = Move::ALL.map(of);
        let moves = Move::ALL.into_iter().zip(&groups).filter(|(_, group)| !group.is_empty());
        let report = |(candidate, group): (_, &Vec<_>)| MoveReport {
            candidate,
            told: Told::of(std::slice::from_ref(group)),
        };
        Self { moves: moves.map(report).collect(), total: Told::of(&groups) }
    }

    pub(super) fn table(&self) -> Table {
        let numbers = [
            "records",
            "rank correlation [95 %]",
            "made",
            "gained",
            "mean gain",
            "asked",
            "kept",
            "would gain",
        ];
        let moves = self.moves.iter().map(|one| one.told.row(one.candidate.name()));
        Table {
            columns: [Column::left("move")].into_iter().chain(numbers.map(Column::right)).collect(),
            rows: moves.chain([self.total.row("all")]).collect(),
        }
    }

    /// What it comes to.
    pub(super) fn sentence(&self) -> String {
        let Told { records, made, asked, kept, .. } = &self.total;
        format!(
            "Of {records} moves in runs that it has not seen the head would make {} unmeasured{}, ask to measure {}, and \
             keep the experts at {}{}.",
            made.records,
            made.in_brackets(),
            asked.records,
            kept.records,
            kept.in_brackets()
        )
    }
}

impl Told {
    /// Of moves in groups that are not to be compared with one another.
    fn of(groups: &[Vec<HeldOut>]) -> Self {
        let all: Vec<&HeldOut> = groups.iter().flatten().collect();
        let points: Vec<Vec<Point>> =
            groups.iter().map(|group| group.iter().filter_map(point).collect()).collect();
        let outcome =
            |intent| Outcome::of(all.iter().filter(|one| one.intent == intent).map(|one| one.measured));
        Self {
            records: all.len(),
            unknown: all.iter().filter(|one| one.predicted.is_none()).count(),
            correlation: RankCorrelation::within(&points, &RankCorrelation::BOOTSTRAP),
            made: outcome(Intent::Make),
            asked: outcome(Intent::Ask),
            kept: outcome(Intent::Keep),
        }
    }

    fn row(&self, name: &str) -> Vec<String> {
        let Self { made, asked, kept, .. } = self;
        vec![
            name.to_owned(),
            self.records.to_string(),
            self.correlation.to_string(),
            made.records.to_string(),
            made.gained.to_string(),
            nats(made.mean_gain),
            asked.records.to_string(),
            kept.records.to_string(),
            nats(kept.mean_gain),
        ]
    }
}

fn point(one: &HeldOut) -> Option<Point> {
    Some(Point { cell: one.run as usize, x: one.predicted?, y: one.measured })
}

impl Outcome {
    fn of(gains: impl Iterator<Item = f64>) -> Self {
        let gains: Vec<f64> = gains.collect();
        let mean = gains.iter().sum::<f64>() / gains.len() as f64;
        Self {
            records: gains.len(),
            gained: gains.iter().filter(|gain| **gain > 0.0).count(),
            mean_gain: (!gains.is_empty()).then_some(mean),
        }
    }

    fn in_brackets(&self) -> String {
        let Some(mean) = self.mean_gain else { return String::new() };
        format!(" ({} of them gained, {mean:+.4} nats on average)", self.gained)
    }
}

fn nats(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:+.4}"))
}
