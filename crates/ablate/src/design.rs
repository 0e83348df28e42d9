//! From what was asked for to a plan: every cell with its config, and what is going to be judged.

use anyhow::{Context, Result, bail, ensure};
use moelt_schema::{AblationPlan, Digest, METRIC, PLAN_FORMAT, RunConfig, frozen_size};
use serde::{Deserialize, Serialize};

use super::{args::PlanArgs, inputs, needs, spec::AblationSpec};
use crate::Site;

/// What distinguishes ablations of one data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The arms, in order.
    pub phases: Vec<String>,
    /// Seeds per phase.
    pub seeds: u64,
    /// The first of them; the others follow.
    #[serde(default)]
    pub first_seed: u64,
    /// `key=value` in every cell.
    pub sets: Vec<String>,
}

/// An ablation before its configs are loaded.
pub struct Design {
    /// Folder below `runs/`.
    pub name: String,
    /// File of `configs/datasets`.
    pub dataset: String,
    /// Everything else.
    pub settings: Settings,
}

impl Settings {
    /// Those of a preset.
    ///
    /// # Errors
    /// When there is no such data set or preset.
    pub fn of_preset(site: &Site, dataset: &str, preset: &str) -> Result<Self> {
        let (phases, preset) = AblationSpec::read(site, dataset)?.preset(preset)?;
        Ok(Self { phases, seeds: preset.seeds, first_seed: preset.first_seed, sets: preset.sets })
    }
}

impl Design {
    /// The preset, with what the command line changes. Without `--name` the name tells data set and
    /// preset, and by a hash what deviates from it.
    pub(super) fn from_args(site: &Site, args: &PlanArgs) -> Result<Self> {
        let preset = Settings::of_preset(site, &args.dataset, &args.preset)?;
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
    pub fn plan(&self, site: &Site) -> Result<AblationPlan> {
        self.check_sets()?;
        self.check_phases()?;
        let Settings { first_seed, seeds, .. } = self.settings;
        let end = first_seed.checked_add(seeds).context("seeds are 64-bit numbers")?;
        let phases = self.settings.phases.iter();
        let configs =
            phases.flat_map(|phase| (first_seed..end).map(move |seed| self.config(site, phase, seed)));
        let check_phase = |phase: &str| phase_file(site, phase).map(drop);
        let cells = needs::link(&self.name, configs.collect::<Result<_>>()?, check_phase)?;
        ensure!(!cells.is_empty(), "no phases: nothing to run");
        let spec = AblationSpec::read(site, &self.dataset)?;
        Ok(AblationPlan {
            format: PLAN_FORMAT,
            name: self.name.clone(),
            moelt: env!("CARGO_PKG_VERSION").to_owned(),
            code: site.code()?,
            data: inputs::digests(site, &cells)?,
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

    fn config(&self, site: &Site, phase: &str, seed: u64) -> Result<RunConfig> {
        let (file, mut arm_sets) = phase_file(site, phase)?;
        arm_sets.extend([format!("seed={seed}"), format!("arm=\"{phase}\"")]);
        let dataset = site.config(&format!("datasets/{}", self.dataset))?;
        let sets: Vec<String> = self.settings.sets.iter().cloned().chain(arm_sets).collect();
        Ok(site.configs().load_texts(vec![dataset, site.config(&file)?], &sets)?)
    }
}

/// The name of the config file of a phase, and what the arm sets on top of it: `frozen-N` is `frozen` with N experts.
fn phase_file(site: &Site, phase: &str) -> Result<(String, Vec<String>)> {
    let (stem, sets) = match frozen_size(phase) {
        Some(n) => ("frozen", vec![format!("model.n_experts={n}")]),
        None => (phase, Vec::new()),
    };
    let known = site.names("phases");
    if phase == "frozen" || !known.iter().any(|name| name == stem) {
        let shown = known.iter().map(|name| if name == "frozen" { "frozen-N" } else { name });
        bail!("no phase `{phase}` in configs/phases; there are: {}", shown.collect::<Vec<_>>().join(", "));
    }
    Ok((format!("phases/{stem}"), sets))
}
