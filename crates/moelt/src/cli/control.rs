//! What can be typed after `moelt control`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ControlCommand {
    /// Which statistics predict benefit: what labels and features know of the gains that were measured twice.
    #[command(after_help = "Examples:\n  \
        moelt train datasets/planted phases/study --out runs/study-0\n  \
        moelt train datasets/planted phases/study --set seed=1 --out runs/study-1\n  \
        moelt control report runs/study-0 runs/study-1")]
    Report(ControlReportArgs),
    /// Train the head that predicts effects on all runs but one, and say what it would have done on that one.
    #[command(after_help = "Examples:\n  \
        moelt control fit runs/planted-standard/cells/lookahead-s2*/\n  \
        moelt control fit runs/planted-standard/cells/lookahead-s2*/ --json \\\n      \
        --set control.policy.lookahead.head.act_above=0.8\n  \
        moelt control fit runs/sst2-standard/cells/lookahead-s*/ --taught shipped")]
    Fit(ControlFitArgs),
    /// Teach a head once, on small planted tasks, so that it can decide on any data.
    #[command(after_help = "Examples:\n  \
        moelt control teach --tasks 400 --out heads/mine.json\n  \
        moelt control teach --tasks 400 --minutes 20 --jobs 4 --out heads/mine.json\n  \
        moelt train datasets/sst2 phases/transfer \\\n      \
        --set control.policy.lookahead.head.taught=heads/mine.json\n\n\
        Tasks are drawn at random (number and noise of domains, texts, steps, widths, experts at the start), and each measures what \
        moves do. Ctrl-C keeps those that are finished, in runs/NAME; the same command goes on. The same tasks make the same \
        file, however many run at a time.\n\n\
        What is printed at the end is what heads say of tasks that they were not taught.")]
    Teach(ControlTeachArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ControlReportArgs {
    /// Folders of finished runs of a study.
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
    /// Machine-readable output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ControlFitArgs {
    /// Folders of finished runs that measured edits; of four seeds at least.
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
    /// Set act_above, ask_above, hidden or lr of control.policy.lookahead.head; else they are those of the
    /// first run. Repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Ask a head that was taught before (a file, or `shipped`) in place of heads that learn from the runs; one run is enough.
    #[arg(long, value_name = "FILE")]
    pub(crate) taught: Option<String>,
    /// Machine-readable output.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ControlTeachArgs {
    /// Tasks to teach it on.
    #[arg(long, value_name = "N")]
    pub(crate) tasks: u64,
    /// Seed of the first task's data; the others follow [default: 5000].
    #[arg(long, value_name = "S")]
    pub(crate) first_seed: Option<u64>,
    /// File to write the head to.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Tasks that run at the same time, one thread each.
    #[arg(long, default_value = "2", value_name = "J")]
    pub(crate) jobs: NonZeroUsize,
    /// Start no task later than so many minutes from now, and teach on what is finished.
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<f64>,
    /// Folder below runs/ that keeps the tasks.
    #[arg(long, default_value = "teach")]
    pub(crate) name: String,
    /// Machine-readable output.
    #[arg(long)]
    pub(crate) json: bool,
}
