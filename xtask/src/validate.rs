//! `validate`: everything that must hold before a change is shared, cheapest first.

use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::{
    docs, tidy,
    workspace::{Workspace, succeed},
};

/// Check format, tidiness, dependencies, lints, docs, tests and commands of the docs; stop at the first failure.
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
    /// A cargo command that is no part of Rust; skipped where it is not installed.
    Extra(&'static [&'static str]),
    /// `cargo xtask docs`, in this process.
    Commands,
}

const STEPS: [Check; 8] = [
    Check::Cargo(&["fmt", "--all", "--check"]),
    Check::Tidy,
    Check::Extra(&["deny", "--offline", "--log-level", "error", "check", "licenses", "sources", "bans"]),
    Check::Cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    Check::Docs(&["doc", "--release", "--workspace", "--no-deps"]),
    Check::Cargo(&["test", "--release", "--package", "xtask"]),
    Check::Cargo(&["test", "--release", "--workspace", "--exclude", "xtask", "--exclude", "moelt-bench"]),
    Check::Commands,
];

impl Check {
    /// The command, as one would type it.
    fn name(&self) -> String {
        match self {
            Self::Cargo(args) | Self::Docs(args) | Self::Extra(args) => format!("cargo {}", args.join(" ")),
            Self::Tidy => "cargo xtask tidy".to_owned(),
            Self::Commands => "cargo xtask docs".to_owned(),
        }
    }

    /// Whether it must be skipped, and why.
    fn skipped(&self, workspace: &Workspace) -> Option<String> {
        let Self::Extra([tool, ..]) = self else { return None };
        let mut version = workspace.cargo();
        version.args([tool, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        let is_installed = version.status().is_ok_and(|status| status.success());
        let why = format!("cargo {tool} is not installed (cargo install --locked cargo-{tool})");
        (!is_installed).then_some(why)
    }

    fn run(&self, workspace: &Workspace) -> Result<()> {
        match self {
            Self::Cargo(args) | Self::Extra(args) => succeed(workspace.cargo().args(*args)),
            Self::Docs(args) => succeed(workspace.cargo().args(*args).env("RUSTDOCFLAGS", "-D warnings")),
            Self::Tidy => tidy::check(workspace),
            Self::Commands => docs::check(workspace),
        }
    }
}

pub(crate) fn run(workspace: &Workspace, _: ValidateArgs) -> Result<ExitCode> {
    let mut skipped = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        eprintln!("[{}/{}] {}", index + 1, STEPS.len(), step.name());
        match step.skipped(workspace) {
            Some(why) => {
                skipped.push(format!("SKIPPED: {why}"));
                eprintln!("SKIPPED: {why}");
            }
            None => step.run(workspace).with_context(|| format!("validate stopped at `{}`", step.name()))?,
        }
    }
    // Once more where they are seen.
    skipped.iter().for_each(|line| eprintln!("{line}"));
    eprintln!("validate: {} steps passed, {} skipped", STEPS.len() - skipped.len(), skipped.len());
    Ok(ExitCode::SUCCESS)
}
