//! What can be typed after `ablate`.

use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use clap::{Args, Command, Subcommand, ValueEnum};

use super::{engine::How, retention::Keep};

/// What help texts call the program, unless [`help_for`] replaces it.
const PROGRAM: &str = "moelt ablate";

const EXAMPLES: &str = "\
Examples:
  moelt ablate
  moelt ablate --preset smoke
  moelt ablate --dataset sst2 --phases dense,moe --seeds 5
  moelt ablate --phases moe,rule,rule-continued
  moelt ablate --phases moe --set optim.lr=0.001 --name slower
  moelt ablate --engine slurm --partition cpu --time 02:00:00 --throttle 64
  moelt ablate collect --name planted-standard
  moelt ablate collect --name planted-standard --watch

Finished cells are never run twice: after an interruption or a failure, give the same command again.";

/// Compare arms over several seeds: plan, run, report.
#[derive(Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct AblateArgs {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(subcommand)]
    pub(crate) step: Option<Step>,
}

#[derive(Subcommand)]
pub(crate) enum Step {
    /// Write runs/NAME/plan.json: every cell with its config.
    #[command(after_help = "Example:\n  moelt ablate plan --preset full --name night")]
    Plan(PlanArgs),
    /// Run the cells of a plan that are not finished.
    #[command(after_help = "Examples:\n  moelt ablate run --name night --jobs 2\n  \
                            moelt ablate run --name night --cell 0")]
    Run {
        /// Only these cells (ids as in plan.json).
        cells: Vec<String>,
        #[command(flatten)]
        name: NameArgs,
        /// One cell, by its id or its place in plan.json (the first is 0), and no report: for schedulers that start
        /// cells by themselves. Exit code 0 when it is finished, 130 after an interruption: the same command goes on.
        #[arg(long, value_name = "ID", conflicts_with_all = ["cells", "engine", "jobs"])]
        cell: Option<String>,
        #[command(flatten)]
        engine: EngineArgs,
    },
    /// Report from whatever is finished: table, report.md, report.html, report.json.
    #[command(after_help = "Examples:\n  moelt ablate collect --name night\n  \
                            moelt ablate collect --name night --watch")]
    Collect(CollectArgs),
    /// Compare each arm with itself, seeds against other seeds: verdicts where nothing differs.
    #[command(after_help = "Example:\n  moelt ablate --phases moe --seeds 100 --name same\n  \
                            moelt ablate aa --name same")]
    Aa(AaArgs),
}

/// What to plan.
#[derive(Args)]
pub(crate) struct PlanArgs {
    /// Data set: a file of configs/datasets that also has one in configs/ablations. On `csv`, a file of your own, the recipe
    /// follows from the number of its texts, as in `moelt train --data`.
    #[arg(long, default_value = "planted")]
    pub(crate) dataset: String,
    /// Preset of configs/ablations/DATASET.toml, such as smoke, standard, full.
    #[arg(long, default_value = "standard")]
    pub(crate) preset: String,
    /// Arms: files of configs/phases (or the phases of the research log that they repeat, such as 7a), and
    /// frozen-N for N frozen experts, in the order of the report. An arm that builds on another
    /// (rule-continued on rule) runs after it [default: the preset's].
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub(crate) phases: Option<Vec<String>>,
    /// Seeds per arm [default: the preset's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// The first of them; the others follow [default: the preset's].
    #[arg(long, value_name = "SEED")]
    pub(crate) first_seed: Option<u64>,
    /// Folder below runs/ [default: DATASET-PRESET, and a hash of what deviates from the preset].
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Set a config key in every cell; one for another kind than an arm's, such as another policy, skips that
    /// arm. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

#[derive(Args)]
pub(crate) struct NameArgs {
    /// The ablation: a folder below runs/.
    #[arg(long, default_value = "planted-standard")]
    pub(crate) name: String,
}

/// What to report, and when.
#[derive(Args)]
pub(crate) struct CollectArgs {
    #[command(flatten)]
    pub(crate) name: NameArgs,
    /// Stay until every cell has ended, wherever the cells run: show how far they are, and write the reports anew as cells
    /// finish. Ctrl-C ends the watching and nothing else.
    #[arg(long)]
    pub(crate) watch: bool,
    /// With --watch: seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, requires = "watch",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) every: u64,
}

/// How an arm is compared with itself.
#[derive(Args)]
pub(crate) struct AaArgs {
    #[command(flatten)]
    pub(crate) name: NameArgs,
    /// Seeds on either side of a pair.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) seeds_a_side: usize,
    /// Margin, as a fraction.
    #[arg(long, default_value_t = 0.005)]
    pub(crate) margin: f64,
}

/// How many at a time.
#[derive(Args)]
pub struct JobsArgs {
    /// Cells that run at the same time, one thread each [default: 2].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

impl JobsArgs {
    const DEFAULT: NonZeroUsize = NonZeroUsize::new(2).expect("two are more than none");

    /// What was asked for, or the default.
    pub(crate) fn count(&self) -> NonZeroUsize {
        self.jobs.unwrap_or(Self::DEFAULT)
    }
}

/// What runs the cells.
#[derive(Args)]
pub(crate) struct EngineArgs {
    /// What runs the cells.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    #[command(flatten)]
    jobs: JobsArgs,
    /// Which checkpoints a finished cell keeps once every cell that builds on it has a result. Reports read none.
    #[arg(long, value_enum, default_value_t)]
    keep: Keep,
    #[command(flatten)]
    slurm: SlurmArgs,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum EngineName {
    /// This machine.
    #[default]
    Local,
    /// Array jobs on a Slurm cluster, whose nodes see this folder.
    Slurm,
}

/// An engine with its options.
pub(crate) enum ChosenEngine<'a> {
    Local(How),
    Slurm(&'a SlurmArgs, Keep),
}

impl EngineArgs {
    pub(crate) fn keep(&self) -> Keep {
        self.keep
    }

    /// # Errors
    /// When an option belongs to another engine.
    pub(crate) fn chosen(&self) -> Result<ChosenEngine<'_>> {
        match self.engine {
            EngineName::Local => match self.slurm.first_given() {
                Some(option) => bail!("{option} belongs to --engine slurm"),
                None => Ok(ChosenEngine::Local(How { keep: self.keep, ..How::new(self.jobs.count()) })),
            },
            EngineName::Slurm if self.jobs.jobs.is_some() => {
                bail!(
                    "--jobs belongs to --engine local; --throttle limits what runs at the same time on a cluster"
                )
            }
            EngineName::Slurm => Ok(ChosenEngine::Slurm(&self.slurm, self.keep)),
        }
    }
}

/// How cells are submitted. What is not given is as the cluster has it.
#[derive(Args)]
#[command(next_help_heading = "With --engine slurm")]
pub(crate) struct SlurmArgs {
    /// Partition.
    #[arg(long, value_name = "P", value_parser = sbatch_word)]
    pub(crate) partition: Option<String>,
    /// Time limit of a cell, such as 02:00:00. 90 seconds before it, the cell writes a checkpoint and is queued again.
    #[arg(long, value_name = "TIME", value_parser = sbatch_word)]
    pub(crate) time: Option<String>,
    /// Cells of an array that run at the same time.
    #[arg(long, value_name = "N")]
    pub(crate) throttle: Option<NonZeroUsize>,
    /// Account to charge.
    #[arg(long, value_name = "A", value_parser = sbatch_word)]
    pub(crate) account: Option<String>,
    /// Write the scripts and print the commands that submit them; submit nothing. Jobs that are submitted by hand are not known to
    /// this program, which would submit their cells once more.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

impl SlurmArgs {
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.partition.is_some(), "--partition"),
            (self.time.is_some(), "--time"),
            (self.throttle.is_some(), "--throttle"),
            (self.account.is_some(), "--account"),
            (self.dry_run, "--dry-run"),
        ];
        given.into_iter().find_map(|(given, option)| given.then_some(option))
    }
}

/// A value for a line of `#SBATCH`, where blanks, quotes and line breaks would mean something.
fn sbatch_word(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:+@/".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err("use letters, digits and `-_.,:+@/`".to_owned());
    }
    Ok(text.to_owned())
}

/// The command line with another name of the program in its examples.
pub fn help_for(program: &str, command: Command) -> Command {
    let examples = command.get_after_help().map(|help| help.to_string().replace(PROGRAM, program));
    let command = match examples {
        Some(examples) => command.after_help(examples),
        None => command,
    };
    command.mut_subcommands(|step| help_for(program, step))
}
