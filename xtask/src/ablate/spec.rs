//! `configs/ablations/<dataset>.toml`: which phases an ablation has unless told otherwise.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::workspace::Workspace;

/// The ablations of one data set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AblationSpec {
    /// Phases of presets that name none.
    phases: Vec<String>,
    /// By name.
    presets: BTreeMap<String, Preset>,
}

/// How large an ablation is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preset {
    /// Seeds per phase.
    pub(crate) seeds: u64,
    /// Its own phases; without them, the file's.
    pub(crate) phases: Option<Vec<String>>,
    /// `key=value`, as for `--set`, in every cell.
    #[serde(default)]
    pub(crate) sets: Vec<String>,
}

/// The preset `name` of `dataset`, with its phases filled in.
///
/// # Errors
/// When there is no such data set or preset (the message lists those there are), or the file is
/// wrong (the message names file, line and key).
pub(crate) fn preset(workspace: &Workspace, dataset: &str, name: &str) -> Result<(Vec<String>, Preset)> {
    let path = workspace.config(&format!("ablations/{dataset}.toml"));
    let shown = workspace.shown(&path);
    if !path.is_file() {
        let known = toml_names(workspace, "ablations")?.join(", ");
        return Err(anyhow!("no ablation of data set `{dataset}`: {shown} is missing; there are: {known}"));
    }
    let text = fs::read_to_string(&path).context(shown.clone())?;
    let spec: AblationSpec = toml::from_str(&text).map_err(|error| anyhow!("{shown}: {error}"))?;
    let preset = spec.presets.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = spec.presets.keys().map(String::as_str).collect();
        anyhow!("{shown} has no preset `{name}`; there are: {}", known.join(", "))
    })?;
    Ok((preset.phases.clone().unwrap_or(spec.phases), preset))
}

/// The names of the TOML files in a folder of `configs/`, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn toml_names(workspace: &Workspace, folder: &str) -> Result<Vec<String>> {
    let path = workspace.config(folder);
    let entries = fs::read_dir(&path).with_context(|| workspace.shown(&path))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
