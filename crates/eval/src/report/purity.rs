//! How far experts serve domains of their own.

use moelt_schema::{Cell, CellResult, DomainRouting};
use serde::{Deserialize, Serialize};

use crate::{Interval, PairedT, Summary};

/// Confidence of intervals over seeds.
const LEVEL: f64 = 0.95;

/// How pure the experts of an arm are, over its seeds: the share of the tokens that go to an expert and are of the domain which that
/// expert gets most of (Manning et al. 2008, *Introduction to Information Retrieval*, §16.3, with experts for clusters). Mean over layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmPurity {
    /// The arm.
    pub arm: String,
    /// `Σ_e max_d T(d, e) / Σ_e Σ_d T(d, e)` with the tokens `T` of domain `d` that went to expert `e`; a fraction, 1 where every expert
    /// serves a single domain.
    pub purity: Summary,
    /// Its 95 % t interval over seeds; none of a single one.
    pub interval: Option<Interval>,
    /// What one expert would have: the share of the domain with the most tokens.
    pub one_expert: Summary,
}

impl ArmPurity {
    /// Of the finished cells of an arm; none where no layer has a router, or each has a single expert.
    pub(crate) fn of(arm: &str, finished: &[(&Cell, &CellResult)]) -> Option<Self> {
        let of_arm = finished.iter().filter(|(cell, _)| cell.arm == arm);
        let cells: Vec<(f64, f64)> =
            of_arm.filter_map(|(_, result)| purity(several_experts(result)?)).collect();
        let (purities, one_expert): (Vec<f64>, Vec<f64>) = cells.into_iter().unzip();
        Some(Self {
            arm: arm.to_owned(),
            purity: Summary::of(purities.iter().copied())?,
            interval: interval(&purities),
            one_expert: Summary::of(one_expert)?,
        })
    }
}

/// The 95 % t interval of a mean over seeds; none of a single one.
pub(crate) fn interval(values: &[f64]) -> Option<Interval> {
    Some(PairedT::of(values, LEVEL).ok()?.interval)
}

/// The share of a domain's tokens that its main expert gets, mean over layers; none without tokens.
pub(crate) fn main_expert_share(routing: &DomainRouting) -> Option<f64> {
    let share = |tokens: &Vec<f64>| fraction(largest(tokens.iter().copied()), tokens.iter().sum());
    mean(routing.tokens_per_expert.iter().filter_map(share))
}

/// What a cell's routers did, unless each had one expert to send to.
pub(crate) fn several_experts(result: &CellResult) -> Option<&[DomainRouting]> {
    let mut layers = result.routing.iter().flat_map(|domain| &domain.tokens_per_expert);
    layers.any(|experts| experts.len() > 1).then_some(&result.routing)
}

/// Purity of the experts, and what one expert would have; mean over layers with tokens, none without any.
fn purity(routing: &[DomainRouting]) -> Option<(f64, f64)> {
    let n_layers = routing.iter().map(|domain| domain.tokens_per_expert.len()).max()?;
    let (purities, one_expert): (Vec<f64>, Vec<f64>) =
        (0..n_layers).filter_map(|layer| layer_purity(routing, layer)).unzip();
    Some((mean(purities.into_iter())?, mean(one_expert.into_iter())?))
}

fn layer_purity(routing: &[DomainRouting], layer: usize) -> Option<(f64, f64)> {
    let domains: Vec<&Vec<f64>> =
        routing.iter().filter_map(|domain| domain.tokens_per_expert.get(layer)).collect();
    let n_experts = domains.iter().map(|tokens| tokens.len()).max()?;
    let of_expert = |expert: usize| domains.iter().filter_map(move |tokens| tokens.get(expert).copied());
    let own: f64 = (0..n_experts).map(|expert| largest(of_expert(expert))).sum();
    let totals = || domains.iter().map(|tokens| tokens.iter().sum::<f64>());
    let all = totals().sum();
    Some((fraction(own, all)?, fraction(largest(totals()), all)?))
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

/// None of nothing.
fn fraction(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    Some(Summary::of(values)?.mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{plan, result, routed};

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-12
    }

    /// Two layers: in the first the experts' largest domains have 30 and 40 of 100 tokens; in the second each expert has one domain.
    #[test]
    fn purity_equals_hand_worked_values() {
        let routing = routed(&[&[&[30.0, 10.0], &[40.0, 0.0]], &[&[20.0, 40.0], &[0.0, 60.0]]]);
        let (found, one_expert) = purity(&routing).unwrap();
        assert!(close(found, (0.7 + 1.0) / 2.0), "{found}");
        assert!(close(one_expert, 0.6), "domain 1 has 60 of 100 tokens: {one_expert}");
        // (30/40 + 40/40) / 2 and (40/60 + 60/60) / 2.
        assert!(close(main_expert_share(&routing[0]).unwrap(), 0.875));
        assert!(close(main_expert_share(&routing[1]).unwrap(), 5.0 / 6.0));
    }

    #[test]
    fn layers_without_tokens_do_not_count() {
        let routing = routed(&[&[&[0.0, 0.0], &[3.0, 1.0]], &[&[0.0, 0.0], &[0.0, 4.0]]]);
        assert_eq!(purity(&routing), Some((7.0 / 8.0, 0.5)));
        assert_eq!(main_expert_share(&routing[0]), Some(0.75));
        assert_eq!((purity(&routed(&[&[&[0.0]]])), purity(&[])), (None, None));
    }

    /// 0.7 and 0.9: 0.8 ± t₀.₉₇₅(1) · 0.1 = 0.8 ± 1.2706.
    #[test]
    fn an_arm_has_mean_and_interval_over_seeds() {
        let plan = plan(&["moe", "rule"], 2);
        let mut results: Vec<CellResult> = plan.cells.iter().map(|cell| result(cell, 0.9)).collect();
        results[0].routing = routed(&[&[&[50.0]], &[&[50.0]]]);
        results[2].routing = routed(&[&[&[40.0, 20.0]], &[&[10.0, 30.0]]]);
        results[3].routing = routed(&[&[&[45.0, 5.0]], &[&[5.0, 45.0]]]);
        let finished: Vec<(&Cell, &CellResult)> = plan.cells.iter().zip(&results).collect();
        assert_eq!(ArmPurity::of("moe", &finished), None, "a single expert is no choice");
        let found = ArmPurity::of("rule", &finished).unwrap();
        let interval = found.interval.unwrap();
        assert!(close(found.purity.mean, 0.8) && close(found.one_expert.mean, 0.55), "{found:?}");
        assert!((interval.lower - (0.8 - 1.270_620_473_6)).abs() < 1e-9, "{interval:?}");
        assert_eq!(ArmPurity::of("rule", &finished[..3]).unwrap().interval, None);
    }
}
