//! Is one arm really better than another? Predictions in, a verdict and a report out.
//!
//! Accuracy depends on chance twice: on the seed, and on which examples happen to be in the split. An interval over seeds alone
//! knows nothing of the examples, one over examples alone nothing of the seeds, and pooling five looks at the same
//! examples counts them five times. So there is one way to a verdict here, and everything that is reported goes through it:
//!
//! [`Scores`] (who was right on what, by seed and example) → [`Differences`] (paired, of two arms) → [`Estimate`] (a crossed
//! bootstrap that draws seeds and, once for all of them, examples; calibrated for few seeds) → [`Judgement`] (GO, NO-GO or
//! INCONCLUSIVE on a claim that was declared before, corrected for the family that it belongs to, and GO only where enough seeds
//! exclude that some collapse). INCONCLUSIVE is a result: these seeds and examples cannot tell. [`Design`] says what they could have told.
//!
//! ```
//! use moelt_eval::{Bootstrap, Finding, Scores, Verdict, judge};
//! use moelt_schema::{ClaimKind, CollapseRule, Comparison, Metric};
//!
//! // Three seeds × 200 examples: right in 90 % and in 70 % of them.
//! let arm = |percent: u64| {
//!     let row = |seed: u64| (0..200).map(|i| f64::from((i * 37 + seed) % 100 < percent)).collect();
//!     Scores::new((0..3).map(|seed| (seed, row(seed))))
//! };
//! let differences = arm(90)?.minus(&arm(70)?)?;
//! let estimate = Bootstrap::default().difference(&differences)?;
//! let claim = Comparison {
//!     name: "new against old".into(),
//!     metric: Metric::Accuracy,
//!     arm: "new".into(),
//!     against: vec!["old".into()],
//!     kind: ClaimKind::Superiority,
//!     margin: 0.005,
//!     alpha: 0.05,
//!     family: "main".into(),
//! };
//! let finding = Finding { estimate: Some(estimate), missing: Vec::new() };
//! let by_interval = judge(&[(claim.clone(), finding.clone())], &CollapseRule::OFF)?;
//! assert_eq!(by_interval[0].verdict, Verdict::Go);
//! // 20 points more are a lot, but of three seeds none need show that two in three collapse.
//! let strict = judge(&[(claim, finding)], &CollapseRule { depth: 0.5, ..CollapseRule::default() })?;
//! assert_eq!(strict[0].verdict, Verdict::Inconclusive);
//! # Ok::<(), moelt_eval::EvalError>(())
//! ```
//!
//! `examples/judge_predictions.rs` does this with the CSV files of two tools, and [`System::against`] with files of any tool, whose
//! classes are words ([`PredictionFile`]). Beside it: [`metrics`] judges one set of predictions,
//! [`Report`] gathers the cells of an ablation, [`Report::answer`] says what they come to, [`compare_to_baseline`] whether an
//! accuracy has really fallen, and [`Signal`] whether labels and features know the measured effect of edits. All that is printed
//! is a [`render::Document`]; with the feature `html` a report is a page with charts, too. Statistics know nothing of verdicts, verdicts nothing of reports; nothing here sees a model.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod csv_lines;
mod error;
#[cfg(test)]
mod fixtures;
mod prediction_file;
mod predictions;
pub mod render;
mod report;
mod stats;
mod verdict;

pub use error::EvalError;
pub use prediction_file::{Columns, PredictionFile, PredictionRow};
pub use predictions::{predictions_from_csv, predictions_to_csv};
pub use render::a_a::AaReport;
pub use report::{
    ArmReport, ArmResults, DataFacts, Outcome, REPORT_FORMAT, Report, Unfinished,
    a_a::{AaPair, a_a},
    answer::{Answer, ArmCost, Enough, Spent},
    collapsed::{CollapsedSeed, Fall, WithoutCollapsed},
    compared::{Chosen, Compared, POWER, Power, SeedTest},
    cost::{Cost, Ratios, Training},
    decisions::{Decided, decisions_from_jsonl},
    domains::{DomainEffect, DomainGain, Domains},
    history::{ExpertCount, ExpertHistory},
    machines::MachineCells,
    needs::WithNeeds,
    plan_scores::{ReadDecisions, ReadPredictions, Readers},
    purity::ArmPurity,
    signal::{CriterionSignal, Direction, FeatureSignal, LabelSource, Signal, SizeSignal, SourceSignal},
    stream::StreamResults,
    sweep::{CLOSE_TO_BEST_PP, Sweep, SweepPoint},
    systems::{IntervalOver, JudgedClaim, System, SystemScore, SystemsQuestion, SystemsReport},
    training_log::{LogRouting, LogValidation, LogWindow, TrainingLog},
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
    unseen::Unseen,
};
