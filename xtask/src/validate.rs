//! `validate`: everything that must hold before a change is shared, cheapest first.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{tidy, workspace::Workspace};

/// Check format, tidiness, lints, docs and tests, cheapest first; stop at the first failure.
///
/// Everything is built in one profile (release), and xtask and benches apart from the rest, so that tests use
/// the very Burn that `cargo xtask ablate` builds: their dependencies ask for other features of crates that
/// Burn uses, and together they would build a second one.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask validate")]
pub(crate) struct ValidateArgs {}

/// What a step does.
enum Check {
    /// A cargo command.
    Cargo(&'static [&'static str]),
    /// The same, with rustdoc's warnings as errors.
    Docs(&'static [&'static str]),
    /// `cargo xtask tidy`, in this process.
    Tidy,
}

const STEPS: [Check; 6] = [
    Check::Cargo(&["fmt", "--all", "--check"]),
    Check::Tidy,
    Check::Cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Check::Docs(&["doc", "--release", "--workspace", "--no-deps"]),
    Check::Cargo(&["test", "--release", "--package", "xtask"]),
    Check::Cargo(&["test", "--release", "--workspace", "--exclude", "xtask", "--exclude", "moelt-bench"]),
];

impl Check {
    /// The command, as one would type it.
    fn name(&self) -> String {
        match self {
            Self::Cargo(args) | Self::Docs(args) => format!("cargo {}", args.join(" ")),
            Self::Tidy => "cargo xtask tidy".to_owned(),
        }
    }

    fn run(&self, workspace: &Workspace) -> Result<()> {
        match self {
            Self::Cargo(args) => succeed(workspace.cargo().args(*args)),
            Self::Docs(args) => succeed(workspace.cargo().args(*args).env("RUSTDOCFLAGS", "-D warnings")),
            Self::Tidy => tidy::check(workspace),
        }
    }
}

pub(crate) fn run(workspace: &Workspace, _: ValidateArgs) -> Result<ExitCode> {
    for (index, step) in STEPS.iter().enumerate() {
        eprintln!("[{}/{}] {}", index + 1, STEPS.len(), step.name());
        step.run(workspace).with_context(|| format!("validate stopped at `{}`", step.name()))?;
    }
    eprintln!("validate: all {} steps passed", STEPS.len());
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that shares this terminal.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}
