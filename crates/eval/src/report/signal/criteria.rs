//! What growth criteria, entropies and the loss know of the measured gain of growing.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{LayerEvidence, Move};
use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Decided, Point, RankCorrelation};

/// What one criterion knows of moves that grow. The gain of a move is the mean of its two measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriterionSignal {
    /// Its name, as in the evidence.
    pub criterion: String,
    /// Over all records: it may tell small networks from large ones, and early steps from late ones.
    pub overall: RankCorrelation,
    /// Among records of one number of experts at one step alone: what is left when size and time are known.
    pub within: RankCorrelation,
    /// Among records of one number of experts, fewest first.
    pub by_size: Vec<SizeSignal>,
}

/// What a criterion knows where a layer has so many experts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeSignal {
    /// Experts of the layer.
    pub n_experts: usize,
    /// With the gain of growing.
    pub correlation: RankCorrelation,
}

/// Growing a layer whose criteria are known.
struct Record {
    cell: usize,
    step: u64,
    n_experts: usize,
    gain: f64,
    criteria: BTreeMap<&'static str, f64>,
}

/// Each criterion, in the order of their names; none where no run looked at criteria.
pub(super) fn criteria(runs: &[Vec<Decided>], bootstrap: &Bootstrap) -> Vec<CriterionSignal> {
    let of_run = |(cell, decisions): (usize, &Vec<Decided>)| {
        decisions.iter().flat_map(|decided| records(cell, decided)).collect::<Vec<Record>>()
    };
    let records: Vec<Record> = runs.iter().enumerate().flat_map(of_run).collect();
    let names: BTreeSet<&'static str> =
        records.iter().flat_map(|record| record.criteria.keys().copied()).collect();
    names.into_iter().map(|name| CriterionSignal::of(name, &records, bootstrap)).collect()
}

fn records(cell: usize, decided: &Decided) -> Vec<Record> {
    let of_layer = |layer: &LayerEvidence| {
        let criteria = known(layer);
        let grows = layer.trials.iter().filter(|trial| matches!(trial.candidate, Move::Grow | Move::Double));
        let gains = grows.filter_map(|trial| {
            let effect = trial.effect.as_ref()?;
            let gain = (effect.gain? + effect.replicate?.gain?) / 2.0;
            Some(gain).filter(|gain| gain.is_finite())
        });
        let record = |gain| Record {
            cell,
            step: decided.step,
            n_experts: layer.n_experts,
            gain,
            criteria: criteria.clone(),
        };
        gains.map(record).collect::<Vec<Record>>()
    };
    decided.evidence.layers.iter().filter(|layer| layer.criteria.is_some()).flat_map(of_layer).collect()
}

/// The criteria of a layer, and what its router shows beside them.
fn known(layer: &LayerEvidence) -> BTreeMap<&'static str, f64> {
    let criteria = layer.criteria.iter().flat_map(|criteria| criteria.named());
    let entropies = [("routing_entropy", layer.routing_entropy), ("load_entropy", layer.load_entropy)];
    let entropies = entropies.into_iter().filter_map(|(name, value)| Some((name, value?)));
    criteria.chain(entropies).filter(|(_, value)| value.is_finite()).collect()
}

impl CriterionSignal {
    fn of(name: &'static str, records: &[Record], bootstrap: &Bootstrap) -> Self {
        let (mut by_size, mut strata) = (BTreeMap::<_, Vec<Point>>::new(), BTreeMap::<_, Vec<Point>>::new());
        for record in records {
            let Some(x) = record.criteria.get(name) else { continue };
            let point = Point { cell: record.cell, x: *x, y: record.gain };
            by_size.entry(record.n_experts).or_default().push(point);
            strata.entry((record.n_experts, record.step)).or_default().push(point);
        }
        let all: Vec<Point> = by_size.values().flatten().copied().collect();
        let of_size = |(n_experts, points): (&usize, &Vec<Point>)| SizeSignal {
            n_experts: *n_experts,
            correlation: RankCorrelation::of(points, bootstrap),
        };
        Self {
            criterion: name.to_owned(),
            overall: RankCorrelation::of(&all, bootstrap),
            within: RankCorrelation::within(&strata.into_values().collect::<Vec<_>>(), bootstrap),
            by_size: by_size.iter().map(of_size).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::{EffectEvidence, Evidence, GrowthCriteria, LayerId, ReplicateEvidence};

    use super::*;

    /// A layer of so many experts where growing gained `gain`, in halves.
    fn decided(step: u64, n_experts: usize, loss: f64, conflict: f64, gain: f64) -> Decided {
        let mut layer = LayerEvidence::new(LayerId(0), n_experts);
        layer.routing_entropy = Some(0.5);
        layer.criteria = Some(GrowthCriteria {
            loss,
            gradmax: 0.0,
            split_direction: 0.0,
            gradient_conflict: conflict,
            gradient_variance: 0.0,
            expressivity_gap: 0.0,
            split_gain: 0.0,
        });
        layer.trial_mut(Move::Grow).effect = Some(EffectEvidence {
            steps: 1,
            loss_increase: None,
            gain: Some(gain - 0.25),
            standard_error: None,
            replicate: Some(ReplicateEvidence { gain: Some(gain + 0.25), standard_error: None }),
        });
        layer.trial_mut(Move::Prune).effect = layer.trial_mut(Move::Grow).effect;
        Decided { step, evidence: Evidence { layers: vec![layer], ..Evidence::default() } }
    }

    /// The loss tells sizes from one another and nothing else; the conflict ranks within each.
    #[test]
    fn what_only_knows_the_size_knows_nothing_within_it() {
        let run = |shift: f64| {
            let of_size = |n: usize, loss: f64, base: f64| {
                [0.1, 0.2, 0.3].map(|more| decided(10, n, loss, base + more + shift, base + more + shift))
            };
            [of_size(1, 2.0, 5.0), of_size(4, 1.0, 0.0)].concat()
        };
        let found = criteria(&[run(0.01), run(0.02), run(0.03)], &RankCorrelation::BOOTSTRAP);
        let of = |name: &str| found.iter().find(|one| one.criterion == name).unwrap();
        let (loss, conflict) = (of("loss"), of("gradient_conflict"));
        assert!(loss.overall.rho.unwrap() > 0.8 && loss.within.rho.is_none(), "{loss:?}");
        assert!((conflict.within.rho.unwrap() - 1.0).abs() < 1e-12, "{conflict:?}");
        assert_eq!(conflict.by_size.iter().map(|size| size.n_experts).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(conflict.by_size[1].correlation.records, 9, "moves that grow alone");
        assert_eq!(found.len(), 8, "seven criteria and the entropy that is known");
    }

    #[test]
    fn without_criteria_there_is_nothing() {
        let mut plain = decided(10, 1, 2.0, 0.1, 0.5);
        plain.evidence.layers[0].criteria = None;
        assert_eq!(criteria(&[vec![plain]], &RankCorrelation::BOOTSTRAP), []);
    }
}
