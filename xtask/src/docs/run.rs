//! The blocks of a page, run as a reader would run them.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{blocks::Block, folder};

/// Runs blocks one after the other in a folder of their own, with `moelt` in the search path.
///
/// # Errors
/// When a command fails, with what was printed from its block on.
pub(super) fn page(moelt: &Path, blocks: &[Block]) -> Result<()> {
    let folder = folder::with_texts()?;
    let commands = moelt.parent().context("the folder of moelt")?;
    let inherited = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([commands.to_owned()].into_iter().chain(env::split_paths(&inherited)))?;
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script(blocks)]).current_dir(folder.path());
    bash.env("PATH", path).stdin(Stdio::null());
    let output = bash.output().context("starting bash, which runs ```sh blocks")?;
    let printed = String::from_utf8_lossy(&output.stderr);
    let last = printed.rsplit_once(MARK).map_or(&*printed, |(_, last)| last);
    ensure!(output.status.success(), "block of line {}: {}", last.trim(), output.status);
    Ok(())
}

/// What is printed before each block.
const MARK: &str = "=== block of line ";

fn script(blocks: &[Block]) -> String {
    let block = |block: &Block| format!("echo '{MARK}{}' >&2\n{}", block.line, block.text);
    blocks.iter().map(block).collect()
}
