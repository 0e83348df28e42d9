//! `moelt ablate`: ablations in the current folder, whose cells run this executable.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use moelt_ablate::{AblateArgs, Program, Site};
use moelt_schema::{ConfigFiles, Digest};

pub(crate) fn run(files: ConfigFiles, args: AblateArgs) -> Result<ExitCode> {
    here(files, "moelt ablate", |site| moelt_ablate::run(site, args))
}

/// Does something with the ablations of the current folder; `command` is what the user typed.
pub(super) fn here<T>(
    files: ConfigFiles,
    command: &'static str,
    work: impl FnOnce(&Site<'_>) -> Result<T>,
) -> Result<T> {
    let executable = env::current_exe().context("finding moelt's own executable")?;
    work(&Site::new(Path::new("."), files, &Own { executable, command })?)
}

/// This executable.
struct Own {
    executable: PathBuf,
    command: &'static str,
}

impl Program for Own {
    fn code(&self) -> Result<Digest> {
        Digest::of_file(&self.executable).with_context(|| self.executable.display().to_string())
    }

    fn binary(&self) -> Result<PathBuf> {
        Ok(self.executable.clone())
    }

    fn command(&self) -> &str {
        self.command
    }

    fn root(&self) -> &str {
        "the current folder"
    }
}
