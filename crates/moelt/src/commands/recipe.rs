//! The config of a run. A file of one's own gets its recipe by the number of its training texts.

use std::path::PathBuf;

use moelt_ablate::{OWN_RECIPE, recipe_by_rows};
use moelt_data::Dataset;
use moelt_schema::{ConfigFiles, RunConfig};

use crate::cli::{ColumnArgs, RunArgs};

/// The config of `layers`, on a file of one's own where `data` names one.
///
/// # Errors
/// When a config or the file cannot be read.
pub(super) fn layered(
    files: &ConfigFiles,
    layers: &[PathBuf],
    data: Option<&str>,
    columns: &ColumnArgs,
    run: &RunArgs,
) -> anyhow::Result<RunConfig> {
    let sets: Vec<String> = run.set.iter().cloned().chain(short(data, columns)?).collect();
    if data.is_none() {
        return Ok(files.load(layers, &sets)?);
    }
    let over = |beneath: &[&str]| {
        let beneath = beneath.iter().map(PathBuf::from);
        let layers: Vec<PathBuf> = beneath.chain(layers.iter().cloned()).collect();
        files.load(&layers, &sets)
    };
    let config = over(&[OWN_RECIPE])?;
    let texts = config.data.splits(&config.text)?.train.len();
    let Some((recipe, note)) = recipe_by_rows(texts) else { return Ok(config) };
    if !run.quiet {
        moelt_ablate::tell!("note: {note}");
    }
    Ok(over(&[OWN_RECIPE, recipe])?)
}

/// What options are short for.
fn short(data: Option<&str>, columns: &ColumnArgs) -> anyhow::Result<Vec<String>> {
    let options = [
        data.map(|file| set("data.csv.train", file)),
        columns.text_column.as_ref().map(|name| set("data.csv.text_column", name)),
        columns.label_column.as_ref().map(|name| set("data.csv.label_column", name)),
        columns.bad_lines.map(|what| Ok(what.set())),
    ];
    options.into_iter().flatten().collect()
}

/// `key = "value"`, quoted: a column may be called `2` or `true`. A string of JSON is one of TOML.
fn set(key: &str, value: &str) -> anyhow::Result<String> {
    Ok(format!("{key}={}", serde_json::to_string(value)?))
}
