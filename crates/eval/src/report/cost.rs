//! What an arm costs and saves: against the frozen sweep, and how much training both sides of a comparison had.

use moelt_schema::Metric;
use serde::{Deserialize, Serialize};

use crate::{ArmReport, ArmResults, Compared, Interval, Sweep};

/// An arm against the best frozen size, chosen on validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Best frozen − arm, percentage points of accuracy.
    pub regret_pp: f64,
    /// Its interval, at the level of the comparison's.
    pub interval_pp: Interval,
    /// Experts at the end, over all layers, by those of the smallest frozen size that is about as good as
    /// the best ([`Sweep::smallest_close`]).
    pub size_ratio: Option<f64>,
    /// Its own training by that of one run of the chosen frozen size.
    pub by_one_run: Ratios,
    /// Its own training by that of one seed's whole sweep, which is what the choice costs.
    pub by_sweep: Ratios,
    /// Its training and that of every run it builds on, by that of one seed's whole sweep.
    pub by_sweep_with_needs: Ratios,
    /// Runs that a cell builds on, mean over the seeds: those that `by_one_run` and `by_sweep` leave out.
    pub needed_runs: Option<f64>,
    /// Arms of these runs.
    pub builds_on: Vec<String>,
}

/// How much training stands behind the arm of a comparison, divided by that of its opponent (the size that was chosen
/// of several): whether like is compared with like.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Optimizer steps, those of the weights that a run started from included.
    pub steps: Option<f64>,
    /// Floating-point operations that were computed, those of inherited weights and of teachers included.
    pub flops: Option<f64>,
}

/// The arm's mean per cell, divided by the other's; none when that is 0 or not known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratios {
    /// Of floating-point operations that were computed.
    pub flops: Option<f64>,
    /// Of wall-clock seconds.
    pub seconds: Option<f64>,
}

/// Mean operations and seconds of a cell.
struct Spent {
    flops: Option<f64>,
    seconds: Option<f64>,
}

impl Cost {
    /// None when the comparison is not in accuracy with the best of several, or there is nothing to compare.
    pub(crate) fn of(compared: &Compared, arms: &[ArmReport], sweep: Option<&Sweep>) -> Option<Self> {
        if !compared.judged.missing.is_empty() {
            return None; // Means over other seeds are no ratio.
        }
        let (declared, chosen) = (&compared.judged.declared, compared.chosen.as_ref()?);
        if declared.metric != Metric::Accuracy {
            return None;
        }
        let arm = results(arms, &declared.arm)?;
        let one = results(arms, &frozen(chosen.n_experts))?;
        let all: Option<Vec<&ArmResults>> = declared.against.iter().map(|name| results(arms, name)).collect();
        let all = all?;
        let close = sweep.and_then(|sweep| results(arms, &frozen(sweep.smallest_close)));
        let Interval { level, lower, upper } = compared.judged.interval?;
        let needs = arm.with_needs.as_ref();
        Some(Self {
            regret_pp: -100.0 * compared.judged.difference?,
            interval_pp: Interval { level, lower: -100.0 * upper, upper: -100.0 * lower },
            size_ratio: close.and_then(|close| ratio(arm.n_experts.mean, close.n_experts.mean)),
            by_one_run: Spent::own(arm).by(&[one]),
            by_sweep: Spent::own(arm).by(&all),
            by_sweep_with_needs: Spent::with_needs(arm).by(&all),
            needed_runs: needs.map(|needs| needs.runs.mean),
            builds_on: needs.map_or(Vec::new(), |needs| needs.arms.clone()),
        })
    }
}

impl Spent {
    fn own(arm: &ArmResults) -> Self {
        Self { flops: Some(arm.flops.mean), seconds: Some(arm.seconds.mean) }
    }

    fn with_needs(arm: &ArmResults) -> Self {
        let needs = arm.with_needs.as_ref();
        Self { flops: needs.map(|all| all.flops.mean), seconds: needs.map(|all| all.seconds.mean) }
    }

    /// Divided by what all of `others` spent themselves.
    fn by(&self, others: &[&ArmResults]) -> Ratios {
        let sum = |cost: fn(&ArmResults) -> f64| others.iter().map(|other| cost(other)).sum();
        Ratios {
            flops: self.flops.and_then(|flops| ratio(flops, sum(|other| other.flops.mean))),
            seconds: self.seconds.and_then(|seconds| ratio(seconds, sum(|other| other.seconds.mean))),
        }
    }
}

impl Training {
    /// None when there is nothing to compare.
    pub(crate) fn of(compared: &Compared, arms: &[ArmReport]) -> Option<Self> {
        if !compared.judged.missing.is_empty() {
            return None; // Means over other seeds are no ratio.
        }
        let declared = &compared.judged.declared;
        let opponent = match (&compared.chosen, declared.against.as_slice()) {
            (Some(chosen), _) => frozen(chosen.n_experts),
            (None, [opponent]) => opponent.clone(),
            (None, _) => return None,
        };
        let (arm, opponent) = (results(arms, &declared.arm)?, results(arms, &opponent)?);
        let flops = |arm: &ArmResults| arm.training_flops.as_ref().map(|flops| flops.mean);
        Some(Self {
            steps: ratio(arm.steps.mean, opponent.steps.mean),
            flops: flops(arm).zip(flops(opponent)).and_then(|(a, b)| ratio(a, b)),
        })
    }
}

/// The numbers of an arm.
fn results<'a>(arms: &'a [ArmReport], name: &str) -> Option<&'a ArmResults> {
    arms.iter().find(|arm| arm.arm == name)?.results.as_ref()
}

/// The arm with this size.
fn frozen(n_experts: usize) -> String {
    format!("frozen-{n_experts}")
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}
