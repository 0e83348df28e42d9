//! What a head says of runs that it has not seen: one run is left out at a time, and the others teach.

use std::collections::BTreeSet;

use moelt_schema::{EffectHeadConfig, EffectRecord, Features, HeadState, Move, Streams};

use super::{Ensemble, Forecast, Intent, Predictor};
use crate::PolicyError;

/// A move that some run measured.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredMove {
    /// Its effect; `record.run` says which run.
    pub record: EffectRecord,
    /// What it gained, nats: loss saved, minus what its experts cost.
    pub gain: f64,
}

/// A measured move of a run, and what a head that knows the other runs alone says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOut {
    /// The run.
    pub run: u32,
    /// The move.
    pub candidate: Move,
    /// What it gained when it was measured, nats.
    pub measured: f64,
    /// What it was expected to gain, nats; none when the other runs measured too few such moves.
    pub predicted: Option<f64>,
    /// What the head would do.
    pub intent: Intent,
}

/// What the head on effects of a run with this config and seed says of every measured move when it has learnt
/// from all runs but the move's own, run by run. It has learnt as a head has that begins with
/// [`EffectHeadConfig::records_of`], and learns nothing on the way.
///
/// # Errors
/// When a record has features of another head.
pub fn held_out(
    config: &EffectHeadConfig,
    seed: u64,
    measured: &[MeasuredMove],
) -> Result<Vec<HeldOut>, PolicyError> {
    let ensemble = Ensemble::new(config.hidden, config.lr, Streams::new(seed));
    let runs: BTreeSet<u32> = measured.iter().map(|one| one.record.run).collect();
    let mut told = Vec::new();
    for run in runs {
        let (unseen, seen): (Vec<_>, Vec<_>) = measured.iter().partition(|one| one.record.run == run);
        let head = taught(&ensemble, &seen)?;
        let predictor = ensemble.predictor(&head);
        for one in unseen {
            told.push(one.held_out(one.forecast(&predictor)?, config));
        }
    }
    Ok(told)
}

/// A head that has learnt from these moves.
fn taught(ensemble: &Ensemble, seen: &[&MeasuredMove]) -> Result<HeadState, PolicyError> {
    let records = seen.iter().map(|one| one.record.clone()).collect();
    let mut head = HeadState { records, ..HeadState::default() };
    if !ensemble.fits(&head) {
        return Err(PolicyError::OtherHead);
    }
    ensemble.fit(&mut head);
    Ok(head)
}

impl MeasuredMove {
    fn forecast(&self, predictor: &Predictor<'_>) -> Result<Option<Forecast>, PolicyError> {
        let features = Features::from_values(&self.record.features).ok_or(PolicyError::OtherHead)?;
        let forecast = predictor.predict(&features, self.record.candidate);
        Ok(forecast.map(|forecast| forecast.minus(self.cost())))
    }

    /// What its experts cost, nats. A head predicts loss alone; this is the difference between loss and gain.
    pub(super) fn cost(&self) -> f64 {
        -self.record.loss_increase - self.gain
    }

    pub(super) fn held_out(&self, forecast: Option<Forecast>, config: &EffectHeadConfig) -> HeldOut {
        HeldOut {
            run: self.record.run,
            candidate: self.record.candidate,
            measured: self.gain,
            predicted: forecast.as_ref().map(Forecast::gain),
            intent: Intent::of(forecast.as_ref(), config),
        }
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::LayerId;

    use super::*;

    const COST: f64 = 0.002;

    fn measured(run: u32, first: f32, candidate: Move, loss_increase: f64) -> MeasuredMove {
        let mut features = vec![0.5; Features::N];
        features[0] = first;
        let (layer, steps, standard_error) = (LayerId(0), 10, 0.001);
        let record =
            EffectRecord { run, step: 1, layer, candidate, features, steps, loss_increase, standard_error };
        let change = if candidate == Move::Grow { 1.0 } else { -1.0 };
        MeasuredMove { record, gain: -loss_increase - COST * change }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 6, ..Default::default() })]

        /// What other runs measured is read from files: a head learns from any number.
        #[test]
        fn whatever_was_measured_the_head_has_an_answer(
            numbers in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::strategy::Just(f64::from(f32::MAX)),
                    proptest::strategy::Just(-f64::from(f32::MAX)),
                    -1.0..1.0,
                ],
                48,
            )
        ) {
            let one = |(run, number): (u32, &f64)| {
                let mut one = measured(1 + run % 4, *number as f32, Move::Grow, *number);
                one.record.standard_error = number.abs();
                one
            };
            let measured: Vec<MeasuredMove> = (0..).zip(&numbers).map(one).collect();
            proptest::prop_assert_eq!(told(&measured).len(), 48);
        }
    }

    /// Growing helps when the first feature is high; pruning always costs 0.03 nats.
    fn of_run(run: u32) -> Vec<MeasuredMove> {
        let place = |at: u8| f32::from(at) / 9.0;
        let grow = |at| measured(run, place(at), Move::Grow, 0.04 - 0.08 * f64::from(place(at)));
        let prune = |at| measured(run, place(at), Move::Prune, 0.03);
        (0..10).flat_map(|at| [grow(at), prune(at)]).collect()
    }

    fn told(measured: &[MeasuredMove]) -> Vec<HeldOut> {
        held_out(&EffectHeadConfig::default(), 7, measured).unwrap()
    }

    #[test]
    fn what_the_other_runs_show_is_known_of_the_one_left_out() {
        let told = told(&(1..=8).flat_map(of_run).collect::<Vec<_>>());
        assert_eq!(told.len(), 160);
        for (at, one) in told.iter().enumerate() {
            assert_eq!((one.run as usize, one.predicted.is_some()), (1 + at / 20, true));
            let surely = if one.measured > 0.02 { Intent::Make } else { Intent::Keep };
            assert!(one.measured.abs() < 0.02 || one.intent == surely, "{one:?}");
        }
    }

    #[test]
    fn a_run_says_nothing_of_itself() {
        let (mut runs, own): (Vec<MeasuredMove>, usize) = ((1..=5).flat_map(of_run).collect(), 80);
        let before = told(&runs);
        for one in &mut runs[own..] {
            one.record.loss_increase += 1.0;
            one.gain -= 1.0;
        }
        let after = told(&runs);
        let predicted = |told: &[HeldOut]| told.iter().map(|one| one.predicted).collect::<Vec<_>>();
        // Within rounding: what the experts cost is a difference of two numbers that are 1 further off.
        for (one, other) in predicted(&before[own..]).into_iter().zip(predicted(&after[own..])) {
            assert!((one.unwrap() - other.unwrap()).abs() < 1e-9);
        }
        assert_ne!(predicted(&before[..own]), predicted(&after[..own]), "the others learn from it");
    }

    #[test]
    fn what_experts_cost_is_taken_off_the_prediction() {
        let mut runs: Vec<MeasuredMove> = (1..=5).flat_map(of_run).collect();
        let before = told(&runs);
        runs[0].gain -= 0.25;
        let after = told(&runs);
        assert!((before[0].predicted.unwrap() - after[0].predicted.unwrap() - 0.25).abs() < 1e-9);
        assert_eq!(before[1..], after[1..]);
    }

    #[test]
    fn with_too_few_records_everything_is_asked() {
        let few: Vec<_> = (1..=2).map(|run| measured(run, 0.5, Move::Grow, 0.0)).collect();
        let asked = |one: &HeldOut| one.predicted.is_none() && one.intent == Intent::Ask;
        assert!(told(&few).iter().all(asked) && told(&few[..1]).iter().all(asked));
        assert_eq!(told(&[]), []);
    }

    #[test]
    fn features_of_another_head_are_refused() {
        let mut runs = [of_run(1), of_run(2)].concat();
        runs[0].record.features.pop();
        let refused = held_out(&EffectHeadConfig::default(), 7, &runs);
        assert!(matches!(refused, Err(PolicyError::OtherHead)), "{refused:?}");
    }
}
