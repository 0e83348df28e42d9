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
    /// `root` if given; else the folder above xtask's manifest, as cargo says it now or as it was at
    /// build time; else the current folder.
    pub(crate) fn find(root: Option<PathBuf>) -> Result<Self> {
        let root = match root {
            Some(root) => root.canonicalize().with_context(|| format!("the workspace {}", root.display()))?,
            None => Self::above_manifest().map_or_else(env::current_dir, Ok)?,
        };
        ensure!(
            root.join("configs").is_dir(),
            "{} is not moelt's workspace: it has no configs/",
            root.display()
        );
        Ok(Self { root })
    }

    fn above_manifest() -> Option<PathBuf> {
        let now = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let at_build = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
        let roots = [now, at_build].into_iter().flatten().filter_map(|dir| Some(dir.parent()?.to_owned()));
        roots.into_iter().find(|root| root.join("xtask").is_dir() && root.join("configs").is_dir())
    }

    /// The root folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file below `configs/`.
    pub(crate) fn config(&self, path: &str) -> PathBuf {
        self.root.join("configs").join(path)
    }

    /// The folder of an ablation.
    pub(crate) fn runs(&self, name: &str) -> PathBuf {
        self.root.join("runs").join(name)
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

/// What a command printed, when it succeeded.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| shown.clone())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{shown}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).context(shown)
}
