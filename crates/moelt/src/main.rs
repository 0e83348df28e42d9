//! The `moelt` binary.

mod backend;
mod cli;
mod commands;
mod progress;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;

use crate::cli::{Cli, Command};

// A training step allocates and frees every activation: mimalloc keeps the pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(if cli.verbose { tracing::Level::DEBUG } else { tracing::Level::INFO })
        .with_target(false)
        .without_time()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let files = moelt_ablate::config_files(cli.configs);
    let done = match cli.command {
        Command::Train(args) => commands::train::run(&files, &args),
        Command::Ablate(args) => commands::ablate::run(files, *args),
        Command::Eval(args) => commands::eval::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Predict(args) => commands::predict::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Edit(args) => commands::edit::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Control(command) => commands::control::run(&command).map(|()| ExitCode::SUCCESS),
        Command::Config(command) => commands::config::run(&files, &command).map(|()| ExitCode::SUCCESS),
        Command::Inspect(args) => commands::inspect::run(&args).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Whether whoever read our output has stopped reading, as `moelt predict … | head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
