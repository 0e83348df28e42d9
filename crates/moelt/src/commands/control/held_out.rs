//! What a head would have done on runs that it has not seen, in numbers and for people.

use moelt_control::head::HeldOut;
use moelt_eval::render::Document;
use moelt_schema::EffectHeadConfig;
use serde::Serialize;

use super::told::AllTold;

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
    #[serde(flatten)]
    told: AllTold,
}

impl HeldOutReport {
    pub(super) fn new(
        runs: &[String],
        unused_seed: u64,
        head: &EffectHeadConfig,
        expert_cost: Option<f64>,
        told: &[HeldOut],
    ) -> Self {
        Self {
            runs: runs.to_vec(),
            unused_seed,
            act_above: head.act_above,
            ask_above: head.ask_above,
            hidden: head.hidden,
            lr: head.lr,
            expert_cost,
            told: AllTold::of(told),
        }
    }

    pub(super) fn to_terminal(&self) -> String {
        let mut document = Document::default();
        document
            .table(self.told.table())
            .paragraph(self.legend())
            .paragraph(self.told.sentence())
            .paragraph(self.usage())
            .to_terminal()
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
