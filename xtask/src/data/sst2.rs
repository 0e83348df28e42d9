//! `data sst2`: GLUE SST-2 from the net or from a local copy, verified before it replaces anything.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use moelt_data::{GlueCounts, verify_glue};
use moelt_schema::sync_folder;

use super::{download::download, unpack};
use crate::workspace::Workspace;

/// Where GLUE has it.
const URL: &str = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip";

/// MD5 of the zip there.
const MD5: &str = "9f81648d4199384278b86e315dac217c";

/// What the data set consists of.
const FILES: [&str; 2] = ["train.tsv", "dev.tsv"];

/// The folder they lie in in GLUE's own zip.
const INNER: &str = "SST-2";

const EXAMPLES: &str = "\
Examples:
  cargo xtask data sst2
  cargo xtask data sst2 --from ~/Downloads/SST-2.zip
  cargo xtask data sst2 --from ../shared/datasets/sst2";

/// GLUE SST-2: 67,349 training phrases and 872 dev sentences, into datasets/sst2.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sst2Args {
    /// A folder or zip that holds train.tsv and dev.tsv; without it the zip is downloaded.
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// Address of the zip.
    #[arg(long, default_value = URL, conflicts_with = "from")]
    url: String,
}

pub(crate) fn run(workspace: &Workspace, args: Sst2Args) -> Result<ExitCode> {
    let target = workspace.dataset("sst2");
    let shown = workspace.shown(&target);
    if args.from.is_none() && verify_glue(&target).is_ok() {
        eprintln!("{shown} is complete and verified already");
        return Ok(ExitCode::SUCCESS);
    }
    let counts = match args.from {
        Some(path) => install(&path, &target)?,
        None => {
            let mut zip = tempfile::Builder::new().suffix(".zip").tempfile()?;
            download(&args.url, MD5, zip.as_file_mut()).context(
                "no SST-2; if this machine cannot reach the address, bring the zip by other means and \
                 give it with --from",
            )?;
            install(zip.path(), &target)?
        }
    };
    eprintln!("{shown}: {} training phrases, {} dev sentences, verified", counts.train, counts.dev);
    Ok(ExitCode::SUCCESS)
}

/// Unpacks `source` beside `target`, verifies it there and only then moves it in.
fn install(source: &Path, target: &Path) -> Result<GlueCounts> {
    let shown = || target.display().to_string();
    let staging = unpack::staging(target).with_context(shown)?;
    unpack::unpack(source, INNER, &FILES, staging.path())?;
    let counts =
        verify_glue(staging.path()).with_context(|| format!("{} is not GLUE SST-2", source.display()))?;
    for file in FILES {
        fs::rename(staging.path().join(file), target.join(file)).with_context(shown)?;
    }
    sync_folder(target).with_context(shown)?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_data_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        for (dir, text) in [(&source, "sentence\tlabel\nbad\t0\n"), (&target, "good")] {
            fs::create_dir(dir).unwrap();
            FILES.iter().for_each(|file| fs::write(dir.join(file), text).unwrap());
        }
        let message = format!("{:#}", install(&source, &target).unwrap_err());
        assert!(message.contains("is not GLUE SST-2"), "{message}");
        assert_eq!(fs::read_to_string(target.join("train.tsv")).unwrap(), "good");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 2);
    }
}
