//! From what was asked for to a plan: every cell with its config, and what is going to be judged.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use moelt_schema::{AblationPlan, Digest, METRIC, PLAN_FORMAT, RunConfig, frozen_size, load_config};
use serde::{Deserialize, Serialize};

use super::{
    PlanArgs, code, inputs, needs,
    spec::{self, AblationSpec},
};
use crate::workspace::Workspace;

/// What distinguishes ablations of one data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The arms, in order.
    pub(crate) phases: Vec<String>,
    /// Seeds per phase.
    pub(crate) seeds: u64,
    /// The first of them; the others follow.
    #[serde(default)]
    pub(crate) first_seed: u64,
    /// `key=value` in every cell.
    pub(crate) sets: Vec<String>,
}

/// An ablation before its configs are loaded.
pub(crate) struct Design {
    /// Folder below `runs/`.
    pub(crate) name: String,
    /// File of `configs/datasets`.
    pub(crate) dataset: String,
    /// Everything else.
    pub(crate) settings: Settings,
}

impl Settings {
    /// Those of a preset.
    ///
    /// # Errors
    /// When there is no such data set or preset.
    pub(crate) fn of_preset(workspace: &Workspace, dataset: &str, preset: &str) -> Result<Self> {
        let (phases, preset) = AblationSpec::read(workspace, dataset)?.preset(preset)?;
        Ok(Self { phases, seeds: preset.seeds, first_seed: preset.first_seed, sets: preset.sets })
    }
}

impl Design {
    /// The preset, with what the command line changes. Without `--name` the name tells data set and
    /// preset, and by a hash what deviates from it.
    pub(super) fn from_args(workspace: &Workspace, args: &PlanArgs) -> Result<Self> {
        let preset = Settings::of_preset(workspace, &args.dataset, &args.preset)?;
        let settings = Settings {
            phases: args.phases.clone().unwrap_or_else(|| preset.phases.clone()),
            seeds: args.seeds.unwrap_or(preset.seeds),
            first_seed: args.first_seed.unwrap_or(preset.first_seed),
            sets: preset.sets.iter().chain(&args.sets).cloned().collect(),
        };
        let default_name = || {
            let plain = format!("{}-{}", args.dataset, args.preset);
            if settings == preset { plain } else { format!("{plain}-{}", Digest::of_json(&settings).short()) }
        };
        let name = args.name.clone().unwrap_or_else(default_name);
        Ok(Self { name, dataset: args.dataset.clone(), settings })
    }

    /// Loads the config of every cell.
    ///
    /// # Errors
    /// On an unknown or repeated phase or one that lacks a phase it builds on, a config that cannot work,
    /// or a data set that is not there.
    pub(crate) fn plan(&self, workspace: &Workspace) -> Result<AblationPlan> {
        self.check_sets()?;
        self.check_phases()?;
        let Settings { first_seed, seeds, .. } = self.settings;
        let end = first_seed.checked_add(seeds).context("seeds are 64-bit numbers")?;
        let phases = self.settings.phases.iter();
        let configs =
            phases.flat_map(|phase| (first_seed..end).map(move |seed| self.config(workspace, phase, seed)));
        let check_phase = |phase: &str| phase_file(workspace, phase).map(drop);
        let cells = needs::link(&self.name, configs.collect::<Result<_>>()?, check_phase)?;
        ensure!(!cells.is_empty(), "no phases: nothing to run");
        let spec = AblationSpec::read(workspace, &self.dataset)?;
        Ok(AblationPlan {
            format: PLAN_FORMAT,
            name: self.name.clone(),
            moelt: env!("CARGO_PKG_VERSION").to_owned(),
            code: code::digest(workspace)?,
            data: inputs::digests(workspace, &cells)?,
            metric: METRIC.to_owned(),
            resamples: spec.verdict.resamples,
            comparisons: spec.comparisons(&self.settings.phases, check_phase)?,
            cells,
        })
    }

    fn check_phases(&self) -> Result<()> {
        let phases = &self.settings.phases;
        let twice = phases.iter().enumerate().find(|(at, phase)| phases[..*at].contains(phase));
        twice.map_or(Ok(()), |(_, phase)| bail!("phase `{phase}` is named twice"))
    }

    /// Arm and seed are what tells cells apart, so they are not to be set for all of them.
    fn check_sets(&self) -> Result<()> {
        for set in &self.settings.sets {
            let key = set.split('=').next().unwrap_or_default().trim();
            ensure!(!["arm", "seed"].contains(&key), "--set {set}: choose with --phases and --seeds instead");
        }
        Ok(())
    }

    fn config(&self, workspace: &Workspace, phase: &str, seed: u64) -> Result<RunConfig> {
        let (file, mut arm_sets) = phase_file(workspace, phase)?;
        arm_sets.extend([format!("seed={seed}"), format!("arm=\"{phase}\"")]);
        let dataset = workspace.config(&format!("datasets/{}.toml", self.dataset));
        let sets: Vec<String> = self.settings.sets.iter().cloned().chain(arm_sets).collect();
        Ok(load_config(&[dataset, file], &sets)?)
    }
}

/// The file of a phase, and what the arm sets on top of it: `frozen-N` is `frozen` with N experts.
fn phase_file(workspace: &Workspace, phase: &str) -> Result<(PathBuf, Vec<String>)> {
    let (stem, sets) = match frozen_size(phase) {
        Some(n) => ("frozen", vec![format!("model.n_experts={n}")]),
        None => (phase, Vec::new()),
    };
    let known = spec::toml_names(workspace, "phases")?;
    if phase == "frozen" || !known.iter().any(|name| name == stem) {
        let shown = known.iter().map(|name| if name == "frozen" { "frozen-N" } else { name });
        bail!("no phase `{phase}` in configs/phases; there are: {}", shown.collect::<Vec<_>>().join(", "));
    }
    Ok((workspace.config(&format!("phases/{stem}.toml")), sets))
}
