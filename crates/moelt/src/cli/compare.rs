//! What `moelt compare` can be asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use moelt_eval::Columns;
use moelt_schema::{ClaimKind, Metric};

#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// The two systems, A and B: each a file of predictions, a folder of such files (one per seed), or a run folder, whose
    /// predictions of the test split are meant.
    #[arg(value_name = "PREDICTIONS")]
    pub(crate) systems: Vec<PathBuf>,
    /// A where it has several seeds: a file or run folder for each.
    #[arg(long, value_name = "PREDICTIONS", num_args = 1.., requires = "b", conflicts_with = "systems")]
    pub(crate) a: Vec<PathBuf>,
    /// B likewise, in the same order: its first seed is compared with A's first.
    #[arg(long, value_name = "PREDICTIONS", num_args = 1.., requires = "a", conflicts_with = "systems")]
    pub(crate) b: Vec<PathBuf>,
    /// What is claimed of A: that it is better than B, that it is not worse, or both.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) claim: ClaimArg,
    /// By how much A must be better, or may be worse: 0.005 is half a percentage point.
    #[arg(long, value_name = "M", default_value_t = 0.005)]
    pub(crate) margin: f64,
    /// The chance at most of a wrong GO or NO-GO; the interval is of level 1 − alpha.
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    pub(crate) alpha: f64,
    /// What is compared.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) metric: MetricArg,
    /// The collapse rate that a GO of several seeds must exclude; 1 asks for nothing: verdicts then follow from the interval.
    #[arg(long, value_name = "R", default_value_t = 0.1)]
    pub(crate) collapse_rate: f64,
    #[command(flatten)]
    pub(crate) columns: PredictionColumns,
    /// Write the same as Markdown.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Machine-readable output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How the files of predictions are read.
#[derive(Args, Clone, Debug)]
pub(crate) struct PredictionColumns {
    /// Header of the column that identifies an example; default: `id` or `example`. Files without it are paired row by row.
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    /// Header of the column of true classes; default: `label`.
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Header of the column of predicted classes; default: `prediction` or `predicted`.
    #[arg(long, value_name = "NAME")]
    prediction_column: Option<String>,
}

impl From<PredictionColumns> for Columns {
    fn from(args: PredictionColumns) -> Self {
        Self { id: args.id_column, label: args.label_column, prediction: args.prediction_column }
    }
}

/// What can be claimed.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ClaimArg {
    /// Both claims, read off one interval.
    #[default]
    Both,
    /// A is better by more than the margin.
    Superiority,
    /// A is not worse by more than the margin.
    NonInferiority,
}

impl ClaimArg {
    pub(crate) fn kinds(self) -> Vec<ClaimKind> {
        match self {
            Self::Both => vec![ClaimKind::Superiority, ClaimKind::NonInferiority],
            Self::Superiority => vec![ClaimKind::Superiority],
            Self::NonInferiority => vec![ClaimKind::NonInferiority],
        }
    }
}

/// What predicted classes can be compared by.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum MetricArg {
    /// The share of examples that are right.
    #[default]
    Accuracy,
    /// The mean of the F1 of all classes; needs several seeds.
    MacroF1,
}

impl From<MetricArg> for Metric {
    fn from(arg: MetricArg) -> Self {
        match arg {
            MetricArg::Accuracy => Self::Accuracy,
            MetricArg::MacroF1 => Self::MacroF1,
        }
    }
}
