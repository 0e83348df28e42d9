//! moelt's chores: `ablate`, `bench`, `data`, `docs`, `regress`, `validate`, `tidy`. Starts the moelt binary as a
//! process; knows no Burn, so that it builds in seconds.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ablate;
mod bench;
mod code;
mod data;
mod docs;
mod metadata;
mod regress;
mod tidy;
mod validate;
mod workspace;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use workspace::Workspace;

/// moelt's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
struct Cli {
    /// Root of the workspace (for tests).
    #[arg(long, global = true, hide = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ablate(Box<moelt_ablate::AblateArgs>),
    Bench(bench::BenchArgs),
    Data(data::DataArgs),
    Docs(docs::DocsArgs),
    Regress(regress::RegressArgs),
    Validate(validate::ValidateArgs),
    Tidy(tidy::TidyArgs),
}

fn main() -> ExitCode {
    let command = Cli::command();
    let command = command.mut_subcommand("ablate", |args| moelt_ablate::help_for(ablate::COMMAND, args));
    let cli = Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    run(cli).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find(cli.root)?;
    match cli.command {
        Command::Ablate(args) => ablate::run(&workspace, *args),
        Command::Bench(args) => bench::run(&workspace, &args),
        Command::Data(args) => data::run(&workspace, args),
        Command::Docs(args) => docs::run(&workspace, &args),
        Command::Regress(args) => regress::run(&workspace, args),
        Command::Validate(args) => validate::run(&workspace, args),
        Command::Tidy(args) => tidy::run(&workspace, args),
    }
}
