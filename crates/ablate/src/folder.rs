//! The folder of an ablation, and what became of each cell in it.
//!
//! ```text
//! runs/<name>/plan.json            written before the first cell, never changed
//!             moelt                the binary that its cells run; moelt.blake3 its hash
//!             cells/<id>.toml      the cell's config
//!             cells/<id>.plan      hash of the plan it belongs to
//!             cells/<id>/          its run folder
//!             cells/<id>.log       what it printed
//!             cells/<id>.failed    how it failed; gone when it runs again
//!             texts/               encoded texts, which cells on the same data share
//!             slurm/               array scripts, jobs.json: what was submitted, logs of the tasks
//!             report.json, report.md, report.html
//! ```

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use moelt_eval::Outcome;
use moelt_schema::{AblationPlan, Cell, CellResult, Digest, RunDir, write_atomically};

use crate::Site;

/// Lines of a failed cell's log that are shown.
const TAIL_LINES: usize = 12;

/// `runs/<name>`.
pub(crate) struct AblationFolder(PathBuf);

impl AblationFolder {
    /// The folder called `name`, which need not exist yet.
    ///
    /// # Errors
    /// When `name` is not one plain folder name.
    pub(crate) fn named(site: &Site, name: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        ensure!(
            !name.is_empty() && !name.starts_with('.') && name.chars().all(plain),
            "`{name}` cannot name an ablation: use letters, digits, `-`, `_` and `.`"
        );
        Ok(Self(site.runs(name)))
    }

    /// The names of all that were planned, sorted.
    pub(crate) fn names(site: &Site) -> Vec<String> {
        let folders = fs::read_dir(site.runs("")).into_iter().flatten().flatten();
        let planned = folders.map(|folder| Self(folder.path())).filter(|folder| folder.plan().is_file());
        let mut names: Vec<String> = planned.map(|folder| folder.name()).collect();
        names.sort();
        names
    }

    /// The ablation's name.
    pub(crate) fn name(&self) -> String {
        self.0.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub(crate) fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    pub(crate) fn report(&self, extension: &str) -> PathBuf {
        self.0.join(format!("report.{extension}"))
    }

    /// The moelt binary that its cells run.
    pub(crate) fn binary(&self) -> PathBuf {
        self.0.join("moelt")
    }

    /// The hash that the binary had when it was copied.
    pub(crate) fn binary_hash(&self) -> PathBuf {
        self.0.join("moelt.blake3")
    }

    /// A file for or of Slurm.
    pub(crate) fn slurm(&self, file: &str) -> PathBuf {
        self.0.join("slurm").join(file)
    }

    /// The files of a cell.
    pub(crate) fn cell(&self, id: &str) -> CellFiles {
        let cells = self.0.join("cells");
        CellFiles {
            run: RunDir::new(cells.join(id)),
            config: cells.join(format!("{id}.toml")),
            log: cells.join(format!("{id}.log")),
            failed: cells.join(format!("{id}.failed")),
            owner: cells.join(format!("{id}.plan")),
            texts: self.0.join("texts"),
        }
    }

    /// The run folder of a cell of the ablation `name`, from the site's root: as a config names it,
    /// so that an ablation means the same wherever its root lies.
    pub(crate) fn run_of(name: &str, id: &str) -> String {
        format!("runs/{name}/cells/{id}")
    }

    /// Whether the cells that are there belong to `plan`.
    ///
    /// # Errors
    /// When one belongs to another plan, or to none.
    pub(crate) fn check_cells(&self, plan: &AblationPlan) -> Result<()> {
        let owner = plan.digest();
        plan.cells.iter().try_for_each(|cell| self.cell(&cell.id).check_owner(owner))
    }

    /// Removes the folder with everything in it.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.0.display()))
            }
            _ => Ok(()),
        }
    }
}

/// The cells of `plan` with these ids; all of them when none is named.
///
/// # Errors
/// On an id that the plan has not.
pub(crate) fn select<'a>(plan: &'a AblationPlan, ids: &[String]) -> Result<Vec<&'a Cell>> {
    if let Some(unknown) = ids.iter().find(|id| plan.cells.iter().all(|cell| cell.id != **id)) {
        let known: Vec<&str> = plan.cells.iter().map(|cell| cell.id.as_str()).collect();
        bail!("{} has no cell `{unknown}`; there are: {}", plan.name, known.join(", "));
    }
    Ok(plan.cells.iter().filter(|cell| ids.is_empty() || ids.contains(&cell.id)).collect())
}

/// The cell of `plan` with this id or, as schedulers count, at this place: the first is 0.
///
/// # Errors
/// When there is none.
pub(crate) fn find<'a>(plan: &'a AblationPlan, called: &str) -> Result<&'a Cell> {
    let Ok(place) = called.parse::<usize>() else {
        return Ok(select(plan, &[called.to_owned()])?[0]);
    };
    let last = plan.cells.len().saturating_sub(1);
    plan.cells.get(place).with_context(|| format!("{} has no cell {place}: they are 0 to {last}", plan.name))
}

/// Where one cell's files lie.
pub(crate) struct CellFiles {
    pub(crate) run: RunDir,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) failed: PathBuf,
    /// Where cells on the same data share what they encode.
    pub(crate) texts: PathBuf,
    /// Hash of the plan that the cell belongs to. It is there before the run folder.
    owner: PathBuf,
}

impl CellFiles {
    /// The result of a finished cell; none of one that is not.
    ///
    /// # Errors
    /// When there is a `result.json` that does not count; the message says why.
    pub(crate) fn result(&self, cell: &Cell) -> Result<Option<CellResult>> {
        Ok(CellResult::read(&self.run, cell.digest)?)
    }

    /// Notes which plan the cell belongs to, before it runs.
    ///
    /// # Errors
    /// When it belongs to another one, or that cannot be noted.
    pub(crate) fn claim(&self, owner: Digest) -> Result<()> {
        self.check_owner(owner)?;
        write_atomically(&self.owner, owner.to_string().as_bytes())
            .with_context(|| self.owner.display().to_string())
    }

    /// A cell that was copied from another ablation may have been run by other code or on other data.
    fn check_owner(&self, owner: Digest) -> Result<()> {
        if !self.run.path().exists() {
            return Ok(());
        }
        let found = fs::read_to_string(&self.owner).ok();
        let whose = match found.as_deref().map(str::trim) {
            Some(found) if found == owner.to_string() => return Ok(()),
            Some(found) => format!("belongs to plan {}…", found.chars().take(8).collect::<String>()),
            None => "belongs to no plan".to_owned(),
        };
        bail!("{} {whose}, not to {}…; remove it", self.run.path().display(), owner.short())
    }

    /// What became of the cell so far.
    pub(crate) fn outcome(&self, cell: &Cell) -> Outcome {
        let failed = |reason| Outcome::Failed { reason, log_tail: self.log_tail() };
        match (self.result(cell), fs::read_to_string(&self.failed)) {
            // A process that failed after its result has failed.
            (_, Ok(reason)) => failed(reason.trim().to_owned()),
            (Ok(Some(result)), _) => Outcome::Finished(Box::new(result)),
            (Err(error), _) => failed(format!("{error:#}")),
            (Ok(None), Err(_)) => Outcome::Missing,
        }
    }

    /// The last lines the cell printed.
    pub(crate) fn log_tail(&self) -> Vec<String> {
        let lines = |path: &Path| -> Option<Vec<String>> {
            let bytes = fs::read(path).ok()?;
            Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
        };
        let mut lines = lines(&self.log).unwrap_or_default();
        lines.split_off(lines.len().saturating_sub(TAIL_LINES))
    }
}
