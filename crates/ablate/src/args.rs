//! What can be typed after `ablate`.

use std::num::NonZeroUsize;

use clap::{Args, Command, Subcommand};

/// What help texts call the program, unless [`help_for`] replaces it.
const PROGRAM: &str = "moelt ablate";

const EXAMPLES: &str = "\
Examples:
  moelt ablate
  moelt ablate --preset smoke
  moelt ablate --dataset sst2 --phases dense,moe --seeds 5
  moelt ablate --phases moe,rule,rule-continued
  moelt ablate --phases moe --set optim.lr=0.001 --name slower
  moelt ablate collect --name planted-standard

Finished cells are never run twice: after an interruption or a failure, give the same command again.";

/// Compare arms over several seeds: plan, run, report.
#[derive(Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct AblateArgs {
    #[command(flatten)]
    pub(crate) plan: PlanArgs,
    #[command(flatten)]
    pub(crate) jobs: JobsArgs,
    #[command(subcommand)]
    pub(crate) step: Option<Step>,
}

#[derive(Subcommand)]
pub(crate) enum Step {
    /// Write runs/NAME/plan.json: every cell with its config.
    #[command(after_help = "Example:\n  moelt ablate plan --preset full --name night")]
    Plan(PlanArgs),
    /// Run the cells of a plan that are not finished.
    #[command(after_help = "Example:\n  moelt ablate run --name night --jobs 2")]
    Run {
        /// Only these cells (ids as in plan.json).
        cells: Vec<String>,
        #[command(flatten)]
        name: NameArgs,
        #[command(flatten)]
        jobs: JobsArgs,
    },
    /// Report from whatever is finished: table, report.md, report.html, report.json.
    #[command(after_help = "Example:\n  moelt ablate collect --name night")]
    Collect(NameArgs),
    /// Compare each arm with itself, seeds against other seeds: verdicts where nothing differs.
    #[command(after_help = "Example:\n  moelt ablate --phases moe --seeds 100 --name same\n  \
                            moelt ablate aa --name same")]
    Aa(AaArgs),
}

/// What to plan.
#[derive(Args)]
pub(crate) struct PlanArgs {
    /// Data set: a file of configs/datasets that also has one in configs/ablations.
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
    /// Cells that run at the same time, one thread each.
    #[arg(long, default_value = "2", value_name = "N")]
    pub(crate) jobs: NonZeroUsize,
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
