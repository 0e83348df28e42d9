//! What an adaptive arm costs and saves against the frozen sweep.

use std::collections::BTreeSet;

use moelt_schema::AblationPlan;
use serde::{Deserialize, Serialize};

use crate::{ArmReport, ArmResults, Compared, Interval, Sweep};

/// An arm against the best frozen size, chosen on selection.
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
    /// Training by that of one run of the chosen frozen size.
    pub by_one_run: Ratios,
    /// Training by that of one seed's whole sweep, which is what the choice costs.
    pub by_sweep: Ratios,
    /// Arms whose runs this one builds on: their training is not counted here.
    pub builds_on: Vec<String>,
}

/// The arm's mean a cell, divided by the other's; none when that is 0 or not known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ratios {
    /// Of floating-point operations.
    pub flops: Option<f64>,
    /// Of wall-clock seconds.
    pub seconds: Option<f64>,
}

impl Cost {
    /// None when the comparison is not with the best of several, or there is nothing to compare.
    pub(crate) fn of(
        compared: &Compared,
        plan: &AblationPlan,
        arms: &[ArmReport],
        sweep: Option<&Sweep>,
    ) -> Option<Self> {
        if !compared.judged.missing.is_empty() {
            return None; // Means over other seeds are no ratio.
        }
        let results = |name: &str| arms.iter().find(|arm| arm.arm == name)?.results.as_ref();
        let (declared, chosen) = (&compared.judged.declared, compared.chosen.as_ref()?);
        let arm = results(&declared.arm)?;
        let one = results(&format!("frozen-{}", chosen.n_experts))?;
        let all: Option<Vec<&ArmResults>> = declared.against.iter().map(|name| results(name)).collect();
        let close = sweep.and_then(|sweep| results(&format!("frozen-{}", sweep.smallest_close)));
        let Interval { level, lower, upper } = compared.judged.interval?;
        Some(Self {
            regret_pp: -100.0 * compared.judged.difference?,
            interval_pp: Interval { level, lower: -100.0 * upper, upper: -100.0 * lower },
            size_ratio: close.and_then(|close| ratio(arm.n_experts.mean, close.n_experts.mean)),
            by_one_run: Ratios::of(arm, &[one]),
            by_sweep: Ratios::of(arm, &all?),
            builds_on: builds_on(plan, &declared.arm),
        })
    }
}

impl Ratios {
    fn of(arm: &ArmResults, others: &[&ArmResults]) -> Self {
        let by =
            |cost: fn(&ArmResults) -> f64| ratio(cost(arm), others.iter().map(|other| cost(other)).sum());
        Self { flops: by(|results| results.flops.mean), seconds: by(|results| results.seconds.mean) }
    }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The arms of the cells that those of `arm` need.
fn builds_on(plan: &AblationPlan, arm: &str) -> Vec<String> {
    let own = plan.cells.iter().filter(|cell| cell.arm == arm);
    let needed: BTreeSet<&String> = own.flat_map(|cell| &cell.needs).collect();
    let arms = plan.cells.iter().filter(|cell| needed.contains(&cell.id)).map(|cell| cell.arm.clone());
    arms.collect::<BTreeSet<String>>().into_iter().collect()
}
