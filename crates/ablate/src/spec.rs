//! `configs/ablations/<dataset>.toml`: which phases an ablation has unless told otherwise, and what is
//! judged at its end.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use moelt_eval::{Finding, judge};
use moelt_schema::{ClaimKind, CollapseRule, Comparison, Metric};
use serde::Deserialize;

use crate::{Site, arm::Arm};

/// Stands, as an arm, for every planned one whose experts may change: each has the comparison.
const ADAPTIVE: &str = "adaptive";

/// Stands, as an opponent, for the best of the planned arms `frozen-N`.
const BEST_FROZEN: &str = "best-frozen";

/// Stands for the one whose size is nearest to half of the largest, the larger of two: what one takes without looking.
const MIDDLE_FROZEN: &str = "middle-frozen";

/// Stands for the largest of them.
const LARGEST_FROZEN: &str = "largest-frozen";

const STAND_INS: [&str; 4] = [ADAPTIVE, BEST_FROZEN, MIDDLE_FROZEN, LARGEST_FROZEN];

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
    /// Another file of `configs/datasets` than that of the data set.
    pub(crate) recipe: Option<String>,
    /// `key=value`, as for `--set`, in every cell.
    #[serde(default)]
    pub(crate) sets: Vec<String>,
    /// The same in the cells of single arms, after those.
    #[serde(default)]
    pub(crate) arm_sets: BTreeMap<String, Vec<String>>,
}

/// The section `[verdict]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerdictSpec {
    /// The risk of a wrong verdict that each family shares.
    alpha: f64,
    /// δ of every comparison that has none of its own, as a fraction.
    margin: f64,
    /// What an expert costs where utilities are compared, a fraction of accuracy.
    #[serde(default = "default_price")]
    price: f64,
    /// Of each bootstrap.
    pub(crate) resamples: u64,
    /// The table `[verdict.collapse]`; what it leaves out has its default.
    #[serde(default)]
    pub(crate) collapse: CollapseRule,
    /// In the order of the report.
    comparisons: Vec<ComparisonSpec>,
}

/// A comparison, made when the arms it is about are planned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ComparisonSpec {
    /// An arm, or [`ADAPTIVE`].
    arm: String,
    /// An arm, or one of the frozen sizes that [`STAND_INS`] name.
    against: String,
    claim: ClaimKind,
    #[serde(default)]
    metric: MetricName,
    /// δ, in the unit of the metric; of utilities 0 unless it is said.
    margin: Option<f64>,
    /// Without one, the arm's own: the questions that are asked of it.
    family: Option<String>,
}

/// What a comparison is about, as a file names it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MetricName {
    #[default]
    Accuracy,
    Utility,
    Loss,
    MacroF1,
    Experts,
    TrainingFlops,
    StreamAccuracy,
    Forgetting,
    InferenceFlops,
}

/// 0.1 percentage points.
fn default_price() -> f64 {
    0.001
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
        spec.verdict.collapse.check().map_err(|message| anyhow!("{shown}: verdict.{message}"))?;
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

    /// The comparisons whose arms are all among `planned`. `find` is the arm that is called so, if there is one.
    ///
    /// # Errors
    /// When one names a phase that does not exist, or cannot be judged.
    pub(crate) fn comparisons(
        &self,
        planned: &[Planned],
        find: impl Fn(&str) -> Result<Arm>,
    ) -> Result<Vec<Comparison>> {
        let shown = || format!("{}: verdict.comparisons", self.shown);
        for arm in self.verdict.comparisons.iter().flat_map(|spec| [&spec.arm, &spec.against]) {
            if !STAND_INS.contains(&arm.as_str()) {
                find(arm).with_context(shown)?;
            }
        }
        let mut comparisons = Vec::new();
        for spec in &self.verdict.comparisons {
            let is_meant =
                |one: &&Planned| if spec.arm == ADAPTIVE { one.adapts } else { one.arm.name == spec.arm };
            let meant: Vec<&Planned> = planned.iter().filter(is_meant).collect();
            match self.verdict.opponents(spec, planned) {
                Some(against) => {
                    let judged = meant.iter().filter(|one| !against.contains(&one.arm.name));
                    let comparison = |one: &&Planned| self.verdict.comparison(spec, &one.arm.name, &against);
                    comparisons.extend(judged.map(comparison));
                }
                None if meant.is_empty() => {}
                None => crate::tell!("not judged: {}", spec.lack(planned)),
            }
        }
        self.verdict.check_resamples(&comparisons).with_context(shown)?;
        // Judging nothing tells whether they can be judged: better known before the first cell runs.
        let nothing: Vec<_> = comparisons.iter().map(|c| (c.clone(), Finding::default())).collect();
        judge(&nothing, &self.verdict.collapse).with_context(shown)?;
        Ok(comparisons)
    }
}

/// An arm that is planned.
pub(crate) struct Planned {
    pub(crate) arm: Arm,
    /// Whether its experts may change.
    pub(crate) adapts: bool,
}

/// The arms of the frozen sweep, sizes ascending.
fn sweep(planned: &[Planned]) -> Vec<&Arm> {
    let mut sweep: Vec<&Arm> = planned.iter().map(|one| &one.arm).filter(|arm| arm.sweep.is_some()).collect();
    sweep.sort_by_key(|arm| arm.sweep);
    sweep
}

/// See [`MIDDLE_FROZEN`].
fn middle<'a>(sweep: &[&'a Arm]) -> Option<&'a Arm> {
    let largest = sweep.iter().filter_map(|arm| arm.sweep).max()?;
    let from_half = |arm: &&&Arm| arm.sweep.map(|size| (2 * size).abs_diff(largest));
    sweep.iter().rev().min_by_key(from_half).copied()
}

impl ComparisonSpec {
    /// What an ablation with the arm lacks to judge it.
    fn lack(&self, planned: &[Planned]) -> String {
        let Self { arm, against, .. } = self;
        let arm = if arm == ADAPTIVE { "arms whose experts change" } else { arm };
        let n_frozen = sweep(planned).len();
        let lack = if STAND_INS.contains(&against.as_str()) {
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

    /// None when the opponent is not planned, or fewer than two frozen sizes are there to choose among.
    fn opponents(&self, spec: &ComparisonSpec, planned: &[Planned]) -> Option<Vec<String>> {
        let sweep = sweep(planned);
        let several = (sweep.len() > 1).then_some(&sweep);
        let opponents: Vec<&Arm> = match spec.against.as_str() {
            BEST_FROZEN => several?.clone(),
            MIDDLE_FROZEN => vec![middle(several?)?],
            LARGEST_FROZEN => vec![*several?.last()?],
            name => vec![planned.iter().map(|one| &one.arm).find(|arm| arm.name == name)?],
        };
        Some(opponents.into_iter().map(|arm| arm.name.clone()).collect())
    }

    fn comparison(&self, spec: &ComparisonSpec, arm: &str, against: &[String]) -> Comparison {
        let metric = match spec.metric {
            MetricName::Accuracy => Metric::Accuracy,
            MetricName::Utility => Metric::Utility { price: self.price },
            MetricName::Loss => Metric::Loss,
            MetricName::MacroF1 => Metric::MacroF1,
            MetricName::Experts => Metric::Experts,
            MetricName::TrainingFlops => Metric::TrainingFlops,
            MetricName::StreamAccuracy => Metric::StreamAccuracy,
            MetricName::Forgetting => Metric::Forgetting,
            MetricName::InferenceFlops => Metric::InferenceFlops,
        };
        let opponent = if against.len() > 1 { BEST_FROZEN } else { &against[0] };
        let about = if metric == Metric::Accuracy { String::new() } else { format!(" in {}", metric.name()) };
        let margin = if matches!(metric, Metric::Utility { .. }) { 0.0 } else { self.margin };
        Comparison {
            name: format!("{arm} against {opponent}{about}"),
            metric,
            arm: arm.to_owned(),
            kind: spec.claim,
            margin: spec.margin.unwrap_or(margin),
            alpha: self.alpha,
            family: spec.family.clone().unwrap_or_else(|| arm.to_owned()),
            against: against.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_names_of_the_docs() {
        let named = |name: &str| {
            let verdict: VerdictSpec = toml::from_str(&format!(
                "alpha = 0.05\nmargin = 0.005\nresamples = 10\n[[comparisons]]\narm = \"a\"\nagainst = \"b\"\n\
                 claim = \"superiority\"\nmetric = \"{name}\""
            ))
            .unwrap();
            verdict.comparison(&verdict.comparisons[0], "a", &["b".to_owned()])
        };
        for (name, metric) in [
            ("stream_accuracy", Metric::StreamAccuracy),
            ("forgetting", Metric::Forgetting),
            ("inference_flops", Metric::InferenceFlops),
        ] {
            assert_eq!(named(name).metric, metric);
        }
        assert_eq!(named("stream_accuracy").name, "a against b in stream accuracy");
    }

    /// What is asked for stands nearest to half of the largest; it is never the largest itself.
    #[test]
    fn the_middle_size_is_half_of_the_largest() {
        let of = |sizes: &[usize]| {
            let arm = |n: &usize| Arm { name: format!("frozen-{n}"), file: String::new(), sweep: Some(*n) };
            let arms: Vec<Arm> = sizes.iter().map(arm).collect();
            middle(&arms.iter().collect::<Vec<_>>()).and_then(|arm| arm.sweep)
        };
        assert_eq!(of(&[1, 2, 4, 8, 12, 16, 24]), Some(12));
        assert_eq!(of(&[2, 4, 8, 12]), Some(8), "of two as near the larger");
        assert_eq!([of(&[1, 4]), of(&[8]), of(&[])], [Some(1), Some(8), None]);
    }
}
