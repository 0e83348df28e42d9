//! Where an ablation takes place, and which program its cells run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use moelt_schema::{ConfigFiles, ConfigText, Digest};

/// A place for ablations: their folders, their config files and the program that runs their cells.
pub struct Site<'a> {
    root: PathBuf,
    configs: ConfigFiles,
    program: &'a dyn Program,
}

/// The moelt binary that cells run, and how it is spoken of.
pub trait Program: Sync {
    /// Hash of the code that cells run. A plan pins it.
    ///
    /// # Errors
    /// When it cannot be read.
    fn code(&self) -> Result<Digest>;

    /// Where the binary lies; builds it first if need be. Cells run a copy.
    ///
    /// # Errors
    /// When there is none.
    fn binary(&self) -> Result<PathBuf>;

    /// What a user types for `ablate`, such as `moelt ablate`.
    fn command(&self) -> &str;

    /// What paths count from, such as `the current folder`.
    fn root(&self) -> &str;
}

impl<'a> Site<'a> {
    /// Ablations in `runs/` of the folder `root`, from which the paths in configs count.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn new(root: &Path, configs: ConfigFiles, program: &'a dyn Program) -> Result<Self> {
        let root = root.canonicalize().with_context(|| root.display().to_string())?;
        Ok(Self { root, configs, program })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn configs(&self) -> &ConfigFiles {
        &self.configs
    }

    /// The config file called `name`, such as `phases/moe`.
    pub(crate) fn config(&self, name: &str) -> Result<ConfigText> {
        self.configs.read_named(name).with_context(|| format!("configs/{name}.toml"))
    }

    /// The folder of an ablation.
    pub(crate) fn runs(&self, name: &str) -> PathBuf {
        self.root.join("runs").join(name)
    }

    /// `path` as a person would write it from the root.
    pub(crate) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// Hash of the code that cells run now.
    pub(crate) fn code(&self) -> Result<Digest> {
        self.program.code()
    }

    /// The binary to copy.
    pub(crate) fn binary(&self) -> Result<PathBuf> {
        self.program.binary()
    }

    /// What a user types for `ablate`.
    pub(crate) fn command(&self) -> &str {
        self.program.command()
    }

    /// ` (paths count from …)`
    pub(crate) fn paths_count(&self) -> String {
        format!(" (paths count from {})", self.program.root())
    }

    /// Hash of a file that a path in a config names.
    pub(crate) fn digest(&self, file: &str) -> Result<Digest> {
        Digest::of_file(&self.root.join(file)).with_context(|| file.to_owned())
    }

    /// The names of the config files in a folder such as `phases`, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let names = self.configs.names();
        let inside = |name: &String| Some(name.strip_prefix(folder)?.strip_prefix('/')?.to_owned());
        names.iter().filter_map(inside).filter(|name| !name.contains('/')).collect()
    }
}
