//! What `moelt export` and `moelt import` can be asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::backend::DeviceArgs;

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// Run folder (its refit, or its best checkpoint), checkpoint folder, or pointer file.
    pub(crate) checkpoint: PathBuf,
    /// Folder to write to; must not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// For whom the folder is.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) form: ExportForm,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// Who reads an exported model.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ExportForm {
    /// Programs that know moelt's networks: examples/python, `moelt import`.
    #[default]
    Moelt,
    /// Hugging Face's libraries: for models that were trained from a pretrained encoder and have no experts.
    HuggingFace,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// Run folder (its refit, or its best checkpoint), checkpoint folder, or pointer file: that whose weights were exported.
    pub(crate) checkpoint: PathBuf,
    /// The exported folder, or a model.safetensors.
    #[arg(value_name = "WEIGHTS")]
    pub(crate) weights: PathBuf,
    /// Folder to write the new checkpoint to; must not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}
