//! `ablate`: `moelt-ablate` on this workspace, with a binary that is built when it is needed.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use moelt_ablate::{AblateArgs, Program, Site};
use moelt_schema::{ConfigFiles, Digest};

use crate::{
    code,
    metadata::Metadata,
    workspace::{Workspace, succeed},
};

/// What a user types.
pub(crate) const COMMAND: &str = "cargo xtask ablate";

/// Overrides the moelt binary; nothing is built then. For tests.
const BINARY_VARIABLE: &str = "MOELT_BIN";

/// The moelt binary of the workspace.
pub(crate) struct Built<'a>(pub(crate) &'a Workspace);

impl Built<'_> {
    /// Ablations of the workspace; its config files alone count.
    ///
    /// # Errors
    /// When the workspace is not there.
    pub(crate) fn site(&self) -> Result<Site<'_>> {
        let root: &Path = self.0.root();
        Site::new(root, ConfigFiles::new(root.join("configs"), &[]), self)
    }
}

impl Program for Built<'_> {
    fn code(&self) -> Result<Digest> {
        code::digest(self.0)
    }

    /// `cargo build` of the binary, and where it lies.
    fn binary(&self) -> Result<PathBuf> {
        if let Some(binary) = env::var_os(BINARY_VARIABLE) {
            return Ok(binary.into());
        }
        succeed(self.0.cargo().args(["build", "--release", "--package", "moelt"]))
            .context("building moelt failed")?;
        let target = Metadata::read(self.0)?.target_directory;
        let binary = target.join("release").join(format!("moelt{}", env::consts::EXE_SUFFIX));
        ensure!(binary.is_file(), "cargo built no {}", binary.display());
        Ok(binary)
    }

    fn command(&self) -> &str {
        COMMAND
    }

    fn root(&self) -> &str {
        "the workspace's root"
    }
}

pub(crate) fn run(workspace: &Workspace, args: AblateArgs) -> Result<ExitCode> {
    moelt_ablate::run(&Built(workspace).site()?, args)
}
