//! What can be typed.

mod compare;
mod config;
mod control;
mod edits;
mod export;
mod train;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};

pub(crate) use self::compare::{CompareArgs, MetricArg};
pub(crate) use self::config::{ConfigCommand, ConfigShowArgs};
pub(crate) use self::control::{ControlCommand, ControlFitArgs, ControlReportArgs, ControlTeachArgs};
pub(crate) use self::edits::{EditKind, TypedEdit, TypedEdits};
pub(crate) use self::export::{ExportArgs, ExportForm, ImportArgs};
pub(crate) use self::train::{BadLinesArg, ColumnArgs, RunArgs, SizeArgs, TrainArgs};
use crate::backend::DeviceArgs;

/// Train and use Mixture-of-Experts text classifiers.
#[derive(Parser)]
#[command(name = "moelt", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more on standard error.
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// Folder whose config files take the place of the built-in ones of the same name [default: configs, if it is there]
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true)]
    configs: Option<PathBuf>,
}

impl Cli {
    /// How much is logged on standard error. Who asks for both, as ablations do for their cells, has the log and nothing else.
    pub(crate) fn level(&self) -> tracing::Level {
        let quiet = match &self.command {
            Command::Train(TrainArgs { run, .. }) | Command::Size(SizeArgs { run, .. }) => run.quiet,
            _ => false,
        };
        match (self.verbose, quiet) {
            (true, false) => tracing::Level::DEBUG,
            (true, true) | (false, false) => tracing::Level::INFO,
            (false, true) => tracing::Level::WARN,
        }
    }

    /// The folder of config files of one's own.
    pub(crate) fn config_folder(&self) -> anyhow::Result<PathBuf> {
        match &self.configs {
            Some(folder) if !folder.is_dir() => bail!("--configs {}: is no folder", folder.display()),
            Some(folder) => Ok(folder.clone()),
            None => Ok(PathBuf::from("configs")),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train on your own texts or from config files, or go on with the run in --out.
    #[command(after_help = "Examples:\n  \
        moelt train --data reviews.csv --out runs/mine\n  \
        moelt train --data reviews.csv --minutes 5 --keep-test\n  \
        moelt train datasets/planted phases/moe --out runs/first\n  \
        moelt train datasets/sst2 my.toml --set seed=3 --set train.budget.epochs=2 --out runs/sst2\n\n\
        A CONFIG is a file, or the name of one that is built in (`moelt config list`).\n\n\
        Of --data a tenth is held out to choose by and a tenth to judge by. When the model has been judged, the recipe is trained \
        once more on all texts, without choosing or judging: that model, in refit/ of the run folder, is the one that answers.\n\n\
        The brackets behind the test accuracy are its 95 % interval (Wilson's): where the accuracy of this model on all texts of \
        the same kind plausibly lies. It knows nothing of luck in training: for that, train several seeds (`moelt ablate`).\n\n\
        Notes on standard error, which result.json keeps, say what was skipped, guessed and cut in your own \
        files.\n\n\
        Ctrl-C writes a checkpoint; the same command goes on from it.")]
    Train(TrainArgs),
    /// How many experts do your texts need? Trains a model that begins with many, lets smaller sets race, and says what was found.
    #[command(after_help = "Examples:\n  \
        moelt size reviews.csv\n  \
        moelt size reviews.csv --minutes 5 --out runs/reviews\n  \
        moelt size reviews.csv --set model.routing.top_k.n_experts=64 --set control.edits.max_experts=64\n\n\
        It begins with 16 experts, or with as many as the last example says, and at 30 % of training smaller sets race.\n\
        The model that was trained is left in the run folder, for predict, eval and inspect.\n\n\
        How it works: docs/split-and-drop.md. The size is that of the recipe `phases/descend`; --set \
        control.policy.split_and_drop.… changes it.")]
    Size(SizeArgs),
    /// Evaluate a checkpoint on a split of its data set or on a labelled file.
    #[command(after_help = "Examples:\n  \
        moelt eval runs/first                       validation split, best checkpoint\n  \
        moelt eval runs/first --split test --json\n  \
        moelt eval runs/sst2 --file more.tsv --text-column sentence\n\n\
        The test split is for the last judgement: whatever is chosen by it is flattered by it. Choose by the \
        validation split.\n\n\
        An accuracy that nothing was chosen by, of the test split or of --file, has its 95 % interval (Wilson's) behind it in \
        brackets: where the accuracy of this model on all texts of the same kind plausibly lies. It knows nothing of luck in \
        training: for that, train several seeds (`moelt ablate`).")]
    Eval(EvalArgs),
    /// Predict the classes of texts: a CSV or TSV file, or one text per line.
    #[command(after_help = "Examples:\n  \
        moelt predict runs/sst2 reviews.csv --text-column review > predictions.csv\n  \
        moelt predict runs/mine labelled.csv --label-column label --out mine.csv      for moelt compare\n  \
        echo 'a gorgeous , witty film' | moelt predict runs/sst2\n  \
        tail -f comments.txt | moelt predict runs/sst2\n\n\
        Writes CSV with the header `label,probability` and then one line for each row of the input, in order, \
        whatever the row holds. Rows are answered as they come: the input may be larger than memory, or never end. \
        What is wrong with a row further down does not take back the answers before it, but --out FILE is there \
        only once it is whole. A row without a text, or with more or fewer fields than the header, has no answer: \
        its line is `,`, both fields empty. The first of such rows are listed on standard error. (A line of a table \
        that is blank as a whole is no row.)\n\n\
        With --label-column the header is `id,label,prediction,probability`: the number of the row, from 0, its label as it \
        stands there, and the class that was predicted. Rows without a text or a label are left out. Two such files of the same \
        input are what `moelt compare` asks for.\n\n\
        A file called .csv, .tsv or .tab is a table. Anything else, standard input too, is one where its first line \
        names the column that the model was trained on, `text`, `sentence`, or what --text-column names, and with \
        --label-column; else each line is a text.")]
    Predict(PredictArgs),
    /// Which of two systems is better, or is it at least not worse? A verdict from their predictions, of any tools.
    #[command(after_help = "Examples:\n  \
        moelt compare new.csv old.csv\n  \
        moelt compare --a new-*.csv --b old-*.csv --claim non-inferiority --margin 0.01\n  \
        moelt compare runs/first other-tool.csv --prediction-column guess --json\n\n\
        A file has a header and a row for each example: `id,label,prediction`, classes as words or numbers. Fields are separated by \
        commas, semicolons or tabs. All files must be of the same examples. With one file each the interval knows of other examples \
        only, and the verdict is about these two models; with a file per seed it is about what training gives. GO, NO-GO, \
        INCONCLUSIVE: docs/verdicts.md. The exit code is 0 whatever the verdict.\n\n\
        `moelt predict --label-column` writes such files.")]
    Compare(CompareArgs),
    /// What a training step takes on this machine, on texts without meaning.
    #[command(after_help = "Examples:\n  \
        moelt bench --threads 1\n  \
        moelt bench --set model.routing.top_k.n_experts=64 --vocabulary 200000 \\\n      \
        --set optim.embedding_update=lazy\n\n\
        Without a CONFIG it is that of `moelt config show bench`: one layer of 8 experts, 64 texts of 32 tokens.")]
    Bench(BenchArgs),
    /// Compare arms over several seeds: plan, run, report. Everything lies in runs/ of the current folder.
    Ablate(Box<moelt_ablate::AblateArgs>),
    /// Show the config files that are built in.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Edit the experts of a checkpoint without training; the checkpoint itself stays as it is.
    #[command(after_help = "Examples:\n  \
        moelt edit runs/first --prune 0:3 --out edited/without-3\n  \
        moelt edit runs/first --grow 0 --grow 0:1 --merge 0:3:2 --out edited/other\n  \
        moelt edit runs/dense --upcycle 0:4 --top-k 2 --out edited/four\n  \
        moelt edit runs/first --freeze-shared --freeze 0:1 --out edited/at-rest\n\n\
        L is a layer, from 0; the other numbers are ids of experts as `moelt inspect` shows them, all as they \
        are before the edits. New experts get the next free ids, in the order typed. DIR can be given wherever \
        a checkpoint can: to inspect, eval, predict and edit, and to train by --set start.weights.run=DIR.")]
    Edit(EditArgs),
    /// Write a model in a form that other programs read: JSON and safetensors.
    #[command(after_help = "Examples:\n  \
        moelt export runs/first --out exported\n  \
        python examples/python/load_moelt.py exported < texts.txt      the same classes, by PyTorch\n  \
        moelt export runs/minilm --form hugging-face --out bert      as transformers and sentence-transformers open it\n\n\
        Writes the weights that are evaluated (averaged ones when averaging is on), the vocabulary, and a config.json with \
        classes, experts and sizes: docs/checkpoints.md.")]
    Export(ExportArgs),
    /// Take weights that were exported, and changed elsewhere, into a copy of the checkpoint that they came from.
    #[command(after_help = "Example:\n  \
        moelt import runs/first exported --out edited/first\n\n\
        The file must have every tensor with its name and shape, and no other. DIR can be given wherever a checkpoint can: to \
        inspect, eval, predict and edit, and to train by --set start.weights.run=DIR; average and optimizer begin anew.")]
    Import(ImportArgs),
    /// Show what is in a checkpoint: experts, edits, sizes, metrics, tensors.
    #[command(after_help = "Examples:\n  \
        moelt inspect runs/first\n  \
        moelt inspect runs/first/checkpoints/latest --json")]
    Inspect(InspectArgs),
    /// List the backends of this build and the devices that each finds, one per line.
    #[command(after_help = "Example:\n  \
        moelt devices | grep cuda\n\n\
        --device takes the name at the beginning of a line. A backend is a feature of the build: \
        cargo install --locked --path crates/moelt --features cuda")]
    Devices,
    /// Ask finished runs that measured edits what can be learnt from them.
    #[command(subcommand)]
    Control(ControlCommand),
}

impl Command {
    /// Where a command computes, if it does.
    pub(crate) fn device(&self) -> Option<&DeviceArgs> {
        match self {
            Self::Train(args) => Some(&args.run.device),
            Self::Size(args) => Some(&args.run.device),
            Self::Bench(args) => Some(&args.device),
            Self::Eval(args) => Some(&args.device),
            Self::Predict(args) => Some(&args.device),
            Self::Edit(args) => Some(&args.device),
            Self::Export(args) => Some(&args.device),
            Self::Import(args) => Some(&args.device),
            Self::Inspect(args) => Some(&args.device),
            Self::Ablate(_) | Self::Compare(_) | Self::Control(_) | Self::Config(_) | Self::Devices => None,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Config files, later ones over earlier ones; what they say of data is not looked at.
    #[arg(value_name = "CONFIG", default_value = "bench")]
    pub(crate) layers: Vec<PathBuf>,
    /// Set one config value, such as model.d_model=256. Repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Different words of the texts.
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) vocabulary: u32,
    /// Tokens of a text.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) tokens: u16,
    /// Steps of a repetition.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) steps: u16,
    /// Repetitions, each of which gives one figure.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) repetitions: u16,
    /// All figures as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct EvalArgs {
    /// Run folder, checkpoint folder, or pointer file. Of a run a split judges the best checkpoint, --file the model that predict takes.
    pub(crate) checkpoint: PathBuf,
    /// Split of the data set the model was trained on.
    #[arg(long, value_enum, default_value_t, conflicts_with = "file")]
    pub(crate) split: SplitName,
    /// A labelled CSV or TSV file instead. Its labels are the names of the classes, or places in the list of them from 0.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Header of the text column of --file; default: as in the file that it was trained on, or one with a usual name.
    #[arg(long, value_name = "NAME", requires = "file")]
    pub(crate) text_column: Option<String>,
    /// Header of the label column of --file; default: likewise.
    #[arg(long, value_name = "NAME", requires = "file")]
    pub(crate) label_column: Option<String>,
    /// What becomes of rows of --file that cannot be used.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, requires = "file")]
    pub(crate) bad_lines: BadLinesArg,
    /// Machine-readable output.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// The splits that can be evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SplitName {
    /// What was chosen on; must repeat the saved accuracy.
    #[default]
    Validation,
    /// What is judged on.
    Test,
}

#[derive(Args, Debug)]
pub(crate) struct PredictArgs {
    /// Run folder (its refit, or its best checkpoint), checkpoint folder, or pointer file.
    pub(crate) checkpoint: PathBuf,
    /// Texts: CSV or TSV with a header, or one text per line. `-` is standard input.
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
    /// Header of the text column; default: `text`, or the one column with a usual name such as `review`.
    #[arg(long)]
    pub(crate) text_column: Option<String>,
    /// Header of a column of true labels. They are written beside the predictions, in the form that `moelt compare` reads:
    /// `id,label,prediction,probability`.
    #[arg(long, value_name = "NAME")]
    pub(crate) label_column: Option<String>,
    /// Write here instead of to standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The logits of all classes too, a column for each, under its name.
    #[arg(long)]
    pub(crate) logits: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct EditArgs {
    /// Run folder (its best checkpoint), checkpoint folder, or pointer file.
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) edits: TypedEdits,
    /// Noise on the copies of --grow L:PARENT, as a fraction of the RMS of each tensor.
    #[arg(long, value_name = "F", default_value_t = 0.1, requires = "grow")]
    pub(crate) noise: f64,
    /// Experts per token of an upcycled layer.
    #[arg(long, value_name = "K", default_value_t = 2, requires = "upcycle")]
    pub(crate) top_k: usize,
    /// Fraction of each copy's hidden units that --upcycle draws anew, so that copies differ.
    #[arg(long, value_name = "F", default_value_t = 0.5, requires = "upcycle")]
    pub(crate) reinit: f64,
    /// Folder to write the edited checkpoint to; must not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Machine-readable output.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Run folder (its best checkpoint), checkpoint folder, or pointer file.
    pub(crate) checkpoint: PathBuf,
    /// Machine-readable output.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}
