//! Metrics, comparisons and reports: predictions in, tables out. Knows no Burn.
//!
//! [`metrics`] judges one set of predictions, [`Report`] gathers the cells of an ablation into one
//! line an arm, and [`compare_to_baseline`] says whether an accuracy has really fallen.
//!
//! Two arms are compared from their scores on each example under each seed ([`Scores`]): the difference
//! with its crossed bootstrap is an [`Estimate`], [`judge`] turns what was declared into verdicts, and
//! [`Design`] says which difference could have been seen.
//!
//! [`Signal`] says whether labels and features know the measured effect of edits.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
#[cfg(test)]
mod fixtures;
mod predictions;
mod render;
mod report;
mod stats;
mod verdict;

pub use error::EvalError;
pub use predictions::{predictions_from_csv, predictions_to_csv};
pub use render::a_a::AaReport;
pub use report::{
    ArmReport, ArmResults, DataFacts, Outcome, REPORT_FORMAT, Report, Unfinished,
    a_a::{AaPair, a_a},
    compared::{Chosen, Compared, POWER, Power, SeedTest},
    cost::{Cost, Ratios, Training},
    decisions::{Decided, decisions_from_jsonl},
    history::{ExpertCount, ExpertHistory},
    needs::WithNeeds,
    plan_scores::{ReadDecisions, ReadPredictions, Readers},
    signal::{Direction, FeatureSignal, Signal, SourceSignal},
    sweep::{CLOSE_TO_BEST_PP, Sweep, SweepPoint},
};
pub use stats::{
    best_of::{BestOf, Candidate, Choice},
    bootstrap::Bootstrap,
    components::Components,
    estimate::{Estimate, Interval},
    mcnemar::McNemar,
    metrics::metrics,
    paired::PairedT,
    power::Design,
    rank_correlation::{Point, RankCorrelation},
    scores::{Differences, Scores},
    summary::Summary,
};
pub use verdict::{
    Finding, Judgement, Verdict,
    declared::{check_comparison, go_above, no_go_below, p_value},
    holm::{holm, holm_levels},
    judge,
    regression::{BaselineComparison, RegressionVerdict, compare_to_baseline},
};
