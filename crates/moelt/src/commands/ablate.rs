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
    let program = Own { executable: env::current_exe().context("finding moelt's own executable")? };
    moelt_ablate::run(&Site::new(Path::new("."), files, &program)?, args)
}

/// This executable.
struct Own {
    executable: PathBuf,
}

impl Program for Own {
    fn code(&self) -> Result<Digest> {
        Digest::of_file(&self.executable).with_context(|| self.executable.display().to_string())
    }

    fn binary(&self) -> Result<PathBuf> {
        Ok(self.executable.clone())
    }

    fn command(&self) -> &str {
        "moelt ablate"
    }

    fn root(&self) -> &str {
        "the current folder"
    }
}
