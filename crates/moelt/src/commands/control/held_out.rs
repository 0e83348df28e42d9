//! What a head would have done on runs that it has not seen, in numbers and for people.

use moelt_control::head::{HeldOut, Intent};
use moelt_eval::{
    Point, RankCorrelation,
    render::{Column, Document, Table},
};
use moelt_schema::{EffectHeadConfig, Move};
use serde::Serialize;

/// What a head is worth that learns from some runs.
#[derive(Serialize)]
pub(super) struct HeldOutReport {
    /// Folders of the runs, as typed.
    runs: Vec<String>,
    /// One that none of them has.
    unused_seed: u64,
    act_above: f64,
    ask_above: f64,
    hidden: usize,
    lr: f64,
    /// λ of the runs, nats; none where no run measured.
    expert_cost: Option<f64>,
    moves: Vec<MoveReport>,
    total: Told,
}

/// What it says of one move.
#[derive(Serialize)]
struct MoveReport {
    #[serde(rename = "move")]
    candidate: Move,
    #[serde(flatten)]
    told: Told,
}

/// What it says of some measured moves.
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

impl HeldOutReport {
    pub(super) fn new(
        runs: &[String],
        unused_seed: u64,
        head: &EffectHeadConfig,
        expert_cost: Option<f64>,
        told: &[HeldOut],
    ) -> Self {
        let of =
            |candidate| told.iter().filter(|one| one.candidate == candidate).copied().collect::<Vec<_>>();
        let groups = Move::ALL.map(of);
        let moves = Move::ALL.into_iter().zip(&groups).filter(|(_, group)| !group.is_empty());
        let report = |(candidate, group): (_, &Vec<_>)| MoveReport {
            candidate,
            told: Told::of(std::slice::from_ref(group)),
        };
        Self {
            runs: runs.to_vec(),
            unused_seed,
            act_above: head.act_above,
            ask_above: head.ask_above,
            hidden: head.hidden,
            lr: head.lr,
            expert_cost,
            moves: moves.map(report).collect(),
            total: Told::of(&groups),
        }
    }

    pub(super) fn to_terminal(&self) -> String {
        let mut document = Document::default();
        document
            .table(self.table())
            .paragraph(self.legend())
            .paragraph(self.sentence())
            .paragraph(self.usage())
            .to_terminal()
    }

    fn table(&self) -> Table {
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

    /// What the numbers are.
    fn legend(&self) -> String {
        format!(
            "Each seed of the {} runs is left out once, and a head that knows the others alone says of each of its moves, as if \
             there were no other move: make it unmeasured (it gains with a probability above act_above = {}), ask \
             (knowing promises more than ask_above = {} nats, or too little is known), or keep. Gains are \
             as measured, in nats, an expert costing {}; \"would gain\" is the mean gain of what is kept. Rank correlation \
             of predicted and measured gain, what experts cost in both; interval over runs; for all moves both are \
             ranked within each move. A head that knows no more than the mean of the other runs ranks below 0: leaving out a \
             good run lowers that mean.",
            self.runs.len(),
            self.act_above,
            self.ask_above,
            self.expert_cost.map_or_else(|| "nothing".to_owned(), |cost| cost.to_string())
        )
    }

    /// What it comes to.
    fn sentence(&self) -> String {
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

    /// How a run uses them.
    fn usage(&self) -> String {
        let runs = serde_json::Value::from(self.runs.clone()).to_string();
        // A single quote ends the shell's quotes: close them, escape it, open them again.
        format!(
            "A run by `head` that begins with what they measured, on their data set:\n  moelt train datasets/DATASET phases/head --set seed={} --set control.policy.lookahead.head.records_of='{}'",
            self.unused_seed,
            runs.replace('\'', r"'\''")
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
