//! `data lid49`, `data pos14`, `data posstream12`: data sets that are two CSV files of known content.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use moelt_schema::{Digest, create_folders, sync_folder};

use super::unpack;
use crate::workspace::Workspace;

/// A data set of two files.
pub(super) struct Tables {
    /// Its folder below datasets/.
    name: &'static str,
    files: [Table; 2],
}

/// One of the files.
struct Table {
    /// What it is called where it comes from; `.gz` is packed.
    source: &'static str,
    /// What it is called in the folder of the data set.
    target: &'static str,
    /// BLAKE3 of its content, unpacked.
    digest: &'static str,
}

/// 49 languages in Latin script: which of them is a pair of words?
pub(super) const LID49: Tables = Tables {
    name: "lid49",
    files: [
        Table {
            source: "lid49_train.csv",
            target: "train.csv",
            digest: "f2e9f614b4809e86f81373e72cfd032e78d2ed043a24ce570f970e3916253c28",
        },
        Table {
            source: "lid49_test.csv",
            target: "test.csv",
            digest: "fc65ac2b1425b292970be7fde2f4f5c98db3ca93ef603b4e697e39684742e538",
        },
    ],
};

/// Parts of speech in 14 languages.
pub(super) const POS14: Tables = Tables {
    name: "pos14",
    files: [
        Table {
            source: "pos14_train.csv",
            target: "train.csv",
            digest: "d4dc68970f953b975944684f501fae88ffc2e1df56a77e1f2441f43760d57b28",
        },
        Table {
            source: "pos14_test.csv",
            target: "test.csv",
            digest: "a5aea0f85e157af65358b39dd1281131a03841bccc609cbb7939bc58419428e0",
        },
    ],
};

/// Parts of speech in 12 languages, which arrive one after another.
pub(super) const POSSTREAM12: Tables = Tables {
    name: "posstream12",
    files: [
        Table {
            source: "posstream12_train.csv.gz",
            target: "train.csv",
            digest: "81b96a90cc90605fc949f0838377a2cb9039f22cbce4bf61729dac28a167e69a",
        },
        Table {
            source: "posstream12_test.csv.gz",
            target: "test.csv",
            digest: "b46cb49ac974ba65a13dc8ffccb68336eb9c56ca67d0f4eb9aaf93571ab78ede",
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

impl Tables {
    pub(super) fn run(&self, workspace: &Workspace, args: &TablesArgs) -> Result<ExitCode> {
        let target = workspace.dataset(self.name);
        self.install(&args.from, &target)?;
        eprintln!(
            "{}: {} verified",
            workspace.shown(&target),
            self.files.each_ref().map(|f| f.target).join(" and ")
        );
        Ok(ExitCode::SUCCESS)
    }

    /// Unpacks `source` beside `target`, verifies it there and only then moves it in.
    fn install(&self, source: &Path, target: &Path) -> Result<()> {
        let shown = || target.display().to_string();
        create_folders(target).with_context(shown)?;
        let staging = tempfile::tempdir_in(target).with_context(shown)?;
        unpack::unpack(source, &self.files.each_ref().map(|file| file.source), staging.path())?;
        for Table { source: name, digest, .. } in &self.files {
            let found = Digest::of_file(&unpack::stored(name, staging.path()))?.to_string();
            ensure!(
                found == *digest,
                "{}: {name} is another file than datasets/{}/README.md describes: BLAKE3 {found}, expected {digest}",
                source.display(),
                self.name
            );
        }
        for Table { source, target: name, .. } in &self.files {
            fs::rename(unpack::stored(source, staging.path()), target.join(name)).with_context(shown)?;
        }
        sync_folder(target).with_context(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        for (dir, names) in
            [(&source, ["lid49_train.csv", "lid49_test.csv"]), (&target, ["train.csv", "test.csv"])]
        {
            fs::create_dir(dir).unwrap();
            names.iter().for_each(|name| fs::write(dir.join(name), "text,label\n").unwrap());
        }
        let message = format!("{:#}", LID49.install(&source, &target).unwrap_err());
        assert!(
            message.contains("lid49_train.csv is another file than datasets/lid49/README.md"),
            "{message}"
        );
        let lacking = format!("{:#}", POS14.install(&source, &target).unwrap_err());
        assert!(lacking.contains("has no pos14_train.csv, neither"), "{lacking}");
        assert_eq!(fs::read_to_string(target.join("train.csv")).unwrap(), "text,label\n");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 2);
    }
}
