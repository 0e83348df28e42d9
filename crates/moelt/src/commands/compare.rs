//! `moelt compare`

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::{CommandFactory, error::ErrorKind};
use moelt_eval::{Columns, PredictionFile, System, SystemsQuestion};
use moelt_schema::{AtomicFile, CollapseRule, Metric, RunDir, read_text};

use crate::cli::{Cli, CompareArgs, MetricArg};

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let [a, b] = systems(args)?;
    if matches!(args.metric, MetricArg::MacroF1) && a.files.len() < 2 {
        bail!(
            "--metric macro-f1: macro-F1 is one number for each file, and an interval takes two seeds at least: give several files a \
             side with --a and --b, or compare by accuracy"
        );
    }
    let report = a.against(&b, &question(args)?)?;
    let document = report.document();
    if let Some(path) = &args.markdown {
        write(path, &document.to_markdown()).with_context(|| path.display().to_string())?;
    }
    let text = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { document.to_terminal() };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn question(args: &CompareArgs) -> anyhow::Result<SystemsQuestion> {
    let margin = args.margin;
    // Nobody means so much: percentage points were typed.
    ensure!(margin < 0.5, "--margin {margin}: is {:.0} percentage points; one is 0.01", 100.0 * margin);
    let collapse = CollapseRule { rate: args.collapse_rate, ..CollapseRule::default() };
    collapse.check().map_err(anyhow::Error::msg).context("--collapse-rate")?;
    Ok(SystemsQuestion {
        metric: Metric::from(args.metric),
        claims: args.claim.kinds(),
        margin: args.margin,
        alpha: args.alpha,
        collapse,
        ..SystemsQuestion::default()
    })
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(text.as_bytes())?;
    file.commit()
}

/// A and B.
fn systems(args: &CompareArgs) -> anyhow::Result<[System; 2]> {
    let columns = Columns::from(args.columns.clone());
    let [a, b] = sides(args).map(|paths| {
        let files: Vec<PathBuf> =
            paths.iter().map(|path| files_of(path)).collect::<anyhow::Result<Vec<_>>>()?.concat();
        let files = files.iter().map(|file| read(file, &columns)).collect::<anyhow::Result<_>>()?;
        Ok::<System, anyhow::Error>(System { name: name(paths), files })
    });
    let (mut a, mut b) = (a?, b?);
    let files: Vec<&PredictionFile> = a.files.iter().chain(&b.files).collect();
    let mut lacked = files.iter().flat_map(|file| file.lacks());
    let nowhere = lacked.find(|column| files.iter().all(|file| file.lacks().contains(column)));
    if let Some(column) = nowhere {
        bail!(
            "no file has a column `{column}`; correct its name, or leave the option out for the usual names"
        );
    }
    if a.name == b.name || a.name.is_empty() || b.name.is_empty() {
        (a.name, b.name) = ("A".to_owned(), "B".to_owned());
    }
    Ok([a, b])
}

/// The paths that were given for A and for B. Any other number of them is a command line that cannot be understood.
fn sides(args: &CompareArgs) -> [&[PathBuf]; 2] {
    match args.systems.as_slice() {
        [a, b] => [std::slice::from_ref(a), std::slice::from_ref(b)],
        [] if !args.a.is_empty() => [&args.a, &args.b],
        given => refuse(format!(
            "{} given, and two systems are compared: name the predictions of each, as in `moelt compare new.csv old.csv`; several \
             seeds of a system go behind --a and --b, as in `moelt compare --a new-*.csv --b old-*.csv`",
            match given {
                [] => "nothing is".to_owned(),
                [one] => format!("`{}` alone is", one.display()),
                more => format!("{} paths are", more.len()),
            }
        )),
    }
}

fn refuse(message: String) -> ! {
    Cli::command().error(ErrorKind::WrongNumberOfValues, message).exit()
}

/// The files that a path means, one per seed.
fn files_of(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let of_run = path.join(RunDir::predictions_name("test"));
    if of_run.is_file() {
        return Ok(vec![of_run]);
    }
    let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
    let mut found: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()
        .with_context(|| path.display().to_string())?;
    let is_table = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| ["csv", "tsv", "tab"].iter().any(|known| extension == *known))
    };
    found.retain(is_table);
    found.sort();
    ensure!(
        !found.is_empty(),
        "{}: neither a run folder with predictions/test.csv nor a folder of *.csv or *.tsv files",
        path.display()
    );
    Ok(found)
}

fn read(path: &Path, columns: &Columns) -> anyhow::Result<PredictionFile> {
    let shown = path.display().to_string();
    let text = read_text(path).with_context(|| shown.clone())?;
    Ok(PredictionFile::read(&text, &shown, columns)?)
}

/// What the names of its files or folders have in common at their beginning: `lr` of `lr-1.csv` and `lr-2.csv`.
fn name(paths: &[PathBuf]) -> String {
    let stem = |path: &PathBuf| {
        let named = if path.is_dir() { path.file_name() } else { path.file_stem() };
        named.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let shared = |all: String, next: String| {
        let same = all.chars().zip(next.chars()).take_while(|(a, b)| a == b);
        same.map(|(a, _)| a).collect()
    };
    let common = paths.iter().map(stem).reduce(shared).unwrap_or_default();
    common.trim_end_matches(['-', '_', '.', ' ']).to_owned()
}
