//! A head that learns measured effects: what a move would do to the loss, and how sure that is.

use std::collections::BTreeSet;

use moelt_schema::{EffectRecord, HeadState, Move, NetworkState, Stream, Streams};
use rand::RngExt;

use super::{Forecast, Network, adam};
use moelt_schema::Features;

/// Surprises by a move before its prediction counts: below that nothing can be likely or unlikely.
pub(super) const MIN_RECORDS: usize = 10;

/// Other runs that a head must have learnt from before it knows anything, where it has not measured itself: what one
/// of them measured is of a piece.
pub const LEAST_TEACHERS: u32 = 3;

/// One unit of the networks' output, nats.
pub(super) const UNIT: f64 = 0.02;

/// Effects beyond this many units count as this: no decision depends on how bad a bad move is.
pub(super) const CLIP: f64 = 10.0;

/// s₀, nats: what a measurement without any noise of its own is still trusted to.
const FLOOR: f64 = 0.005;

/// Records that an update of a network sees.
const BATCH: usize = 16;

/// Updates of each network when it learns for the first time.
const FIRST_UPDATES: u64 = 400;

/// … and each time after.
const UPDATES: u64 = 80;

/// Pull of every weight towards 0, as a part of the weight.
const DECAY: f32 = 1e-3;

/// Networks that each see every record as often as a draw from Poisson(1) says (the bootstrap, online: Oza &
/// Russell 2001), weighted by `1 / (standard_error² + s₀²)`. All records of another run share a draw, as they
/// resemble one another. Input: features and which move; output: the loss increase in units of 0.02 nats. Their
/// errors on records that they did *not* see are the uncertainty ([`Forecast`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ensemble {
    network: Network,
    lr: f32,
    streams: Streams,
}

impl Ensemble {
    /// Its networks.
    pub const MEMBERS: usize = 8;

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
        [0, Self::MEMBERS].contains(&head.networks.len())
            && networks.all(|state| self.network.fits(state))
            && records.all(|record| record.features.len() == Features::N)
    }

    /// Trains every network on draws from the records, from where it stands. A call costs the same however many
    /// they are. Records whose values are not finite must not be among them.
    ///
    /// # Panics
    /// When the networks or the records are of another head.
    pub fn fit(&self, head: &mut HeadState) {
        self.train(head, |state| if state.updates == 0 { FIRST_UPDATES } else { UPDATES });
    }

    /// The same with so many updates of each network.
    ///
    /// # Panics
    /// When the networks or the records are of another head.
    pub(super) fn fit_for(&self, head: &mut HeadState, updates: u64) {
        self.train(head, |_| updates);
    }

    fn train(&self, head: &mut HeadState, updates: impl Fn(&NetworkState) -> u64) {
        if head.networks.is_empty() {
            let init = |member| self.network.init(&mut self.streams.rng(Stream::Head, member));
            head.networks = (0..Self::MEMBERS as u64).map(init).collect();
        }
        if head.records.is_empty() {
            return;
        }
        let examples: Vec<Example> = head.records.iter().map(Example::of).collect();
        let counts = self.counts(&head.records);
        for (member, state) in head.networks.iter_mut().enumerate() {
            let seen = |(example, counts): (_, &[u32; Self::MEMBERS])| vec![example; counts[member] as usize];
            let bag: Vec<&Example> = examples.iter().zip(&counts).flat_map(seen).collect();
            if bag.is_empty() {
                continue;
            }
            let updates = updates(state);
            for _ in 0..updates {
                let mut rng = self.streams.rng(Stream::HeadBatches, state.updates << 8 | member as u64);
                let batch = [(); BATCH].map(|()| bag[rng.random_range(..bag.len())]);
                let gradient = self.gradient(state, &batch);
                adam::update(state, &gradient, self.lr);
            }
            head.flops = head.flops.saturating_add(updates * BATCH as u64 * self.network.flops());
        }
    }

    /// How often each member sees each record.
    fn counts(&self, records: &[EffectRecord]) -> Vec<[u32; Self::MEMBERS]> {
        let of_record = |(at, record): (usize, &EffectRecord)| {
            let mut rng = self.streams.rng(Stream::HeadBootstrap, draw(at, record));
            [(); Self::MEMBERS].map(|()| poisson(rng.random()))
        };
        (0..).zip(records).map(of_record).collect()
    }

    /// Of half the mean squared error, with the pull towards 0.
    fn gradient(&self, state: &NetworkState, batch: &[&Example]) -> Vec<f32> {
        let total: f32 = batch.iter().map(|example| example.trust).sum();
        let mut gradient: Vec<f32> = state.weights.iter().map(|weight| DECAY * weight).collect();
        for example in batch {
            let activations = self.network.forward(&state.weights, &example.input);
            let share = example.trust / total;
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
        let errors = self.blind(head).map(|blind| blind.iter().map(Blind::error).collect());
        Predictor { ensemble: self, head, errors }
    }

    /// For each move, in the order of [`Move::ALL`], what is said of the records that some network that has learnt something
    /// did not see; none where these are of too few draws.
    pub(super) fn blind(&self, head: &HeadState) -> [Vec<Blind>; Move::ALL.len()] {
        let counts = self.counts(&head.records);
        let (mut told, mut draws) = (Move::ALL.map(|_| Vec::new()), Move::ALL.map(|_| BTreeSet::new()));
        for (at, (record, counts)) in head.records.iter().zip(&counts).enumerate() {
            let example = Example::of(record);
            let blind = head.networks.iter().zip(counts).filter(|(_, count)| **count == 0);
            let Some(output) = self.output(blind.map(|(state, _)| state), &example.input) else { continue };
            told[record.candidate as usize]
                .push(Blind { predicted: output, measured: f64::from(example.target) });
            draws[record.candidate as usize].insert(draw(at, record));
        }
        for (told, _) in told.iter_mut().zip(draws).filter(|(_, draws)| draws.len() < LEAST_TEACHERS as usize)
        {
            told.clear();
        }
        told
    }

    /// Mean output of those networks that have learnt something; none without one.
    fn output<'a>(&self, networks: impl Iterator<Item = &'a NetworkState>, input: &[f32]) -> Option<f64> {
        let learnt = networks.filter(|state| state.updates > 0);
        let output = |state: &NetworkState| f64::from(self.network.forward(&state.weights, input).output[0]);
        mean(&learnt.map(output).collect::<Vec<_>>())
    }
}

/// A fitted head, ready to predict.
pub struct Predictor<'a> {
    ensemble: &'a Ensemble,
    head: &'a HeadState,
    /// For each move, in the order of [`Move::ALL`], those of [`Ensemble::blind`].
    errors: [Vec<f64>; Move::ALL.len()],
}

impl Predictor<'_> {
    /// What a move is expected to gain, leaving out what experts cost; none when fewer than 10 effects of this move,
    /// from 3 runs at least or measured by this one, are known to be surprised by.
    ///
    /// # Panics
    /// When the features are of another head.
    pub fn predict(&self, features: &Features, candidate: Move) -> Option<Forecast> {
        let errors = &self.errors[candidate as usize];
        if errors.len() < MIN_RECORDS {
            return None;
        }
        let input = input(features.values(), candidate);
        let increase = self.ensemble.output(self.head.networks.iter(), &input)?;
        Some(Forecast::new(errors.iter().map(|error| UNIT * (error - increase)).collect()))
    }
}

/// What networks that have not seen a record say of it, and what it is: loss increases, in units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Blind {
    pub(super) predicted: f64,
    pub(super) measured: f64,
}

impl Blind {
    pub(super) fn error(&self) -> f64 {
        self.predicted - self.measured
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

/// The draw that says how often each network sees a record, the `at`-th of its head.
fn draw(at: usize, record: &EffectRecord) -> u64 {
    let own = if record.run == 0 { at as u64 } else { 0 };
    u64::from(record.run) << 32 | own
}

/// What networks see of a move.
pub(super) fn input(features: &[f32], candidate: Move) -> Vec<f32> {
    let one_hot = Move::ALL.map(|kind| if kind == candidate { 1.0 } else { 0.0 });
    features.iter().copied().chain(one_hot).collect()
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
            run: 0,
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
            let forecast = predictor.predict(&features(first), candidate).unwrap();
            assert!((forecast.gain() + expected).abs() < 0.015, "{forecast:?}, not {expected}");
            let sure = if expected < 0.0 { 1.0 } else { 0.0 };
            assert!((forecast.chance() - sure).abs() < 0.1, "{forecast:?}");
        }
    }

    #[test]
    fn without_enough_records_of_a_move_there_is_no_forecast() {
        let ensemble = ensemble();
        let knows = |head: &HeadState, candidate| {
            ensemble.predictor(head).predict(&features(0.5), candidate).is_some()
        };
        assert!(!knows(&HeadState::default(), Move::Grow));
        assert!(!knows(&learnt(MIN_RECORDS - 1), Move::Grow));
        let head = learnt(2 * MIN_RECORDS);
        assert!(knows(&head, Move::Grow));
        assert!(!knows(&head, Move::Halve));
    }

    /// Effects by chance, ±0.06 nats: the errors on unseen records must show it however well the networks fit.
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
        let forecast = ensemble.predictor(&head).predict(&features(0.5), Move::Grow).unwrap();
        assert!((0.2..0.8).contains(&forecast.chance()), "{forecast:?}");
        assert!(forecast.improvement() > 0.015, "{forecast:?}");
    }

    #[test]
    fn what_has_learnt_nothing_says_nothing() {
        let ensemble = ensemble();
        let taught_by = |runs: u32| {
            let of_run = |run| (0..10).map(move |_| EffectRecord { run, ..record(0.5, Move::Grow, 0.04) });
            let records = (1..=runs).flat_map(of_run).collect();
            let mut head = HeadState { records, ..HeadState::default() };
            ensemble.fit(&mut head);
            let forecast = ensemble.predictor(&head).predict(&features(0.5), Move::Grow);
            (head.networks.iter().filter(|state| state.updates == 0).count(), forecast)
        };
        let (idle, forecast) = taught_by(1);
        assert!(idle > 0 && forecast.is_none(), "{idle} {forecast:?}");
        assert!(taught_by(2).1.is_none());
        for runs in [4, 6] {
            let gain = taught_by(runs).1.unwrap().gain();
            assert!((gain + 0.04).abs() < 0.005, "{runs}: {gain}");
        }
    }

    #[test]
    fn records_of_another_run_are_seen_or_not_as_one() {
        let counts = |run: u32| {
            let records: Vec<EffectRecord> =
                (0..50).map(|_| EffectRecord { run, ..record(0.5, Move::Grow, 0.0) }).collect();
            ensemble().counts(&records)
        };
        assert!(counts(1).windows(2).all(|pair| pair[0] == pair[1]));
        assert!(counts(0).windows(2).any(|pair| pair[0] != pair[1]));
        assert_ne!(counts(1)[0], counts(2)[0]);
    }

    #[test]
    fn poisson_has_mean_and_variance_1() {
        let draws: Vec<f64> = (0..100_000).map(|at| f64::from(poisson(f64::from(at) / 1e5))).collect();
        let mean = mean(&draws).unwrap();
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 1e-3 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
    }
}
