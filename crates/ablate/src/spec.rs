//! `configs/ablations/<dataset>.toml`: which phases an ablation has unless told otherwise, and what is
//! judged at its end.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use moelt_eval::{Finding, judge};
use moelt_schema::{ClaimKind, Comparison};
use serde::Deserialize;

use crate::{Site, arm::Arm};

/// Stands for the best of the planned arms `frozen-N`.
const BEST_FROZEN: &str = "best-frozen";

/// The ablations of one data set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AblationSpec {
    /// Phases of presets that name none.
    phases: Vec<String>,
    /// By name.
    presets: BTreeMap<String, Preset>,
    /// What is judged.
    pub(crate) verdict: VerdictSpec,
    /// The file, for messages.
    #[serde(skip)]
    shown: String,
}

/// How large an ablation is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preset {
    /// Seeds per phase.
    pub(crate) seeds: u64,
    /// The first of them; the others follow.
    #[serde(default)]
    pub(crate) first_seed: u64,
    /// Its own phases; without them, the file's.
    pub(crate) phases: Option<Vec<String>>,
    /// `key=value`, as for `--set`, in every cell.
    #[serde(default)]
    pub(crate) sets: Vec<String>,
}

/// The section `[verdict]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerdictSpec {
    /// The risk of a wrong verdict that each family shares.
    alpha: f64,
    /// δ of every comparison, as a fraction.
    margin: f64,
    /// Of each bootstrap.
    pub(crate) resamples: u64,
    /// In the order of the report.
    comparisons: Vec<ComparisonSpec>,
}

/// A comparison, made when the arms it is about are planned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ComparisonSpec {
    arm: String,
    /// An arm, or [`BEST_FROZEN`].
    against: String,
    claim: ClaimKind,
    family: String,
}

impl AblationSpec {
    /// The file of `dataset`.
    ///
    /// # Errors
    /// When there is no such data set (the message lists those there are), or the file is wrong (the message
    /// names file, line and key).
    pub(crate) fn read(site: &Site, dataset: &str) -> Result<Self> {
        let known = site.names("ablations");
        if !known.iter().any(|name| name == dataset) {
            return Err(anyhow!(
                "no ablation of data set `{dataset}`: configs/ablations/{dataset}.toml is missing; there are: {}",
                known.join(", ")
            ));
        }
        let file = site.config(&format!("ablations/{dataset}"))?;
        let shown = site.shown(&file.shown);
        let spec: Self = toml::from_str(&file.text).map_err(|error| anyhow!("{shown}: {error}"))?;
        ensure!(spec.verdict.resamples > 0, "{shown}: verdict.resamples is 0: a bootstrap needs some");
        Ok(Self { shown, ..spec })
    }

    /// The preset `name`, with its phases filled in.
    ///
    /// # Errors
    /// When there is none; the message lists those there are.
    pub(crate) fn preset(&self, name: &str) -> Result<(Vec<String>, Preset)> {
        let preset = self.presets.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.presets.keys().map(String::as_str).collect();
            anyhow!("{} has no preset `{name}`; there are: {}", self.shown, known.join(", "))
        })?;
        Ok((preset.phases.clone().unwrap_or_else(|| self.phases.clone()), preset))
    }

    /// Whether a preset sets this.
    pub(crate) fn is_of_a_preset(&self, set: &str) -> bool {
        self.presets.values().any(|preset| preset.sets.iter().any(|own| own == set))
    }

    /// The comparisons whose arms are all among `planned`. `find` is the arm that is called so, if there is one.
    ///
    /// # Errors
    /// When one names a phase that does not exist, or cannot be judged.
    pub(crate) fn comparisons(
        &self,
        planned: &[Arm],
        find: impl Fn(&str) -> Result<Arm>,
    ) -> Result<Vec<Comparison>> {
        let shown = || format!("{}: verdict.comparisons", self.shown);
        for arm in self.verdict.comparisons.iter().flat_map(|spec| [&spec.arm, &spec.against]) {
            if arm != BEST_FROZEN {
                find(arm).with_context(shown)?;
            }
        }
        let mut comparisons = Vec::new();
        for spec in &self.verdict.comparisons {
            match self.verdict.expand(spec, planned) {
                Some(comparison) => comparisons.push(comparison),
                None if names(planned).any(|name| name == spec.arm) => {
                    eprintln!("not judged: {}", spec.lack(planned))
                }
                None => {}
            }
        }
        self.verdict.check_resamples(&comparisons).with_context(shown)?;
        // Judging nothing tells whether they can be judged: better known before the first cell runs.
        let nothing: Vec<_> = comparisons.iter().map(|c| (c.clone(), Finding::default())).collect();
        judge(&nothing).with_context(shown)?;
        Ok(comparisons)
    }
}

fn names(arms: &[Arm]) -> impl Iterator<Item = &str> {
    arms.iter().map(|arm| arm.name.as_str())
}

impl ComparisonSpec {
    /// What an ablation with the arm lacks to judge it.
    fn lack(&self, planned: &[Arm]) -> String {
        let Self { arm, against, .. } = self;
        let n_frozen = planned.iter().filter(|arm| arm.sweep.is_some()).count();
        let lack = if against == BEST_FROZEN {
            format!("needs two arms frozen-N to choose among and has {n_frozen}")
        } else {
            format!("{against} is not planned")
        };
        format!("{arm} against {against} ({lack})")
    }
}

impl VerdictSpec {
    /// A p-value is never below that of the outermost resample: in a large family too few resamples could
    /// never yield a verdict.
    fn check_resamples(&self, comparisons: &[Comparison]) -> Result<()> {
        let in_family = |one: &Comparison| comparisons.iter().filter(|c| c.family == one.family).count();
        let largest = comparisons.iter().map(in_family).max().unwrap_or(0);
        let needed = (2.0 * largest as f64 / self.alpha).ceil();
        ensure!(
            self.resamples as f64 >= needed,
            "resamples is {}: a family of {largest} at alpha {} needs {needed} at least",
            self.resamples,
            self.alpha
        );
        Ok(())
    }

    /// None when an arm is not planned, or fewer than two frozen ones are to find the best of.
    fn expand(&self, spec: &ComparisonSpec, planned: &[Arm]) -> Option<Comparison> {
        let ComparisonSpec { arm, against, claim, family } = spec;
        let best_of_all = against == BEST_FROZEN;
        let is_opponent = |arm: &&Arm| if best_of_all { arm.sweep.is_some() } else { arm.name == *against };
        let opponents: Vec<String> = planned.iter().filter(is_opponent).map(|arm| arm.name.clone()).collect();
        let enough = opponents.len() >= if best_of_all { 2 } else { 1 };
        (enough && names(planned).any(|name| name == arm)).then(|| Comparison {
            name: format!("{arm} against {against}"),
            arm: arm.clone(),
            against: opponents,
            kind: *claim,
            margin: self.margin,
            alpha: self.alpha,
            family: family.clone(),
        })
    }
}
