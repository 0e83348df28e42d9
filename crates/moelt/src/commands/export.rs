//! `moelt export`

use std::io::Write;

use anyhow::Context;
use moelt_train::{ExportedModel, LoadedModel};

use super::must_be_new;
use crate::cli::{ExportArgs, ExportForm};

pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    must_be_new(&args.out)?;
    let loaded = LoadedModel::open(&args.checkpoint, &args.device.open()?)?;
    let exported = match args.form {
        ExportForm::Moelt => ExportedModel::of(&loaded),
        ExportForm::HuggingFace => ExportedModel::hugging_face(&loaded)
            .with_context(|| format!("{}: --form hugging-face", loaded.path.display()))?,
    };
    let files = exported.save_as(&args.out).with_context(|| format!("--out {}", args.out.display()))?;
    let (tensors, values) = exported.size();
    let text = format!(
        "checkpoint  {}\nmodel       {tensors} tensors, {values} values\nwritten to  {}: {}\n",
        loaded.path.display(),
        args.out.display(),
        files.join(", ")
    );
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
