//! Metrics, comparisons and reports: predictions in, tables out. Knows no Burn.
//!
//! [`metrics`] judges one set of predictions, [`Report`] gathers the cells of an ablation into one
//! line an arm, and [`compare_to_baseline`] says whether an accuracy has really fallen.
//!
//! Two arms are compared from their scores on each example under each seed ([`Correct`]): the difference
//! with its crossed bootstrap is an [`Estimate`], [`judge`] turns what was declared into verdicts, and
//! [`Design`] says which difference could have been seen.
//!
//! [`Signal`] says whether labels and features know the measured effect of edits.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod a_a;
mod best_of;
mod bootstrap;
mod compared;
mod components;
mod correctness;
mod cost;
mod decisions;
mod declared;
mod error;
mod estimate;
mod history;
mod holm;
mod matrix;
mod mcnemar;
mod metrics;
mod needs;
mod paired;
mod power;
mod predictions;
mod rank_correlation;
mod regression;
mod render;
mod render_a_a;
mod render_signal;
mod render_verdicts;
mod report;
mod scores;
mod signal;
mod student;
mod summary;
mod sweep;
mod verdict;

pub use a_a::{AaPair, a_a};
pub use best_of::{BestOf, Candidate, Choice};
pub use bootstrap::Bootstrap;
pub use compared::{Chosen, Compared, POWER, Power, SeedTest};
pub use components::Components;
pub use correctness::{Correct, Differences};
pub use cost::{Cost, Ratios, Training};
pub use decisions::{Decided, decisions_from_jsonl};
pub use declared::{check_comparison, go_above, no_go_below, p_value};
pub use error::EvalError;
pub use estimate::{Estimate, Interval};
pub use history::{ExpertCount, ExpertHistory};
pub use holm::{holm, holm_levels};
pub use mcnemar::McNemar;
pub use metrics::metrics;
pub use needs::WithNeeds;
pub use paired::PairedT;
pub use power::Design;
pub use predictions::{predictions_from_csv, predictions_to_csv};
pub use rank_correlation::{Point, RankCorrelation};
pub use regression::{BaselineComparison, RegressionVerdict, compare_to_baseline};
pub use render_a_a::AaReport;
pub use report::{ArmReport, ArmResults, DataFacts, Outcome, REPORT_FORMAT, Report, Unfinished};
pub use scores::{ReadDecisions, ReadPredictions, Readers};
pub use signal::{Direction, FeatureSignal, Signal, SourceSignal};
pub use summary::Summary;
pub use sweep::{CLOSE_TO_BEST_PP, Sweep, SweepPoint};
pub use verdict::{Evidence, Judged, Verdict, judge};
