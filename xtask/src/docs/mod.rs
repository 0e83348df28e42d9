//! `docs`: what the docs tell people to type works.

mod blocks;
mod check;
mod folder;
mod run;
mod shell;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};
use moelt_ablate::Program;

use self::{blocks::Block, check::Checker};
use crate::{
    ablate::Built,
    workspace::{Workspace, output},
};

/// Pages that tell of the past: their commands need not work any more.
const PAST: [&str; 2] = ["CHANGELOG.md", "docs/decisions/"];

/// Check every command in the docs.
///
/// Blocks that begin with ```sh are run by bash, those of a page one after the other in a folder with texts of one's own. Of any
/// other block the lines with `moelt` or `cargo xtask` are read by that program and go no further: options, names of config files
/// and keys must exist.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask docs\n  \
    cargo xtask docs README.md docs/config.md")]
pub(crate) struct DocsArgs {
    /// Only these pages.
    #[arg(value_name = "PAGE")]
    pages: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &DocsArgs) -> Result<ExitCode> {
    let pages = if args.pages.is_empty() { pages(workspace)? } else { args.pages.clone() };
    check_pages(workspace, &pages)?;
    Ok(ExitCode::SUCCESS)
}

/// All pages.
///
/// # Errors
/// When a command does not work; the message has an entry for every place.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    check_pages(workspace, &pages(workspace)?)
}

/// The pages that git tracks or would track.
fn pages(workspace: &Workspace) -> Result<Vec<String>> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"];
    let files = output(workspace.command("git").args(list))?;
    let is_present = |file: &&str| !PAST.iter().any(|past| file.starts_with(past));
    Ok(files.split_terminator('\0').filter(is_present).map(str::to_owned).collect())
}

fn check_pages(workspace: &Workspace, pages: &[String]) -> Result<()> {
    let moelt = Built(workspace).binary()?;
    let checker = Checker::new(workspace, &moelt)?;
    let (mut read, mut ran, mut wrong) = (0, 0, Vec::new());
    for page in pages {
        let text = fs::read_to_string(workspace.root().join(page)).with_context(|| page.clone())?;
        let (to_run, others): (Vec<Block>, Vec<Block>) =
            blocks::of(&text).into_iter().partition(|block| block.language == "sh");
        for typed in others.iter().filter(|block| block.may_be_shell()).flat_map(shell::commands) {
            read += 1;
            if let Err(error) = checker.check(&typed.words) {
                wrong.push(format!("{page}:{}: {}: {error:#}", typed.line, typed.words.join(" ")));
            }
        }
        if !to_run.is_empty() {
            ran += to_run.len();
            wrong.extend(run::page(&moelt, &to_run).err().map(|error| format!("{page}: {error:#}")));
        }
    }
    if !wrong.is_empty() {
        bail!("{} place(s) in the docs do not work\n{}", wrong.len(), wrong.join("\n"));
    }
    eprintln!("docs: {read} commands read, {ran} blocks run");
    Ok(())
}
