//! `bench --texts`: test accuracy and seconds of `moelt train --data` on public data sets, beside other programs.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context, Result};
use moelt_eval::render::{Column, Document, Table};
use moelt_schema::{CellResult, RunDir};
use serde::Deserialize;

use super::{parsed, spread};
use crate::workspace::{Workspace, succeed};

/// The other programs, and how the data sets are split.
const PEER: &str = "xtask/peer/text_classifiers.py";

/// As PEER calls them, and in the table.
const PEERS: [(&str, &str); 2] = [("fasttext", "fastText"), ("tfidf", "TF-IDF + LR")];

/// What a program reached on a test set, one value per turn.
#[derive(Default)]
struct Reached {
    accuracy: Vec<f64>,
    seconds: Vec<f64>,
}

/// One turn, as PEER prints it.
#[derive(Deserialize)]
struct Turn {
    accuracy: f64,
    seconds: f64,
}

/// # Errors
/// When a program cannot be run, or fails.
pub(super) fn run(
    workspace: &Workspace,
    moelt: &Path,
    texts: &Path,
    python: &Path,
    pretrained: Option<&Path>,
    turns: usize,
) -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let names: Vec<String> = parsed(peer(workspace, python, "prepare").arg(texts).arg(folder.path()))?;
    let mut columns = vec![Column::left("data set")];
    let from_encoder = pretrained.map(|encoder| ("moelt, pretrained", Some(encoder)));
    let own: Vec<(&str, Option<&Path>)> = [("moelt", None)].into_iter().chain(from_encoder).collect();
    let programs: Vec<&str> =
        own.iter().map(|(shown, _)| *shown).chain(PEERS.map(|(_, shown)| shown)).collect();
    for program in &programs {
        columns.extend([Column::right(&format!("{program} %")), Column::right("s")]);
    }
    let mut table = Table { columns, rows: Vec::new() };
    for name in names {
        let data = folder.path().join(&name);
        let mut reached = BTreeMap::<&str, Reached>::new();
        for turn in 1..=turns {
            eprintln!("{name}: turn {turn} of {turns}");
            for (shown, encoder) in &own {
                reached.entry(shown).or_default().add(&train(workspace, moelt, &data, *encoder, turn)?);
            }
            for (called, shown) in PEERS {
                let mut command = peer(workspace, python, called);
                command.args([data.join("train.csv"), data.join("test.csv")]);
                reached.entry(shown).or_default().add(&parsed(&mut command)?);
            }
        }
        let shown = programs.iter().filter_map(|program| reached.get(program));
        table.rows.push([name].into_iter().chain(shown.flat_map(Reached::cells)).collect());
    }
    print!("{}", Document::default().table(table).to_terminal());
    println!(
        "Test accuracy and seconds, median [least, most] of {turns} turns, each with another seed of moelt."
    );
    Ok(ExitCode::SUCCESS)
}

fn peer(workspace: &Workspace, python: &Path, what: &str) -> Command {
    let mut command = workspace.command(&python.display().to_string());
    command.args([PEER, what]);
    command
}

/// What a user does who keeps the test, from the start of the program to its end.
fn train(
    workspace: &Workspace,
    moelt: &Path,
    data: &Path,
    pretrained: Option<&Path>,
    seed: usize,
) -> Result<Turn> {
    let from = if pretrained.is_some() { "pretrained" } else { "scratch" };
    let run = RunDir::new(data.join(format!("{from}-{seed}")));
    let mut command = workspace.command(&moelt.display().to_string());
    command.args(["train", "--quiet", "--keep-test", "--threads", "1", "--set", &format!("seed={seed}")]);
    if let Some(encoder) = pretrained {
        command.args(["phases/pretrained-dense", "--set"]);
        command.arg(format!("model.pretrained={:?}", encoder.display().to_string()));
    }
    command.arg("--data");
    command.arg(data.join("train.csv")).arg("--out").arg(run.path());
    command.args(["--set", &format!("data.csv.test={:?}", data.join("test.csv").display().to_string())]);
    let since = Instant::now();
    succeed(&mut command)?;
    let seconds = since.elapsed().as_secs_f64();
    let path = run.result();
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let result: CellResult = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(Turn { accuracy: result.test.accuracy, seconds })
}

impl Reached {
    fn add(&mut self, turn: &Turn) {
        self.accuracy.push(100.0 * turn.accuracy);
        self.seconds.push(turn.seconds);
    }

    fn cells(&self) -> [String; 2] {
        [spread(&self.accuracy), spread(&self.seconds)]
    }
}
