//! Whether a program would understand a command, without running it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::folder;
use crate::workspace::Workspace;

/// Options that take no value.
const SWITCHES: [&str; 5] = ["--json", "--quiet", "-q", "-v", "--keep-test"];

/// Steps of an ablation, which do not plan it.
const STEPS: [&str; 4] = ["plan", "run", "collect", "aa"];

/// The programs that read commands, and where.
pub(super) struct Checker<'a> {
    moelt: &'a Path,
    xtask: PathBuf,
    root: &'a Path,
    folder: TempDir,
}

impl<'a> Checker<'a> {
    pub(super) fn new(workspace: &'a Workspace, moelt: &'a Path) -> Result<Self> {
        let xtask = in_place(env::current_exe().context("where xtask lies")?);
        Ok(Self { moelt, xtask, root: workspace.root(), folder: folder::with_texts()? })
    }

    /// Reads a command that begins with `moelt` or `cargo xtask`.
    ///
    /// # Errors
    /// With what the program says against it.
    pub(super) fn check(&self, words: &[String]) -> Result<()> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match &words[..] {
            ["cargo", "xtask", args @ ..] => {
                self.read(Command::new(&self.xtask).arg("--root").arg(self.root), args)?;
                // What is planned is the same.
                if args.first() == Some(&"ablate") { self.check_config(args) } else { Ok(()) }
            }
            [_, args @ ..] => {
                self.read(&mut self.moelt(&[]), args)?;
                self.check_config(args)
            }
            [] => Ok(()),
        }
    }

    /// With `--help` at its end a command is read up to there and does nothing.
    fn read(&self, program: &mut Command, args: &[&str]) -> Result<()> {
        self.succeed(program.args(args).arg("--help"))
    }

    /// Whether configs, phases and keys exist.
    fn check_config(&self, args: &[&str]) -> Result<()> {
        match args {
            ["train" | "size" | "bench", ..] => self.succeed(&mut self.moelt(&shown(args))),
            ["config", ..] => self.succeed(&mut self.moelt(args)),
            ["ablate", step, ..] if STEPS.contains(step) => Ok(()),
            ["ablate", args @ ..] => {
                let planned = self.succeed(self.moelt(&["ablate", "plan"]).args(without_engine(args)));
                // Another plan of the same name would not fit it.
                let _ = fs::remove_dir_all(self.folder.path().join("runs"));
                planned
            }
            _ => Ok(()),
        }
    }

    fn moelt(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.moelt);
        command.args(args);
        command
    }

    fn succeed(&self, command: &mut Command) -> Result<()> {
        let output =
            command.current_dir(self.folder.path()).output().with_context(|| format!("{command:?}"))?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// Where an executable lies now: tests of `validate` may have built it anew since it was started, which Linux tells so.
fn in_place(executable: PathBuf) -> PathBuf {
    let replaced = executable.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    replaced.map_or(executable.clone(), PathBuf::from)
}

/// The options of an ablation that its plan knows: not those that say where cells run.
fn without_engine<'a>(args: &[&'a str]) -> Vec<&'a str> {
    const ENGINE: [&str; 5] = ["--engine", "--partition", "--time", "--throttle", "--account"];
    let mut kept = Vec::new();
    let mut words = args.iter().filter(|word| **word != "--dry-run");
    while let Some(word) = words.next() {
        if ENGINE.contains(word) {
            words.next();
        } else {
            kept.push(*word);
        }
    }
    kept
}

/// The command that shows the config of such a run.
fn shown<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut layers = Vec::new();
    let mut sets = Vec::new();
    let mut words = args[1..].iter();
    while let Some(word) = words.next() {
        match *word {
            "--set" => sets.extend(["--set"].into_iter().chain(words.next().copied())),
            "--data" => {
                words.next();
                layers.push("datasets/csv");
                sets.extend(["--set", "data.csv.train=reviews.csv"]);
            }
            option if option.starts_with('-') && !SWITCHES.contains(&option) => drop(words.next()),
            option if option.starts_with('-') => {}
            layer => layers.push(layer),
        }
    }
    match args[0] {
        // Its one word is a file of texts.
        "size" => {
            layers = vec!["datasets/csv", "phases/descend"];
            sets.extend(["--set", "data.csv.train=reviews.csv"]);
        }
        "bench" if layers.is_empty() => layers.push("bench"),
        _ => {}
    }
    [&["config", "show", "--resolved"][..], &layers, &sets].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_of(line: &str) -> String {
        shown(&line.split(' ').collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn a_plan_does_not_say_where_its_cells_run() {
        let args = ["--engine", "slurm", "--seeds", "3", "--dry-run", "--throttle", "64"];
        assert_eq!(without_engine(&args), ["--seeds", "3"]);
    }

    #[test]
    fn an_executable_that_was_built_anew_is_found() {
        assert_eq!(in_place("/a/xtask (deleted)".into()), Path::new("/a/xtask"));
        assert_eq!(in_place("/a/xtask".into()), Path::new("/a/xtask"));
    }

    #[test]
    fn a_run_is_shown_with_its_files_and_keys() {
        assert_eq!(
            shown_of("train a b --out runs/x --set c=1 --quiet d --threads 2"),
            "config show --resolved a b d --set c=1"
        );
        assert_eq!(
            shown_of("train --data mine.csv phases/moe"),
            "config show --resolved datasets/csv phases/moe --set data.csv.train=reviews.csv"
        );
        assert_eq!(shown_of("bench --json --steps 5"), "config show --resolved bench");
    }
}
