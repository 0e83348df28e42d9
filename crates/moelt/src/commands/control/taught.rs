//! What a head that was taught once says of moves that it has not seen, and what it cost, in numbers and for people.

use moelt_control::head::HeldOut;
use moelt_eval::render::Document;
use moelt_schema::{EffectHeadConfig, Flops, TaughtFile, Teaching};
use serde::Serialize;

use super::told::AllTold;

/// Runs over which the cost of teaching is shared, for a table.
const SHARED_BY: [u64; 4] = [1, 10, 100, 1000];

/// What a taught head is worth.
#[derive(Serialize)]
pub(super) struct TaughtReport {
    /// Its file, as typed.
    file: String,
    act_above: f64,
    ask_above: f64,
    teaching: Teaching,
    /// Operations that it was taught with, once.
    flops: Flops,
    #[serde(flatten)]
    told: AllTold,
    /// Of which moves this is said.
    #[serde(skip)]
    unseen: &'static str,
}

impl TaughtReport {
    /// `unseen` says, as the first sentence of the legend, which moves were told of.
    pub(super) fn new(
        name: &str,
        file: &TaughtFile,
        config: &EffectHeadConfig,
        unseen: &'static str,
        told: &[HeldOut],
    ) -> Self {
        Self {
            file: name.to_owned(),
            act_above: config.act_above,
            ask_above: config.ask_above,
            teaching: file.teaching.clone(),
            flops: file.head.flops,
            told: AllTold::of(told),
            unseen,
        }
    }

    pub(super) fn to_terminal(&self) -> String {
        let mut document = Document::default();
        document
            .table(self.told.table())
            .paragraph(self.legend())
            .paragraph(self.told.sentence())
            .paragraph(cost(&self.teaching, self.flops))
            .to_terminal()
    }

    /// What the numbers are.
    fn legend(&self) -> String {
        format!(
            "{} Of each move it says, as if there were no other: make it unmeasured (it gains with a probability above \
             act_above = {}), ask (knowing promises more than ask_above = {} nats), or keep. Gains are as measured, in \
             nats, less what experts cost; \"would gain\" is the mean gain of what is kept. Rank correlation of predicted and \
             measured gain; interval over runs; for all moves both are ranked within each move.",
            self.unseen, self.act_above, self.ask_above
        )
    }
}

/// What teaching took, and what of it each run bears that uses the head.
fn cost(teaching: &Teaching, flops: Flops) -> String {
    let records: u64 = teaching.records.values().sum();
    let gigaflops = flops.computed as f64 / 1e9;
    let shares = SHARED_BY.map(|runs| format!("{runs} runs {:.3}", gigaflops / runs as f64)).join(", ");
    format!(
        "Taught on {} tasks ({} more gave nothing to learn): {records} measured moves, {:.4} TFLOP, of which {:.4} for fitting. No \
         run counts that among its own operations. Shared by the runs that use the head, each bears, in GFLOP: by {shares}.",
        teaching.tasks - teaching.left_out,
        teaching.left_out,
        gigaflops / 1e3,
        teaching.fitting as f64 / 1e12,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use moelt_schema::{Digest, Move};

    use super::*;

    #[test]
    fn what_teaching_cost_is_said_and_shared() {
        let teaching = Teaching {
            first_seed: 5000,
            tasks: 12,
            left_out: 2,
            configs: Digest::of_bytes(b""),
            records: BTreeMap::from([(Move::Grow, 30), (Move::Prune, 9)]),
            fitting: 100_000_000_000,
        };
        let text = cost(&teaching, Flops::unpadded(1_000_000_000_000));
        for part in [
            "Taught on 10 tasks (2 more gave nothing to learn): 39 measured moves, 1.0000 TFLOP, of which 0.1000 for fitting.",
            "by 1 runs 1000.000, 10 runs 100.000, 100 runs 10.000, 1000 runs 1.000.",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
