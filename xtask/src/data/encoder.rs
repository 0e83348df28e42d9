//! `data encoder`: a pretrained encoder of the Hugging Face Hub by its name.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use moelt_data::Vocabulary;
use moelt_schema::{PretrainedFiles, create_folders, load_config, sync_folder};

use super::{download::fetch, unpack};
use crate::workspace::Workspace;

/// Where the Hub is, unless `HF_ENDPOINT` says otherwise, as it does for Hugging Face's own tools.
const HUB: &str = "https://huggingface.co";

const EXAMPLES: &str = "\
Examples:
  cargo xtask data encoder google-bert/bert-base-uncased
  cargo xtask data encoder sentence-transformers/all-MiniLM-L6-v2 --revision main
  HF_ENDPOINT=https://hub.example.org cargo xtask data encoder team/encoder

Then: moelt train --data FILE phases/pretrained-dense --set model.pretrained=models/bert-base-uncased";

/// A pretrained encoder of the Hugging Face Hub (BERT family) by its name, into models/NAME.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EncoderArgs {
    /// What the Hub calls it: OWNER/NAME.
    #[arg(value_name = "OWNER/NAME")]
    name: String,
    /// Branch, tag or commit.
    #[arg(long, default_value = "main")]
    revision: String,
}

pub(crate) fn run(workspace: &Workspace, args: EncoderArgs) -> Result<ExitCode> {
    let models = workspace.root().join("models");
    let target = models.join(folder_name(&args.name)?);
    ensure!(is_plain(&args.revision), "--revision {}: needs letters, digits and . _ - /", args.revision);
    let shown = workspace.shown(&target);
    ensure!(!target.exists(), "{shown} is there already; use it, or remove it first");
    create_folders(&models).with_context(|| models.display().to_string())?;
    let staging = unpack::staging(&models).with_context(|| models.display().to_string())?;
    fetch_all(&args, staging.path())?;
    check(staging.path()).with_context(|| format!("{} cannot be used", args.name))?;
    fs::rename(staging.keep(), &target).with_context(|| shown.clone())?;
    sync_folder(&models).with_context(|| models.display().to_string())?;
    eprintln!("{shown}: {} at {}, three files", args.name, args.revision);
    Ok(ExitCode::SUCCESS)
}

/// What the encoder's folder is called: the last part of its name.
fn folder_name(name: &str) -> Result<&str> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [owner, folder]
            if [owner, folder].into_iter().all(|part| is_plain(part) && !part.starts_with('.')) =>
        {
            Ok(folder)
        }
        _ => bail!("`{name}` is no name on the Hub; needs OWNER/NAME, such as google-bert/bert-base-uncased"),
    }
}

/// Whether a text means itself in an address.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
}

fn fetch_all(args: &EncoderArgs, folder: &Path) -> Result<()> {
    let hub = env::var("HF_ENDPOINT").unwrap_or_else(|_| HUB.to_owned());
    let files = PretrainedFiles::new(folder);
    for path in [files.config(), files.tokenizer(), files.weights()] {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let url = format!("{}/{}/resolve/{}/{name}", hub.trim_end_matches('/'), args.name, args.revision);
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        fetch(&url, &mut file).with_context(|| {
            format!(
                "no {name} of {}; moelt needs config.json, tokenizer.json and model.safetensors. Where an old encoder has others, \
                 `save_pretrained` of Python's transformers writes them, and the folder does as it is",
                args.name
            )
        })?;
        file.sync_all().with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Refuses what `model.pretrained` would refuse, short of the weights.
fn check(folder: &Path) -> Result<()> {
    // Every encoder has positions for a text as short as this.
    let sets = ["model.routing=dense".to_owned(), "text.max_tokens=8".to_owned()];
    let sets = [&sets[..], &[format!("model.pretrained={}", folder.display())]].concat();
    let config = load_config(&[] as &[PathBuf], &sets)?;
    let tokenizer = fs::read_to_string(PretrainedFiles::new(folder).tokenizer())?;
    Vocabulary::pretrained(&tokenizer, &config.text).context("tokenizer.json")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_owner_and_a_folder() {
        assert_eq!(folder_name("google-bert/bert-base-uncased").unwrap(), "bert-base-uncased");
        for wrong in ["bert", "a/b/c", "../a", "a/..", "a/", "/b", "a/b?c", "a b/c", "https://hub/a"] {
            let error = folder_name(wrong).unwrap_err().to_string();
            assert!(error.contains("needs OWNER/NAME"), "{wrong}: {error}");
        }
    }
}
