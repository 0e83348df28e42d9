//! Measured effects as a head learns them, read from what a decision wrote down: the log of one run teaches the
//! head of another, and a head learns its own measurements the same way.

use moelt_schema::{EffectRecord, Evidence, LayerId, MAX_STEPS, Move};

use crate::Features;

/// The moves whose effect the decision at `step` measured, as far as it is a number. What left a race is there
/// with the effect that it had then: it lost, and a head that never saw losers would expect too much. `run` is
/// [`EffectRecord::run`].
///
/// ```
/// use moelt_schema::{Evidence, Move};
/// let nothing = Evidence::default().with("layer0.n_experts", 4.0);
/// assert_eq!(moelt_control::records(1, 200, &nothing), []);
/// ```
pub fn records(run: u32, step: u64, evidence: &Evidence) -> Vec<EffectRecord> {
    let layers = evidence.0.keys().filter_map(|name| layer_of(name, "feature.progress"));
    let moves = layers.flat_map(|layer| Move::ALL.map(|candidate| (layer, candidate)));
    moves.filter_map(|(layer, candidate)| record(run, step, evidence, layer, candidate)).collect()
}

/// The gain that was measured with `record`, nats, by the cost of an expert in its run. `evidence` is what `record` was
/// read from; none when it holds no such gain.
pub fn measured_gain(record: &EffectRecord, evidence: &Evidence) -> Option<f64> {
    let EffectRecord { layer, candidate, .. } = record;
    evidence.0.get(&format!("layer{}.{}.gain", layer.0, candidate.name())).copied()
}

/// The layer of `layerN.what`.
fn layer_of(name: &str, what: &str) -> Option<LayerId> {
    let (layer, rest) = name.strip_prefix("layer")?.split_once('.')?;
    layer.parse().ok().map(LayerId).filter(|_| rest == what)
}

fn record(run: u32, step: u64, evidence: &Evidence, layer: LayerId, candidate: Move) -> Option<EffectRecord> {
    let number = |what: &str| evidence.0.get(&format!("layer{}.{what}", layer.0)).copied();
    let number = |what: &str| number(what).filter(|value| (*value as f32).is_finite());
    let of_move = |what: &str| number(&format!("{}.{what}", candidate.name()));
    let features = Features::NAMES.map(|name| number(&format!("feature.{name}")).map(|value| value as f32));
    Some(EffectRecord {
        run,
        step,
        layer,
        candidate,
        features: features.into_iter().collect::<Option<_>>()?,
        steps: of_move("steps").filter(|steps| (0.0..=MAX_STEPS as f64).contains(steps))? as u64,
        loss_increase: of_move("loss_increase")?,
        standard_error: of_move("se").filter(|error| *error >= 0.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layer 1 with all its features, and these numbers.
    fn evidence(numbers: &[(&str, f64)]) -> Evidence {
        let features = Features::NAMES.iter().zip(0..);
        let evidence = features.fold(Evidence::default(), |evidence, (name, at)| {
            evidence.with(format!("layer1.feature.{name}"), f64::from(at as f32 / 16.0))
        });
        numbers
            .iter()
            .fold(evidence, |evidence, (name, value)| evidence.with(format!("layer1.{name}"), *value))
    }

    #[test]
    fn what_was_measured_is_a_record() {
        let grow =
            [("grow.loss_increase", -0.02), ("grow.se", 0.001), ("grow.steps", 40.0), ("grow.gain", 0.01)];
        let early = [("prune.loss_increase", 0.125), ("prune.se", 0.002), ("prune.steps", 20.0)];
        let unknown = [("halve.se", 0.002), ("halve.steps", 40.0)];
        let evidence = evidence(&[&grow[..], &early, &unknown].concat());
        let records = records(3, 200, &evidence);
        let gains: Vec<_> = records.iter().map(|record| measured_gain(record, &evidence)).collect();
        assert_eq!(gains, [Some(0.01), None]);
        let grow = EffectRecord {
            run: 3,
            step: 200,
            layer: LayerId(1),
            candidate: Move::Grow,
            features: (0..16).map(|at| at as f32 / 16.0).collect(),
            steps: 40,
            loss_increase: -0.02,
            standard_error: 0.001,
        };
        let prune = EffectRecord {
            candidate: Move::Prune,
            steps: 20,
            loss_increase: 0.125,
            standard_error: 0.002,
            ..grow.clone()
        };
        assert_eq!(records, [grow, prune]);
    }

    #[test]
    fn a_length_or_an_error_that_cannot_be_teaches_nothing() {
        let learnt = |steps: f64, error: f64| {
            let numbers = [("grow.loss_increase", -0.02), ("grow.se", error), ("grow.steps", steps)];
            records(0, 1, &evidence(&numbers)).len()
        };
        assert_eq!(learnt(40.0, 0.001), 1);
        assert_eq!([learnt(1e18, 0.001), learnt(-1.0, 0.001), learnt(40.0, -0.001)], [0; 3]);
    }

    #[test]
    fn without_its_features_an_effect_teaches_nothing() {
        let mut evidence =
            evidence(&[("grow.loss_increase", -0.02), ("grow.se", 0.001), ("grow.steps", 40.0)]);
        assert_eq!(records(0, 1, &evidence).len(), 1);
        evidence.0.remove("layer1.feature.dead");
        assert_eq!(records(0, 1, &evidence), []);
        assert_eq!(records(0, 1, &Evidence::default()), []);
    }
}
