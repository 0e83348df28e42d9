//! A head that learns measured effects: what a move would do to the loss, and how sure that is.

use moelt_schema::{EffectRecord, HeadState, Move, NetworkState, Stream, Streams};
use rand::RngExt;

use super::{Network, adam};
use crate::Features;

/// Networks of the ensemble.
const MEMBERS: usize = 8;

/// Measurements of a move before its prediction counts.
const MIN_RECORDS: usize = 3;

/// One unit of the networks' output, nats.
const UNIT: f64 = 0.02;

/// Effects beyond this many units count as this: no decision depends on how bad a bad move is.
const CLIP: f64 = 10.0;

/// s₀, nats: what a measurement without any noise of its own is still trusted to.
const FLOOR: f64 = 0.005;

/// Pull of every weight towards 0, as a part of the weight.
const DECAY: f32 = 1e-3;

/// Networks that each see every record as often as a draw from Poisson(1) says (the bootstrap, online: Oza &
/// Russell 2001), weighted by `1 / (standard_error² + s₀²)`. Input: features and which move; output: the loss
/// increase in units of 0.02 nats. Their spread, with the error on records that they did *not* see, is the
/// uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ensemble {
    network: Network,
    lr: f32,
    streams: Streams,
}

impl Ensemble {
    /// One with so many hidden units a network and this learning rate.
    pub fn new(hidden: usize, lr: f64, streams: Streams) -> Self {
        let network = Network { inputs: Features::N + Move::ALL.len(), hidden, outputs: 1 };
        Self { network, lr: lr as f32, streams }
    }

    /// The shape of its networks.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Whether `head` is one of these: its networks and its records are of this size.
    pub fn fits(&self, head: &HeadState) -> bool {
        let mut networks = head.networks.iter();
        let mut records = head.records.iter();
        [0, MEMBERS].contains(&head.networks.len())
            && networks.all(|state| self.network.fits(state))
            && records.all(|record| record.features.len() == Features::N)
    }

    /// Trains every network on all records, from where it stands: fewer updates the more records there are, so
    /// that a call costs the same. Records whose values are not finite must not be among them.
    ///
    /// # Panics
    /// When the networks or the records are of another head.
    pub fn fit(&self, head: &mut HeadState) {
        if head.networks.is_empty() {
            let init = |member| self.network.init(&mut self.streams.rng(Stream::Head, member));
            head.networks = (0..MEMBERS as u64).map(init).collect();
        }
        if head.records.is_empty() {
            return;
        }
        let examples: Vec<Example> = head.records.iter().map(Example::of).collect();
        let counts = self.counts(examples.len());
        let updates = (8000 / examples.len()).clamp(40, 400);
        for (member, state) in head.networks.iter_mut().enumerate() {
            for _ in 0..updates {
                let gradient = self.gradient(state, &examples, &counts, member);
                adam::update(state, &gradient, self.lr);
            }
        }
    }

    /// How often each member sees each record.
    fn counts(&self, records: usize) -> Vec<[u32; MEMBERS]> {
        let of_record = |record| {
            let mut rng = self.streams.rng(Stream::HeadBootstrap, record);
            [(); MEMBERS].map(|()| poisson(rng.random()))
        };
        (0..records as u64).map(of_record).collect()
    }

    /// Of half the mean squared error, with the pull towards 0.
    fn gradient(
        &self,
        state: &NetworkState,
        examples: &[Example],
        counts: &[[u32; MEMBERS]],
        member: usize,
    ) -> Vec<f32> {
        let total: f32 = examples.iter().map(|example| example.trust).sum();
        let mut gradient: Vec<f32> = state.weights.iter().map(|weight| DECAY * weight).collect();
        for (example, counts) in examples.iter().zip(counts).filter(|(_, counts)| counts[member] > 0) {
            let activations = self.network.forward(&state.weights, &example.input);
            let share = counts[member] as f32 * example.trust / total;
            let d_output = [share * (activations.output[0] - example.target)];
            self.network.backward(&state.weights, &example.input, &activations, &d_output, &mut gradient);
        }
        gradient
    }

    /// What a head that was fitted predicts.
    ///
    /// # Panics
    /// When the networks or the records are of another head.
    pub fn predictor<'a>(&'a self, head: &'a HeadState) -> Predictor<'a> {
        let counts = self.counts(head.records.len());
        let unseen = |(record, counts): (&EffectRecord, &[u32; MEMBERS])| {
            let example = Example::of(record);
            let blind = head.networks.iter().zip(counts).filter(|(_, count)| **count == 0);
            let outputs: Vec<f64> = blind.map(|(state, _)| self.output(state, &example.input)).collect();
            let error = mean(&outputs)? - f64::from(example.target);
            Some((record.candidate, error * error))
        };
        let errors: Vec<(Move, f64)> = head.records.iter().zip(&counts).filter_map(unseen).collect();
        let residuals = Move::ALL.map(|kind| {
            let known = head.records.iter().filter(|record| record.candidate == kind).count();
            let of_kind: Vec<f64> = errors.iter().filter(|(of, _)| *of == kind).map(|(_, e)| *e).collect();
            mean(&of_kind).filter(|_| known >= MIN_RECORDS)
        });
        Predictor { ensemble: self, head, residuals }
    }

    fn output(&self, state: &NetworkState, input: &[f32]) -> f64 {
        f64::from(self.network.forward(&state.weights, input).output[0])
    }
}

/// A fitted head, ready to predict.
pub struct Predictor<'a> {
    ensemble: &'a Ensemble,
    head: &'a HeadState,
    /// For each move, in the order of [`Move::ALL`], the mean squared error on records that a network did not
    /// see, in units; none with too few records of that move.
    residuals: [Option<f64>; Move::ALL.len()],
}

impl Predictor<'_> {
    /// The loss increase that a move is expected to have, nats, and the standard deviation of a measurement
    /// around it: `√(variance of the networks + mean squared error on unseen records)`. Infinite when fewer
    /// than 3 records are of this move. It holds the noise of the measurements too, and so errs to the careful side.
    ///
    /// # Panics
    /// When the features are of another head.
    pub fn predict(&self, features: &Features, candidate: Move) -> (f64, f64) {
        let input = input(features.values(), candidate);
        let output = |state| self.ensemble.output(state, &input);
        let outputs: Vec<f64> = self.head.networks.iter().map(output).collect();
        let Some(mean_output) = mean(&outputs) else { return (0.0, f64::INFINITY) };
        let spread: f64 = outputs.iter().map(|value| (value - mean_output).powi(2)).sum();
        let variance = spread / (outputs.len().max(2) - 1) as f64;
        let residual = self.residuals[index(candidate)];
        let deviation = residual.map_or(f64::INFINITY, |residual| (variance + residual).sqrt());
        (UNIT * mean_output, UNIT * deviation)
    }
}

/// A record as the networks see it.
struct Example {
    input: Vec<f32>,
    /// Loss increase, in units.
    target: f32,
    /// Relative to a measurement with no noise of its own: at most 1.
    trust: f32,
}

impl Example {
    fn of(record: &EffectRecord) -> Self {
        let target = (record.loss_increase / UNIT).clamp(-CLIP, CLIP) as f32;
        let trust = FLOOR.powi(2) / (record.standard_error.powi(2) + FLOOR.powi(2));
        Self { input: input(&record.features, record.candidate), target, trust: trust as f32 }
    }
}

fn input(features: &[f32], candidate: Move) -> Vec<f32> {
    let one_hot = Move::ALL.map(|kind| if kind == candidate { 1.0 } else { 0.0 });
    features.iter().copied().chain(one_hot).collect()
}

fn index(candidate: Move) -> usize {
    candidate as usize
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A draw from Poisson(1), by inversion of `chance` in `0..1`.
fn poisson(chance: f64) -> u32 {
    let (mut count, mut term) = (0, (-1f64).exp());
    let mut below = term;
    while chance >= below && count < 10 {
        count += 1;
        term /= f64::from(count);
        below += term;
    }
    count
}

#[cfg(test)]
mod tests {
    use moelt_schema::LayerId;

    use super::*;

    fn ensemble() -> Ensemble {
        Ensemble::new(8, 0.01, Streams::new(4))
    }

    fn features(first: f32) -> Features {
        let mut values = [0.5; Features::N];
        values[0] = first;
        Features::from_values(&values).unwrap()
    }

    fn record(first: f32, candidate: Move, loss_increase: f64) -> EffectRecord {
        let features = features(first).values().to_vec();
        EffectRecord {
            step: 1,
            layer: LayerId(0),
            candidate,
            features,
            steps: 10,
            loss_increase,
            standard_error: 0.001,
        }
    }

    /// Growing helps when the first feature is high; pruning always costs 0.03 nats.
    fn learnt(records: usize) -> HeadState {
        let mut head = HeadState::default();
        for at in 0..records {
            let first = (at % 10) as f32 / 9.0;
            head.records.push(record(first, Move::Grow, 0.04 - 0.08 * f64::from(first)));
            head.records.push(record(first, Move::Prune, 0.03));
        }
        for _ in 0..10 {
            ensemble().fit(&mut head);
        }
        head
    }

    #[test]
    fn what_was_measured_is_predicted() {
        let (ensemble, head) = (ensemble(), learnt(20));
        let predictor = ensemble.predictor(&head);
        for (first, candidate, expected) in
            [(0.0, Move::Grow, 0.04), (1.0, Move::Grow, -0.04), (0.5, Move::Prune, 0.03)]
        {
            let (mean, deviation) = predictor.predict(&features(first), candidate);
            assert!(
                (mean - expected).abs() < 0.015 && deviation < 0.015,
                "{mean} ± {deviation}, not {expected}"
            );
        }
    }

    #[test]
    fn without_enough_records_of_a_move_it_is_unsure() {
        let ensemble = ensemble();
        let deviation =
            |head: &HeadState, candidate| ensemble.predictor(head).predict(&features(0.5), candidate).1;
        assert_eq!(deviation(&HeadState::default(), Move::Grow), f64::INFINITY);
        assert_eq!(deviation(&learnt(MIN_RECORDS - 1), Move::Grow), f64::INFINITY);
        let head = learnt(8);
        assert!(deviation(&head, Move::Grow).is_finite());
        assert_eq!(deviation(&head, Move::Halve), f64::INFINITY);
    }

    /// Effects by chance, ±0.06 nats: the error on unseen records must show it however well the networks fit.
    #[test]
    fn of_noise_it_is_unsure() {
        let (ensemble, mut head, mut rng) =
            (ensemble(), HeadState::default(), Streams::new(1).rng(Stream::Policy, 0));
        for at in 0..30 {
            let effect = if rng.random::<f64>() < 0.5 { 0.06 } else { -0.06 };
            head.records.push(record(at as f32 / 29.0, Move::Grow, effect));
        }
        for _ in 0..10 {
            ensemble.fit(&mut head);
        }
        let (_, deviation) = ensemble.predictor(&head).predict(&features(0.5), Move::Grow);
        assert!(deviation > 0.04, "{deviation}");
    }

    #[test]
    fn poisson_has_mean_and_variance_1() {
        let draws: Vec<f64> = (0..100_000).map(|at| f64::from(poisson(f64::from(at) / 1e5))).collect();
        let mean = mean(&draws).unwrap();
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 1e-3 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
    }

    #[test]
    fn the_order_of_moves_is_that_of_the_inputs() {
        assert_eq!(Move::ALL.map(index), [0, 1, 2, 3]);
    }
}
