//! A head that learns labels: keep, grow or prune.

use moelt_schema::{Features, Label, NetworkState, Stream, Streams};

use super::{Network, adam};
use crate::labels::{LABELS, index};

/// Features of a layer → probabilities of keep, grow and prune, by softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelNetwork {
    network: Network,
    lr: f32,
}

impl LabelNetwork {
    /// One with so many hidden units and this learning rate.
    pub fn new(hidden: usize, lr: f64) -> Self {
        let network = Network { inputs: Features::N, hidden, outputs: LABELS.len() };
        Self { network, lr: lr as f32 }
    }

    /// Its network's shape.
    pub fn network(&self) -> Network {
        self.network
    }

    /// A head that has learnt nothing.
    pub fn init(&self, streams: &Streams) -> NetworkState {
        self.network.init(&mut streams.rng(Stream::Head, 0))
    }

    /// The probability of each label.
    ///
    /// # Panics
    /// When the state is of another network.
    pub fn probabilities(&self, state: &NetworkState, features: &Features) -> [f32; 3] {
        softmax(&self.network.forward(&state.weights, features.values()).output)
    }

    /// Cross entropy of the label, nats.
    ///
    /// # Panics
    /// When the state is of another network.
    pub fn loss(&self, state: &NetworkState, features: &Features, label: Label) -> f32 {
        -self.probabilities(state, features)[index(label)].max(f32::MIN_POSITIVE).ln()
    }

    /// One update on the cross entropy of the label.
    ///
    /// # Panics
    /// When the state is of another network.
    pub fn learn(&self, state: &mut NetworkState, features: &Features, label: Label) {
        let (gradient, _) = self.gradients(state, features, label);
        adam::update(state, &gradient, self.lr);
    }

    /// Gradient of the cross entropy of the label with respect to each feature, nats. It changes nothing.
    ///
    /// # Panics
    /// When the state is of another network.
    pub fn feature_gradient(&self, state: &NetworkState, features: &Features, label: Label) -> Vec<f32> {
        self.gradients(state, features, label).1
    }

    /// With respect to the weights, and to the features.
    fn gradients(&self, state: &NetworkState, features: &Features, label: Label) -> (Vec<f32>, Vec<f32>) {
        let activations = self.network.forward(&state.weights, features.values());
        let mut d_output = softmax(&activations.output);
        d_output[index(label)] -= 1.0;
        let mut gradient = vec![0.0; self.network.n_weights()];
        let d_input =
            self.network.backward(&state.weights, features.values(), &activations, &d_output, &mut gradient);
        (gradient, d_input)
    }
}

fn softmax(logits: &[f32]) -> [f32; 3] {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = [0, 1, 2].map(|at| (logits[at] - largest).exp());
    let sum: f32 = exp.iter().sum();
    exp.map(|value| value / sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLASSIFIER: fn() -> LabelNetwork = || LabelNetwork::new(8, 0.01);

    fn features(values: &[f32]) -> Features {
        Features::from_values(values).unwrap()
    }

    #[test]
    fn feature_gradients_are_those_of_finite_differences() {
        let classifier = CLASSIFIER();
        let state = classifier.init(&Streams::new(2));
        let values: Vec<f32> = (0..Features::N).map(|at| (at as f32 * 0.7).sin()).collect();
        let gradient = classifier.feature_gradient(&state, &features(&values), Label::Grow);
        for (at, exact) in gradient.iter().enumerate() {
            let loss = |step: f32| {
                let mut values = values.clone();
                values[at] += step;
                classifier.loss(&state, &features(&values), Label::Grow)
            };
            let difference = (loss(1e-2) - loss(-1e-2)) / 2e-2;
            assert!((exact - difference).abs() < 1e-3, "{at}: {exact}, not {difference}");
        }
    }

    #[test]
    fn of_noise_it_learns_how_often_each_label_comes() {
        let (classifier, streams) = (LabelNetwork::new(8, 0.003), Streams::new(5));
        let (mut state, features) = (classifier.init(&streams), features(&[0.5; Features::N]));
        for step in 0..4000 {
            let label = crate::random_label(&streams, step, moelt_schema::LayerId(0));
            classifier.learn(&mut state, &features, label);
        }
        let [keep, grow, prune] = classifier.probabilities(&state, &features);
        assert!((keep - 0.5).abs() < 0.15 && (grow - 0.3).abs() < 0.15 && (prune - 0.2).abs() < 0.15);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn training_reduces_the_loss_of_a_fixed_set(
            set in prop::collection::vec((prop::array::uniform16(0f32..1.0), 0usize..3), 1..6), seed: u64,
        ) {
            let classifier = CLASSIFIER();
            let set: Vec<_> = set.iter().map(|(values, label)| (features(values), LABELS[*label])).collect();
            let mut state = classifier.init(&Streams::new(seed));
            let loss = |state: &NetworkState| -> f32 {
                set.iter().map(|(features, label)| classifier.loss(state, features, *label)).sum()
            };
            let before = loss(&state);
            for _ in 0..200 {
                for (features, label) in &set {
                    classifier.learn(&mut state, features, *label);
                }
            }
            prop_assert!(loss(&state) < before, "{} after {before}", loss(&state));
        }
    }
}
