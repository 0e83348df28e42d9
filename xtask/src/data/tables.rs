//! `data lid49`, `data pos14`, `data posstream12`: data sets that are two CSV files of known content.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use super::known::{Hash, KnownFile, KnownFiles};
use crate::workspace::Workspace;

/// 49 languages in Latin script: which of them is a pair of words?
pub(super) const LID49: KnownFiles = KnownFiles {
    folder: "datasets/lid49",
    inner: "lid49",
    files: &[
        KnownFile {
            source: "lid49_train.csv",
            target: "train.csv",
            hash: Hash::Blake3("f2e9f614b4809e86f81373e72cfd032e78d2ed043a24ce570f970e3916253c28"),
        },
        KnownFile {
            source: "lid49_test.csv",
            target: "test.csv",
            hash: Hash::Blake3("fc65ac2b1425b292970be7fde2f4f5c98db3ca93ef603b4e697e39684742e538"),
        },
    ],
};

/// Parts of speech in 14 languages.
pub(super) const POS14: KnownFiles = KnownFiles {
    folder: "datasets/pos14",
    inner: "pos14",
    files: &[
        KnownFile {
            source: "pos14_train.csv",
            target: "train.csv",
            hash: Hash::Blake3("d4dc68970f953b975944684f501fae88ffc2e1df56a77e1f2441f43760d57b28"),
        },
        KnownFile {
            source: "pos14_test.csv",
            target: "test.csv",
            hash: Hash::Blake3("a5aea0f85e157af65358b39dd1281131a03841bccc609cbb7939bc58419428e0"),
        },
    ],
};

/// Parts of speech in 12 languages, which arrive one after another.
pub(super) const POSSTREAM12: KnownFiles = KnownFiles {
    folder: "datasets/posstream12",
    inner: "posstream12",
    files: &[
        KnownFile {
            source: "posstream12_train.csv.gz",
            target: "train.csv",
            hash: Hash::Blake3("81b96a90cc90605fc949f0838377a2cb9039f22cbce4bf61729dac28a167e69a"),
        },
        KnownFile {
            source: "posstream12_test.csv.gz",
            target: "test.csv",
            hash: Hash::Blake3("b46cb49ac974ba65a13dc8ffccb68336eb9c56ca67d0f4eb9aaf93571ab78ede"),
        },
    ],
};

/// Where the files are.
#[derive(Args)]
pub(crate) struct TablesArgs {
    /// A folder or zip that holds the two CSV files as datasets/NAME/README.md describes them.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
}

pub(super) fn run(files: &KnownFiles, workspace: &Workspace, args: &TablesArgs) -> Result<ExitCode> {
    files.install(&args.from, workspace)?;
    let names: Vec<&str> = files.files.iter().map(|file| file.target).collect();
    eprintln!("{}: {} verified", files.folder, names.join(" and "));
    Ok(ExitCode::SUCCESS)
}
