//! moelt: train, evaluate and use Mixture-of-Experts text classifiers.
//!
//! A thin facade over the crates that do the work, and the command line of the `moelt` binary as a function: a program
//! with policies of its own calls [`run`] and has all of moelt's commands, ablations included. This crate alone
//! chooses the backend, by its features `flex` (default), `wgpu` and `cuda`.
//!
//! ```no_run
//! use moelt::control::{Decision, OwnPolicies, Policy, StatsWindow};
//! use moelt::schema::{Evidence, Layout};
//!
//! /// `[control.policy.own] name = "idle"` in a config.
//! struct Idle;
//!
//! impl Policy for Idle {
//!     fn decide(&mut self, _: &StatsWindow<'_>, _: &Layout) -> Decision {
//!         Decision::keep("there is always another day", Evidence::default())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     moelt::run(&OwnPolicies::default().with("idle", |_| Idle))
//! }
//! ```

mod backend;
mod cli;
mod commands;
mod progress;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;

pub use burn;
pub use moelt_ablate as ablate;
pub use moelt_control as control;
pub use moelt_data as data;
pub use moelt_eval as eval;
pub use moelt_kernels as kernels;
pub use moelt_model as model;
pub use moelt_optim as optim;
pub use moelt_schema as schema;
pub use moelt_surgery as surgery;
pub use moelt_train as train;

use crate::{
    backend::DeviceArgs,
    cli::{Cli, Command},
};

/// The command line of moelt, with policies that a config can name as `control.policy.own`. Cells of `ablate` are run
/// by the same executable.
pub fn run(policies: &control::OwnPolicies) -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(cli.level())
        .with_target(false)
        .without_time()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        // Else a closed standard error would be told of on standard error.
        .log_internal_errors(false)
        .init();
    in_pool(cli, policies).unwrap_or_else(|error| {
        if is_closed_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        moelt_ablate::tell!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn in_pool(cli: Cli, policies: &control::OwnPolicies) -> anyhow::Result<ExitCode> {
    let files = ablate::config_files(cli.config_folder()?);
    match cli.command.device().map(DeviceArgs::pool).transpose()? {
        Some(pool) => pool.install(|| execute(cli.command, files, policies)),
        None => execute(cli.command, files, policies),
    }
}

fn execute(
    command: Command,
    files: schema::ConfigFiles,
    policies: &control::OwnPolicies,
) -> anyhow::Result<ExitCode> {
    match command {
        Command::Train(args) => commands::train::run(&files, policies, &args),
        Command::Size(args) => commands::size::run(&files, policies, &args),
        Command::Bench(args) => commands::bench::run(&files, &args).map(|()| ExitCode::SUCCESS),
        Command::Ablate(args) => commands::ablate::run(files, *args),
        Command::Eval(args) => commands::eval::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Predict(args) => commands::predict::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Compare(args) => commands::compare::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Export(args) => commands::export::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Import(args) => commands::import::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Edit(args) => commands::edit::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Control(command) => commands::control::run(&files, &command),
        Command::Config(command) => commands::config::run(&files, &command).map(|()| ExitCode::SUCCESS),
        Command::Devices => commands::devices::run().map(|()| ExitCode::SUCCESS),
        Command::Inspect(args) => commands::inspect::run(&args).map(|()| ExitCode::SUCCESS),
    }
}

/// Whether whoever read our output has stopped reading, as `moelt predict … | head` does.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The guide's program is run like an example of the docs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/engineer.md")]
struct EngineerGuide;
