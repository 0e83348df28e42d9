//! `moelt import`

use std::io::Write;

use anyhow::Context;
use moelt_train::LoadedModel;

use super::{must_be_new, words};
use crate::cli::ImportArgs;

pub(crate) fn run(args: &ImportArgs) -> anyhow::Result<()> {
    must_be_new(&args.out)?;
    let loaded = LoadedModel::open(&args.checkpoint, &args.device.open()?)?;
    let from = loaded.path.clone();
    let mut edited = loaded.with_weights(&args.weights)?;
    edited.checkpoint.save_as(&args.out).with_context(|| format!("--out {}", args.out.display()))?;
    let text = format!(
        "checkpoint  {}\nweights     {}\n{}\nwritten to  {}\n",
        from.display(),
        args.weights.display(),
        words::deviation(&edited),
        args.out.display()
    );
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
