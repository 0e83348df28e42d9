//! `tidy`: the rules of docs/architecture.md that a program can check.

mod circles;
mod edges;
mod sizes;
mod sources;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{metadata::Metadata, workspace::Workspace};

/// Check crate edges, backends, opening lines, sizes and stray absolute paths.
///
/// Fails on a crate that knows one it must not know, on a library that names a backend, on a Rust
/// file without a `//!` opening line or with more than 400 lines before its tests, on a function of more
/// than 60 lines, on modules that use one another in a circle and on a path that exists on one machine only.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask tidy")]
pub(crate) struct TidyArgs {}

pub(crate) fn run(workspace: &Workspace, _: TidyArgs) -> Result<ExitCode> {
    check(workspace)?;
    eprintln!("tidy: nothing to mend");
    Ok(ExitCode::SUCCESS)
}

/// All rules over the workspace as it lies there.
///
/// # Errors
/// When a rule is broken; the message has one line for every place.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let mut violations = edges::violations(&Metadata::read(workspace)?);
    violations.extend(sources::violations(workspace)?);
    if !violations.is_empty() {
        bail!("{} violation(s)\n{}", violations.len(), violations.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        check(&Workspace::find(None).unwrap()).unwrap();
    }
}
