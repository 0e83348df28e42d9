//! Metrics, comparisons and reports: predictions in, tables out. Knows no Burn.
//!
//! [`metrics`] judges one set of predictions, [`Report`] gathers the cells of an ablation into one
//! line an arm, and [`compare_to_baseline`] says whether an accuracy has really fallen.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod history;
mod metrics;
mod predictions;
mod regression;
mod render;
mod report;
mod summary;
mod sweep;

pub use error::EvalError;
pub use history::{ExpertCount, ExpertHistory};
pub use metrics::metrics;
pub use predictions::{predictions_from_csv, predictions_to_csv};
pub use regression::{Comparison, RegressionVerdict, compare_to_baseline};
pub use report::{ArmReport, ArmResults, DataFacts, Outcome, REPORT_FORMAT, Report, Unfinished};
pub use summary::Summary;
pub use sweep::{CLOSE_TO_BEST_PP, Sweep, SweepPoint};
