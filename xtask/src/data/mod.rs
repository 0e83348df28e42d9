//! `data`: fetches and verifies data sets that are not committed.

mod download;
mod sst2;
mod unpack;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::workspace::Workspace;

/// Fetch, verify and store a data set below datasets/.
#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask data sst2 --from ~/Downloads/SST-2.zip")]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    dataset: Dataset,
}

#[derive(Subcommand)]
enum Dataset {
    Sst2(sst2::Sst2Args),
}

pub(crate) fn run(workspace: &Workspace, args: DataArgs) -> Result<ExitCode> {
    match args.dataset {
        Dataset::Sst2(args) => sst2::run(workspace, args),
    }
}
