//! Measured effects as a head learns them, read from what a decision wrote down: the log of one run teaches the
//! head of another, and a head learns its own measurements the same way.

use moelt_schema::{EffectEvidence, EffectRecord, Evidence, LayerEvidence, MAX_STEPS, Move};

/// The moves whose effect the decision at `step` measured, as far as it is a number. What left a race is there
/// with the effect that it had then: it lost, and a head that never saw losers would expect too much. `run` is
/// [`EffectRecord::run`].
///
/// ```
/// use moelt_schema::{Evidence, LayerEvidence, LayerId};
/// let nothing = Evidence { layers: vec![LayerEvidence::new(LayerId(0), 4)], ..Evidence::default() };
/// assert_eq!(moelt_control::records(1, 200, &nothing), []);
/// ```
pub fn records(run: u32, step: u64, evidence: &Evidence) -> Vec<EffectRecord> {
    let moves = evidence.layers.iter().flat_map(|layer| Move::ALL.map(|candidate| (layer, candidate)));
    moves.filter_map(|(layer, candidate)| record(run, step, layer, candidate)).collect()
}

/// The gain that was measured with `record`, nats, by the cost of an expert in its run. `evidence` is what `record` was
/// read from; none when it holds no such gain.
pub fn measured_gain(record: &EffectRecord, evidence: &Evidence) -> Option<f64> {
    effect(evidence.layer(record.layer)?, record.candidate)?.gain
}

fn effect(layer: &LayerEvidence, candidate: Move) -> Option<&EffectEvidence> {
    layer.trials.iter().find(|trial| trial.candidate == candidate)?.effect.as_ref()
}

fn record(run: u32, step: u64, layer: &LayerEvidence, candidate: Move) -> Option<EffectRecord> {
    let effect = effect(layer, candidate)?;
    let finite = |value: Option<f64>| value.filter(|value| (*value as f32).is_finite());
    Some(EffectRecord {
        run,
        step,
        layer: layer.layer,
        candidate,
        features: layer.features?.values().to_vec(),
        steps: Some(effect.steps).filter(|steps| *steps <= MAX_STEPS)?,
        loss_increase: finite(effect.loss_increase)?,
        standard_error: finite(effect.standard_error).filter(|error| *error >= 0.0)?,
    })
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Features, LayerId, TrialEvidence};

    use super::*;

    fn effect(steps: u64, loss_increase: Option<f64>, standard_error: f64) -> EffectEvidence {
        let standard_error = Some(standard_error);
        EffectEvidence { steps, loss_increase, gain: None, standard_error, replicate: None }
    }

    /// Layer 1 with its features, and these effects.
    fn evidence(effects: &[(Move, EffectEvidence)]) -> Evidence {
        let trial = |(candidate, effect): &(Move, EffectEvidence)| TrialEvidence {
            candidate: *candidate,
            forecast: None,
            effect: Some(*effect),
        };
        let values: Vec<f32> = (0..16).map(|at| at as f32 / 16.0).collect();
        let layer = LayerEvidence {
            features: Features::from_values(&values),
            trials: effects.iter().map(trial).collect(),
            ..LayerEvidence::new(LayerId(1), 4)
        };
        Evidence { layers: vec![layer], ..Evidence::default() }
    }

    #[test]
    fn what_was_measured_is_a_record() {
        let grow = EffectEvidence { gain: Some(0.01), ..effect(40, Some(-0.02), 0.001) };
        let (early, unknown) = (effect(20, Some(0.125), 0.002), effect(40, None, 0.002));
        let evidence = evidence(&[(Move::Prune, early), (Move::Grow, grow), (Move::Halve, unknown)]);
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
        let learnt = |steps: u64, error: f64| {
            records(0, 1, &evidence(&[(Move::Grow, effect(steps, Some(-0.02), error))])).len()
        };
        assert_eq!(learnt(40, 0.001), 1);
        assert_eq!([learnt(u64::MAX, 0.001), learnt(40, -0.001), learnt(40, f64::NAN)], [0; 3]);
    }

    #[test]
    fn without_its_features_an_effect_teaches_nothing() {
        let mut evidence = evidence(&[(Move::Grow, effect(40, Some(-0.02), 0.001))]);
        evidence.layers[0].features = None;
        assert_eq!(records(0, 1, &evidence), []);
    }
}
