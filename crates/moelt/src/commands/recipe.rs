//! The config of a run, and the recipe that a file of one's own gets: `datasets/csv`, and over it one of `rows/…` by the number
//! of its training texts. Small files need more and smaller steps. How it was chosen: docs/benchmarks.md.

use std::path::PathBuf;

use moelt_data::Dataset;
use moelt_schema::{ConfigFiles, RunConfig};

use crate::cli::{ColumnArgs, RunArgs};

/// What every file of one's own has beneath the configs that are named.
const OWN: &str = "datasets/csv";

/// Recipes by the most training texts they are for; above the last one `datasets/csv` is as it is.
const BY_ROWS: [(usize, &str); 3] =
    [(2_000, "rows/to-2000"), (6_000, "rows/to-6000"), (20_000, "rows/to-20000")];

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
    let config = over(&[OWN])?;
    let texts = config.data.splits(&config.text)?.train.len();
    let Some(recipe) = recipe(texts) else { return Ok(config) };
    if !run.quiet {
        moelt_ablate::tell!("note: {texts} training texts: the recipe is {OWN} with {recipe} over it");
    }
    Ok(over(&[OWN, recipe])?)
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

fn recipe(texts: usize) -> Option<&'static str> {
    BY_ROWS.iter().find_map(|(most, recipe)| (texts <= *most).then_some(*recipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_follows_from_the_number_of_texts() {
        let recipes = [1, 2_000, 2_001, 20_000, 20_001].map(recipe);
        let expected = ["rows/to-2000", "rows/to-2000", "rows/to-6000", "rows/to-20000"].map(Some);
        assert_eq!((&recipes[..4], recipes[4]), (&expected[..], None));
    }
}
