//! `moelt config`

use std::{
    fmt::Write as _,
    io::{Write as _, stdout},
    path::PathBuf,
};

use anyhow::{Context, bail};
use moelt_schema::{ConfigFiles, ConfigText, resolved_toml};

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
    let read = |name: &PathBuf| files.read(name).with_context(|| name.display().to_string());
    let texts = args.names.iter().map(read).collect::<anyhow::Result<Vec<ConfigText>>>()?;
    if !args.resolved {
        let [file] = &texts[..] else { bail!("several files make one config with --resolved; show one") };
        return Ok(file.text.clone());
    }
    let is_ablation = |name: &&PathBuf| name.parent().is_some_and(|folder| folder.ends_with("ablations"));
    if let Some(name) = args.names.iter().find(is_ablation) {
        bail!("{}: describes an ablation, not a run; print it without --resolved", name.display());
    }
    Ok(resolved_toml(&files.load_texts(texts, &args.set)?))
}
