//! What can be typed after `moelt config`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// List the names of all config files, and which of them lie on disk.
    #[command(after_help = "Example:\n  moelt config list")]
    List,
    /// Print a config file.
    #[command(after_help = "Examples:\n  \
        moelt config show phases/lookahead\n  \
        moelt config show datasets/planted phases/rule --resolved\n  \
        moelt config show datasets/csv --resolved --set data.csv.train=reviews.csv\n  \
        mkdir -p configs/phases && moelt config show phases/lookahead > configs/phases/lookahead.toml\n\n\
        The last one makes a copy to edit: it takes the place of the built-in file, also where another file names it \
        as its parent.")]
    Show(ConfigShowArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ConfigShowArgs {
    /// A name of `moelt config list`, or the path of a file; with --resolved also several, each laid over the ones before
    /// it, as for `moelt train`.
    #[arg(required = true, value_name = "CONFIG")]
    pub(crate) names: Vec<std::path::PathBuf>,
    /// Print every value that a run would have, those of parents and defaults included.
    #[arg(long)]
    pub(crate) resolved: bool,
    /// Set one config value before resolving. Repeatable.
    #[arg(long, value_name = "KEY=VALUE", requires = "resolved")]
    pub(crate) set: Vec<String>,
}
