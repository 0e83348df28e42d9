//! From what was asked for to a plan: every cell with its config, and what is going to be judged.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use moelt_schema::{AblationPlan, Cell, CsvConfig, Digest, PLAN_FORMAT, RunConfig, TextConfig};
use serde::{Deserialize, Serialize};

use super::{
    args::PlanArgs,
    arm::Arm,
    by_rows::{OWN_RECIPE, recipe_by_rows},
    inputs, needs,
    spec::{AblationSpec, Planned, Preset},
};
use crate::Site;

/// Seeds per arm, at most: each is a cell with a folder.
const MAX_SEEDS: u64 = 10_000;

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
    /// Another file of `configs/datasets` than that of the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// `key=value` in every cell.
    pub sets: Vec<String>,
    /// The same in the cells of single arms, after those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arm_sets: BTreeMap<String, Vec<String>>,
}

/// An ablation before its configs are loaded.
pub struct Design {
    /// Folder below `runs/`.
    pub name: String,
    /// File of `configs/datasets`.
    pub dataset: String,
    /// Everything else.
    pub settings: Settings,
    /// How many of [`Settings::sets`], the last ones, somebody typed: each must fit an arm. Those of a preset need not.
    pub typed: usize,
}

impl Settings {
    /// Those of a preset.
    ///
    /// # Errors
    /// When there is no such data set or preset.
    pub fn of_preset(site: &Site, dataset: &str, preset: &str) -> Result<Self> {
        let (phases, preset) = AblationSpec::read(site, dataset)?.preset(preset)?;
        let Preset { seeds, first_seed, recipe, sets, arm_sets, .. } = preset;
        Ok(Self { phases, seeds, first_seed, recipe, sets, arm_sets })
    }
}

impl Design {
    /// The preset, with what the command line changes. Without `--name` the name tells data set and
    /// preset, and by a hash what deviates from it.
    pub(super) fn from_args(site: &Site, args: &PlanArgs) -> Result<Self> {
        let preset = Settings::of_preset(site, &args.dataset, &args.preset)?;
        let settings = Settings {
            phases: match &args.phases {
                Some(phases) => {
                    phases.iter().map(|name| Ok(Arm::find(site, name)?.name)).collect::<Result<_>>()?
                }
                None => preset.phases.clone(),
            },
            seeds: args.seeds.unwrap_or(preset.seeds),
            first_seed: args.first_seed.unwrap_or(preset.first_seed),
            recipe: preset.recipe.clone(),
            sets: preset.sets.iter().chain(&args.sets).cloned().collect(),
            // What the command line sets counts more.
            arm_sets: with_all(&preset.arm_sets, &args.sets),
        };
        let default_name = || {
            let plain = format!("{}-{}", args.dataset, args.preset);
            if settings == preset { plain } else { format!("{plain}-{}", Digest::of_json(&settings).short()) }
        };
        let name = args.name.clone().unwrap_or_else(default_name);
        Ok(Self { name, dataset: args.dataset.clone(), settings, typed: args.sets.len() })
    }

    /// Loads the config of every cell.
    ///
    /// # Errors
    /// On an unknown or repeated phase or one that lacks a phase it builds on, a config that cannot work,
    /// or a data set that is not there.
    pub fn plan(&self, site: &Site) -> Result<AblationPlan> {
        self.check_sets()?;
        let Settings { first_seed, seeds, .. } = self.settings;
        let end = first_seed.checked_add(seeds).context("seeds are 64-bit numbers")?;
        ensure!(seeds <= MAX_SEEDS, "--seeds {seeds}: an ablation has {MAX_SEEDS} at most");
        let find = |name: &str| Arm::find(site, name);
        let arms: Vec<Arm> = self.settings.phases.iter().map(|name| find(name)).collect::<Result<_>>()?;
        check_arms(&arms)?;
        self.settings.arm_sets.keys().try_for_each(|name| find(name).map(drop)).context("arm_sets")?;
        let mut loaded = Loaded { used: vec![false; self.settings.sets.len()], ..Loaded::default() };
        for (arm, seed) in arms.iter().flat_map(|arm| (first_seed..end).map(move |seed| (arm, seed))) {
            self.load(site, arm, seed, &mut loaded)?;
        }
        let spec = AblationSpec::read(site, &self.dataset)?;
        self.check_used(&loaded)?;
        let cells = needs::link(&self.name, loaded.configs, |name| Ok(find(name)?.name))?;
        ensure!(!cells.is_empty(), "no arms: nothing to run");
        let sweep = |cell: &Cell| arms.iter().find(|arm| arm.name == cell.arm).and_then(|arm| arm.sweep);
        let cells: Vec<Cell> = cells.into_iter().map(|cell| Cell { sweep: sweep(&cell), ..cell }).collect();
        let data = inputs::digests(site, &cells)?;
        inputs::check_texts(site, &cells)?.iter().for_each(|note| crate::tell!("note: {note}"));
        Ok(AblationPlan {
            format: PLAN_FORMAT,
            name: self.name.clone(),
            moelt: env!("CARGO_PKG_VERSION").to_owned(),
            code: site.code()?,
            data,
            resamples: spec.verdict.resamples,
            collapse: spec.verdict.collapse,
            comparisons: spec.comparisons(&planned(arms, &cells), find)?,
            cells,
        })
    }

    /// Arm and seed are what tells cells apart, so they are not to be set for all of them.
    fn check_sets(&self) -> Result<()> {
        let of_arms = self.settings.arm_sets.values().flatten();
        for set in self.settings.sets.iter().chain(of_arms) {
            let key = set.split('=').next().unwrap_or_default().trim();
            ensure!(!["arm", "seed"].contains(&key), "--set {set}: choose with --phases and --seeds instead");
        }
        Ok(())
    }

    /// Loads the config of one cell.
    fn load(&self, site: &Site, arm: &Arm, seed: u64, loaded: &mut Loaded) -> Result<()> {
        let own = [format!("seed={seed}"), format!("arm=\"{}\"", arm.name)];
        let size = arm.sweep.map(|n| format!("model.routing.top_k.n_experts={n}"));
        let of_arm = self.settings.arm_sets.get(&arm.name).into_iter().flatten().cloned();
        let sets = self.settings.sets.iter().cloned().chain(own).chain(size).chain(of_arm);
        let sets: Vec<String> = sets.collect();
        let recipe = format!("datasets/{}", self.settings.recipe.as_ref().unwrap_or(&self.dataset));
        let over = |rows: Option<&str>| {
            let names = [Some(recipe.as_str()), rows, Some(arm.file.as_str())];
            let files = names.into_iter().flatten().map(|name| site.config(name)).collect::<Result<_>>()?;
            Ok::<_, anyhow::Error>(site.configs().load_arm(files, &sets)?)
        };
        let (mut config, mut used) = over(None)?;
        if recipe == OWN_RECIPE
            && let Some(rows) = loaded.recipe_by_rows(site, &config)?
        {
            (config, used) = over(Some(rows))?;
        }
        loaded.used.iter_mut().zip(used).for_each(|(all, one)| *all |= one);
        loaded.configs.push(config);
        Ok(())
    }

    /// A set that is about a kind which no arm has is a mistake, unless a preset makes it for whatever arms it gets: what is
    /// typed must fit one, whether a preset says the same or not.
    fn check_used(&self, loaded: &Loaded) -> Result<()> {
        let sets = self.settings.sets.iter().zip(&loaded.used);
        match sets.rev().take(self.typed).rev().find(|(_, used)| !**used) {
            Some((set, _)) if !loaded.configs.is_empty() => {
                bail!(
                    "--set {set}: no arm that is planned has such a key; leave it out, add the arm{}",
                    chosen_whole(set)
                )
            }
            _ => Ok(()),
        }
    }
}

/// The sets of single arms, each followed by `sets`.
fn with_all(arm_sets: &BTreeMap<String, Vec<String>>, sets: &[String]) -> BTreeMap<String, Vec<String>> {
    let one = |(arm, own): (&String, &Vec<String>)| (arm.clone(), [own.as_slice(), sets].concat());
    arm_sets.iter().map(one).collect()
}

/// The arms, each with whether it is to be judged as one whose experts may change: not those that are told what others must
/// find out.
fn planned(arms: Vec<Arm>, cells: &[Cell]) -> Vec<Planned> {
    let adapts = |arm: &Arm| {
        let cell = cells.iter().find(|cell| cell.arm == arm.name);
        let policy = cell.map(|cell| &cell.config.control.policy);
        policy.is_some_and(|policy| policy.may_edit() && !policy.is_told())
    };
    arms.into_iter().map(|arm| Planned { adapts: adapts(&arm), arm }).collect()
}

/// The configs of cells, and which of the sets that they share was used by any.
#[derive(Default)]
struct Loaded {
    used: Vec<bool>,
    configs: Vec<RunConfig>,
    /// The recipes by rows of files of one's own, and how each was read.
    recipes: Vec<(CsvConfig, TextConfig, Option<&'static str>)>,
}

impl Loaded {
    /// What lies over the recipe of a file of one's own, as in `moelt train --data`. A file is read, and told of, once.
    fn recipe_by_rows(&mut self, site: &Site, config: &RunConfig) -> Result<Option<&'static str>> {
        let (Some(csv), text) = (config.data.csv(), &config.text) else { return Ok(None) };
        let known = self.recipes.iter().find(|(other, its_text, _)| (other, its_text) == (csv, text));
        if let Some((.., recipe)) = known {
            return Ok(*recipe);
        }
        let found = recipe_by_rows(inputs::n_train(site, csv, text)?);
        let recipe = found.map(|(recipe, note)| {
            crate::tell!("note: {note}");
            recipe
        });
        self.recipes.push((csv.clone(), text.clone(), recipe));
        Ok(recipe)
    }
}

/// How a set of one parameter, such as `start.weights.run=X`, reads when it also chooses the kind.
fn chosen_whole(set: &str) -> String {
    let Some((key, value)) = set.split_once('=') else { return String::new() };
    let [choice @ .., kind, parameter] = &*key.trim().split('.').collect::<Vec<_>>() else {
        return String::new();
    };
    if choice.is_empty() {
        return String::new();
    }
    format!(
        ", or choose the kind with it: --set \"{}={{{kind}={{{parameter}={}}}}}\"",
        choice.join("."),
        value.trim()
    )
}

fn check_arms(arms: &[Arm]) -> Result<()> {
    let twice = arms.iter().enumerate().find(|(at, arm)| arms[..*at].contains(arm));
    twice.map_or(Ok(()), |(_, arm)| bail!("arm `{}` is named twice", arm.name))
}
