//! `data`: fetches and verifies data sets and pretrained encoders, which are not committed.

mod download;
mod encoder;
mod known;
mod minilm;
mod sst2;
mod tables;
mod unpack;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::workspace::Workspace;

/// Fetch, verify and store a data set below datasets/, or a pretrained encoder below models/.
#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask data sst2 --from ~/Downloads/SST-2.zip")]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    dataset: Dataset,
}

#[derive(Subcommand)]
enum Dataset {
    Sst2(sst2::Sst2Args),
    /// lid49: which of 49 languages a pair of words is; into datasets/lid49.
    #[command(after_help = "Example:\n  cargo xtask data lid49 --from ../shared/datasets/lid49")]
    Lid49(tables::TablesArgs),
    /// pos14: parts of speech in 14 languages; into datasets/pos14. CC BY-SA: see datasets/pos14/README.md.
    #[command(after_help = "Example:\n  cargo xtask data pos14 --from ../shared/datasets/pos14")]
    Pos14(tables::TablesArgs),
    /// posstream12: parts of speech in 12 languages that arrive one after another; into datasets/posstream12. CC BY-SA: see
    /// datasets/posstream12/README.md.
    #[command(after_help = "Example:\n  cargo xtask data posstream12 --from ../shared/datasets/posstream12")]
    Posstream12(tables::TablesArgs),
    Minilm(minilm::MinilmArgs),
    Encoder(encoder::EncoderArgs),
}

pub(crate) fn run(workspace: &Workspace, args: DataArgs) -> Result<ExitCode> {
    match args.dataset {
        Dataset::Sst2(args) => sst2::run(workspace, args),
        Dataset::Lid49(args) => tables::run(&tables::LID49, workspace, &args),
        Dataset::Pos14(args) => tables::run(&tables::POS14, workspace, &args),
        Dataset::Posstream12(args) => tables::run(&tables::POSSTREAM12, workspace, &args),
        Dataset::Minilm(args) => minilm::run(workspace, args),
        Dataset::Encoder(args) => encoder::run(workspace, args),
    }
}
