//! The options of `moelt train` and `moelt size`, and how files of one's own are read.

use std::path::PathBuf;

use clap::Args;
use moelt_schema::BadLines;

use crate::backend::DeviceArgs;

#[derive(Args, Debug)]
pub(crate) struct TrainArgs {
    /// Config files or names of built-in ones, each laid over the ones before it.
    #[arg(value_name = "CONFIG")]
    pub(crate) layers: Vec<PathBuf>,
    /// Train on this CSV or TSV file of texts and labels, with the recipe datasets/csv, and one of rows/… by the number of its
    /// training texts, beneath every CONFIG.
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<String>,
    /// Train for about so many minutes, training on all texts included, or for as long as the recipe does where that is less. The
    /// speed is measured first.
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<f64>,
    /// Keep the model that was judged. Without this, --data trains the recipe once more on all texts of FILE, those that were held
    /// out among them, and predict, export and eval --file take that model.
    #[arg(long, requires = "data")]
    pub(crate) keep_test: bool,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

impl TrainArgs {
    /// Whether all texts are trained on in the end.
    pub(crate) fn refits(&self) -> bool {
        self.data.is_some() && !self.keep_test
    }
}

#[derive(Args, Debug)]
pub(crate) struct SizeArgs {
    /// CSV or TSV file of texts and labels.
    #[arg(value_name = "FILE")]
    pub(crate) data: String,
    /// Train for about so many minutes, or for as long as the recipe does where that is less. The speed is measured first.
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<f64>,
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// How a file of one's own is read.
#[derive(Args, Clone, Debug)]
pub(crate) struct ColumnArgs {
    /// Header of the text column; default: `text`, or the one column with a usual name such as `review`. Short for --set
    /// data.csv.text_column=…
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Header of the label column; default: `label`, or the one column with a usual name such as `sentiment`. Short for
    /// --set data.csv.label_column=…
    #[arg(long, value_name = "NAME")]
    pub(crate) label_column: Option<String>,
    /// What becomes of rows of your own files that cannot be used: short for --set data.csv.bad_lines=…
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) bad_lines: Option<BadLinesArg>,
}

/// Where and how a run is made.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Run folder; an unfinished run of the same config in it is continued. Default: a folder in runs/ named after arm,
    /// seed and a hash of the config.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Set one config value, such as optim.lr=0.001. Repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Folder in which runs on the same data share their encoded texts: the first of them leaves them there.
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(crate) texts: Option<PathBuf>,
    /// No progress bar, no notes and no summary.
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// What becomes of rows that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BadLinesArg {
    /// They are left out, counted and listed, up to half of a file.
    #[default]
    Skip,
    /// The first one is an error.
    Error,
}

impl BadLinesArg {
    /// As it is set in a config.
    pub(crate) fn set(self) -> String {
        let value = match self {
            Self::Skip => "skip",
            Self::Error => "error",
        };
        format!("data.csv.bad_lines={value}")
    }
}

impl From<BadLinesArg> for BadLines {
    fn from(arg: BadLinesArg) -> Self {
        match arg {
            BadLinesArg::Skip => Self::Skip,
            BadLinesArg::Error => Self::Error,
        }
    }
}
