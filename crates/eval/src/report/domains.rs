//! What experts do for single domains: how much a larger model gains on each, and whether routers tell them apart.

use std::collections::BTreeMap;

use moelt_schema::{Cell, CellResult};
use serde::{Deserialize, Serialize};

use crate::{
    ArmPurity, Interval, Summary, Sweep,
    report::purity::{interval, main_expert_share},
};

/// Domains of the test split, by the finished cells. Fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domains {
    /// Sizes of the frozen sweep with a finished cell, experts per layer, ascending.
    pub sizes: Vec<usize>,
    /// The size that gains are of, over one expert: the one that validation chooses. None without a sweep.
    pub chosen: Option<usize>,
    /// By gain, the largest first; those without a gain by number.
    pub domains: Vec<DomainEffect>,
    /// The arms with several experts to route to, in the plan's order.
    pub purity: Vec<ArmPurity>,
}

/// What experts do for a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainEffect {
    /// Its number.
    pub domain: u32,
    /// Its name; its number where the data set gives none.
    pub name: String,
    /// Its texts in the test split.
    pub n: usize,
    /// Test accuracy of each of [`Domains::sizes`], over seeds.
    pub accuracy: Vec<Option<Summary>>,
    /// Test accuracy of [`Domains::chosen`] less that of one expert; none where it is one expert, or one of the two is not finished.
    pub gain: Option<DomainGain>,
    /// The share of its tokens that its main expert gets with [`Domains::chosen`] experts, mean over layers, over seeds; none
    /// without a router.
    pub main_expert: Option<Summary>,
}

/// A difference on one domain, paired by seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainGain {
    /// Over the seeds that both sizes have.
    pub gain: Summary,
    /// Its 95 % paired t interval over seeds, the texts taken as given; none of a single seed.
    pub interval: Option<Interval>,
}

impl Domains {
    /// None where the data set has no domains, or neither sweep nor routers say anything of them.
    pub(crate) fn of(
        arms: &[&str],
        finished: &[(&Cell, &CellResult)],
        sweep: Option<&Sweep>,
    ) -> Option<Self> {
        let known = finished.iter().find(|(_, result)| !result.test.per_domain.is_empty())?.1;
        let sizes: Vec<usize> =
            sweep.iter().flat_map(|sweep| &sweep.points).map(|point| point.n_experts).collect();
        let chosen = sweep.map(|sweep| sweep.chosen_on_validation);
        let effect = |domain: u32, n| {
            let name = known.domains.get(domain as usize).cloned();
            let of_size = |size: &usize| accuracies(finished, *size, domain);
            DomainEffect {
                domain,
                name: name.filter(|name| !name.is_empty()).unwrap_or_else(|| domain.to_string()),
                n,
                accuracy: sizes.iter().map(|size| Summary::of(of_size(size).into_values())).collect(),
                gain: chosen
                    .filter(|size| *size != 1)
                    .and_then(|size| DomainGain::of(&of_size(&size), &of_size(&1))),
                main_expert: chosen.and_then(|size| main_expert(finished, size, domain)),
            }
        };
        let mut domains: Vec<DomainEffect> =
            known.test.per_domain.iter().map(|one| effect(one.domain, one.n)).collect();
        domains.sort_by(|a, b| b.order().total_cmp(&a.order()).then(a.domain.cmp(&b.domain)));
        let purity: Vec<ArmPurity> = arms.iter().filter_map(|arm| ArmPurity::of(arm, finished)).collect();
        (!sizes.is_empty() || !purity.is_empty()).then_some(Self { sizes, chosen, domains, purity })
    }
}

impl DomainEffect {
    /// The larger, the further ahead.
    fn order(&self) -> f64 {
        self.gain.map_or(f64::NEG_INFINITY, |gain| gain.gain.mean)
    }
}

impl DomainGain {
    /// `of − over`, by seed.
    fn of(of: &BTreeMap<u64, f64>, over: &BTreeMap<u64, f64>) -> Option<Self> {
        let gain = |(seed, of): (&u64, &f64)| Some(of - over.get(seed)?);
        let gains: Vec<f64> = of.iter().filter_map(gain).collect();
        Some(Self { gain: Summary::of(gains.iter().copied())?, interval: interval(&gains) })
    }
}

/// Test accuracy on a domain with this many experts, by seed.
fn accuracies(finished: &[(&Cell, &CellResult)], size: usize, domain: u32) -> BTreeMap<u64, f64> {
    let accuracy = |result: &CellResult| {
        let one = result.test.per_domain.iter().find(|one| one.domain == domain)?;
        Some((result.seed, one.accuracy))
    };
    of_size(finished, size).filter_map(accuracy).collect()
}

fn main_expert(finished: &[(&Cell, &CellResult)], size: usize, domain: u32) -> Option<Summary> {
    let share = |result: &CellResult| {
        main_expert_share(result.routing.iter().find(|routing| routing.domain == domain)?)
    };
    Summary::of(of_size(finished, size).filter_map(share))
}

/// The cells of the frozen sweep with this many experts.
fn of_size<'a>(finished: &'a [(&Cell, &CellResult)], size: usize) -> impl Iterator<Item = &'a CellResult> {
    finished.iter().filter(move |(cell, _)| cell.sweep == Some(size)).map(|(_, result)| *result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Report,
        fixtures::{NOTHING, finished, on_domains, outcomes_of, plan, result, routed},
    };

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    /// One and four experts with two seeds; the larger is better on domain 1 alone.
    fn domains() -> Domains {
        let plan = plan(&["frozen-1", "frozen-4"], 2);
        let accuracies = [[0.80, 0.60], [0.82, 0.62], [0.80, 0.90], [0.81, 0.94]];
        let cell = |(cell, of): (_, &[f64; 2])| on_domains(result(cell, (of[0] + of[1]) / 2.0), of);
        let mut results: Vec<CellResult> = plan.cells.iter().zip(&accuracies).map(cell).collect();
        results.iter_mut().for_each(|result| result.domains = vec!["books".into(), String::new()]);
        results[2].routing = routed(&[&[&[30.0, 10.0]], &[&[0.0, 60.0]]]);
        results[3].routing = routed(&[&[&[20.0, 20.0]], &[&[0.0, 60.0]]]);
        Report::new(&plan, &outcomes_of(&plan, results), &NOTHING, plan.code).unwrap().domains.unwrap()
    }

    #[test]
    fn gains_are_paired_by_seed_and_sorted() {
        let Domains { sizes, chosen, domains, .. } = domains();
        assert_eq!((sizes, chosen), (vec![1, 4], Some(4)));
        let names: Vec<_> = domains.iter().map(|one| (one.domain, one.name.as_str(), one.n)).collect();
        assert_eq!(names, [(1, "1", 50), (0, "books", 50)], "the larger gain first");
        let gain = domains[0].gain.unwrap();
        let interval = gain.interval.unwrap();
        // 0.30 and 0.32: 0.31 ± t₀.₉₇₅(1) · 0.01.
        assert!(close(gain.gain.mean, 0.31) && close(interval.lower, 0.31 - 0.127_062_047_36), "{gain:?}");
        // 0 and −0.01.
        assert!(close(domains[1].gain.unwrap().gain.mean, -0.005));
        let means: Vec<f64> = domains[0].accuracy.iter().map(|one| one.unwrap().mean).collect();
        assert!(close(means[0], 0.61) && close(means[1], 0.92));
    }

    #[test]
    fn routing_is_told_by_domain_and_arm() {
        let Domains { domains, purity, .. } = domains();
        assert!(close(domains[0].main_expert.unwrap().mean, 1.0));
        assert!(close(domains[1].main_expert.unwrap().mean, (0.75 + 0.5) / 2.0));
        let [frozen] = purity.as_slice() else { panic!("{purity:?}") };
        // (30 + 60) / 100 and (20 + 60) / 100; domain 1 has 60 of 100 tokens.
        assert_eq!(frozen.arm, "frozen-4");
        assert!(close(frozen.purity.mean, 0.85) && close(frozen.one_expert.mean, 0.6));
    }

    #[test]
    fn without_domains_there_is_nothing() {
        let sweep = plan(&["frozen-1", "frozen-4"], 2);
        let none = Report::new(&sweep, &finished(&sweep, &[0.8; 4]), &NOTHING, sweep.code).unwrap();
        assert_eq!(none.domains, None);
        assert!(!none.to_markdown().contains("## Domains"));
        // Domains, but neither a sweep nor a router.
        let dense = plan(&["dense"], 1);
        let outcomes = outcomes_of(&dense, vec![on_domains(result(&dense.cells[0], 0.8), &[0.8, 0.8])]);
        assert_eq!(Report::new(&dense, &outcomes, &NOTHING, dense.code).unwrap().domains, None);
    }

    /// Where validation chooses one expert there is no gain, and domains stand in their own order.
    #[test]
    fn one_expert_gains_nothing_over_itself() {
        let plan = plan(&["frozen-1", "frozen-4"], 1);
        let results = vec![
            on_domains(result(&plan.cells[0], 0.85), &[0.8, 0.9]),
            on_domains(result(&plan.cells[1], 0.70), &[0.7, 0.7]),
        ];
        let report = Report::new(&plan, &outcomes_of(&plan, results), &NOTHING, plan.code).unwrap();
        let domains = report.domains.unwrap();
        assert_eq!(domains.chosen, Some(1));
        assert_eq!(
            domains.domains.iter().map(|one| (one.domain, one.gain)).collect::<Vec<_>>(),
            [(0, None), (1, None)]
        );
    }
}
