//! `moelt config`

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
    path::Path,
};

use anyhow::{Context, ensure};
use moelt_schema::{ConfigFiles, resolved_toml};

use crate::cli::{ConfigCommand, ConfigShowArgs};

pub(crate) fn run(files: &ConfigFiles, command: &ConfigCommand) -> anyhow::Result<()> {
    let text = match command {
        ConfigCommand::List => list(files)?,
        ConfigCommand::Show(args) => show(files, args)?,
    };
    Ok(stdout().write_all(text.as_bytes())?)
}

/// A line for each name, with the path of a file that lies on disk.
fn list(files: &ConfigFiles) -> anyhow::Result<String> {
    let mut lines = String::new();
    for name in files.names() {
        let file = files.read_named(&name).with_context(|| name.clone())?;
        match file.is_built_in() {
            true => writeln!(lines, "{name}")?,
            false => writeln!(lines, "{name}  ({})", file.shown.display())?,
        }
    }
    Ok(lines)
}

fn show(files: &ConfigFiles, args: &ConfigShowArgs) -> anyhow::Result<String> {
    let file = files.read(&args.name).with_context(|| args.name.display().to_string())?;
    if !args.resolved {
        return Ok(file.text);
    }
    let is_ablation = args.name.parent().is_some_and(|folder| folder.ends_with(Path::new("ablations")));
    ensure!(
        !is_ablation,
        "{}: describes an ablation, not a run; print it without --resolved",
        args.name.display()
    );
    Ok(resolved_toml(&files.load_texts(vec![file], &args.set)?))
}
