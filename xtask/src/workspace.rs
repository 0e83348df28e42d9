//! Where things lie in the workspace, wherever the command was started.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The workspace that xtask works on.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// `root` if given; else the folder above xtask's manifest, when cargo runs it now; else the current folder
    /// or the nearest one above it that is a workspace. Where xtask was built does not matter: a binary that is
    /// started directly works on the workspace that it is started in.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(root: Option<PathBuf>) -> Result<Self> {
        if let Some(root) = root {
            let root = root.canonicalize().with_context(|| format!("the workspace {}", root.display()))?;
            ensure!(
                root.join("configs").is_dir(),
                "{} is not moelt's workspace: it has no configs/",
                root.display()
            );
            return Ok(Self { root });
        }
        let here = env::current_dir().context("the current folder")?;
        let root = run_by_cargo().or_else(|| here.ancestors().find(|path| is_root(path)).map(Path::to_owned));
        let root = root.with_context(|| {
            format!(
                "{} lies in no workspace of moelt: no folder above it has configs/ and xtask/",
                here.display()
            )
        })?;
        Ok(Self { root })
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file below `configs/`.
    pub(crate) fn config(&self, path: &str) -> PathBuf {
        self.root.join("configs").join(path)
    }

    /// The folder of a data set.
    pub(crate) fn dataset(&self, name: &str) -> PathBuf {
        self.root.join("datasets").join(name)
    }

    /// `path` as a person would write it from the root.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// A cargo command, to be run in the root.
    pub(crate) fn cargo(&self) -> Command {
        self.command(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
    }

    /// A command, to be run in the root.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }
}

/// The workspace whose xtask cargo runs now. The variables are also there where xtask is started by something else
/// that cargo runs, a test of another package for one: then they name that package.
fn run_by_cargo() -> Option<PathBuf> {
    let is_ours = env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"));
    let manifest = env::var_os("CARGO_MANIFEST_DIR").filter(|_| is_ours)?;
    Path::new(&manifest).parent().filter(|root| is_root(root)).map(Path::to_owned)
}

/// Whether a folder is the root of a workspace.
fn is_root(path: &Path) -> bool {
    ["configs", "xtask"].iter().all(|folder| path.join(folder).is_dir())
}

/// Runs a command that shares this terminal.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// What a command printed, when it succeeded.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| shown.clone())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).context(shown)
}
