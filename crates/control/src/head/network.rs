//! A network of one hidden layer.

use moelt_schema::{NetworkState, uniform};
use rand::Rng;

/// The shape of a network: inputs → hidden units with tanh → outputs. Its weights are one list: for every
/// hidden unit one weight an input and its offset, then for every output one weight a hidden unit and its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Values that go in.
    pub inputs: usize,
    /// Hidden units.
    pub hidden: usize,
    /// Values that come out.
    pub outputs: usize,
}

/// What a forward pass computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// `[hidden]`, after tanh.
    hidden: Vec<f32>,
    /// `[outputs]`.
    pub output: Vec<f32>,
}

impl Network {
    /// Weights of the network, offsets included.
    pub fn n_weights(self) -> usize {
        self.hidden_weights() + self.outputs * (self.hidden + 1)
    }

    /// Floating-point operations of learning from one example: a multiplication and an addition for each weight,
    /// once forward and twice back.
    pub fn flops(self) -> u64 {
        6 * self.n_weights() as u64
    }

    fn hidden_weights(self) -> usize {
        self.hidden * (self.inputs + 1)
    }

    /// Initial weights, uniform in `±1/√fan_in`, and an optimizer that has seen nothing.
    pub fn init(self, rng: &mut impl Rng) -> NetworkState {
        let mut weights = uniform(self.inputs, self.hidden_weights(), rng);
        weights.extend(uniform(self.hidden, self.outputs * (self.hidden + 1), rng));
        let zeros = vec![0.0; weights.len()];
        NetworkState { weights, first: zeros.clone(), second: zeros, updates: 0 }
    }

    /// Whether `state` is of a network of this size.
    pub fn fits(self, state: &NetworkState) -> bool {
        [&state.weights, &state.first, &state.second].into_iter().all(|list| list.len() == self.n_weights())
    }

    /// `[inputs]` → `[outputs]`.
    ///
    /// # Panics
    /// When the weights or the input are of another network.
    pub fn forward(self, weights: &[f32], input: &[f32]) -> Forward {
        assert_eq!(weights.len(), self.n_weights(), "weights of another network");
        assert_eq!(input.len(), self.inputs, "input of another network");
        let (first, second) = weights.split_at(self.hidden_weights());
        let hidden: Vec<f32> =
            first.chunks_exact(self.inputs + 1).map(|unit| affine(unit, input).tanh()).collect();
        let output = second.chunks_exact(self.hidden + 1).map(|unit| affine(unit, &hidden)).collect();
        Forward { hidden, output }
    }

    /// Adds to `gradient` that of a loss with respect to the weights, times `d_output` being its gradient with
    /// respect to the outputs. Gives its gradient with respect to the inputs, `[inputs]`.
    ///
    /// # Panics
    /// When a list is of another network.
    pub fn backward(
        self,
        weights: &[f32],
        input: &[f32],
        activations: &Forward,
        d_output: &[f32],
        gradient: &mut [f32],
    ) -> Vec<f32> {
        assert_eq!(weights.len(), self.n_weights(), "weights of another network");
        assert_eq!(gradient.len(), self.n_weights(), "gradient of another network");
        let (first, second) = weights.split_at(self.hidden_weights());
        let (d_first, d_second) = gradient.split_at_mut(self.hidden_weights());
        let mut d_hidden = affine_backward(second, &activations.hidden, d_output, d_second);
        for (d, hidden) in d_hidden.iter_mut().zip(&activations.hidden) {
            *d *= 1.0 - hidden * hidden;
        }
        affine_backward(first, input, &d_hidden, d_first)
    }
}

/// `weights · input + offset`; the offset is behind the weights.
fn affine(unit: &[f32], input: &[f32]) -> f32 {
    let (offset, weights) = unit.split_last().expect("every unit has an offset");
    weights.iter().zip(input).map(|(weight, value)| weight * value).sum::<f32>() + offset
}

/// The gradients of a layer of units: added to `gradient`, and with respect to the input.
fn affine_backward(units: &[f32], input: &[f32], d_units: &[f32], gradient: &mut [f32]) -> Vec<f32> {
    let (mut d_input, width) = (vec![0.0; input.len()], input.len() + 1);
    for ((unit, d), sums) in units.chunks_exact(width).zip(d_units).zip(gradient.chunks_exact_mut(width)) {
        for (at, value) in input.iter().enumerate() {
            d_input[at] += d * unit[at];
            sums[at] += d * value;
        }
        sums[input.len()] += d;
    }
    d_input
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Stream, Streams};

    use super::*;

    const NETWORK: Network = Network { inputs: 3, hidden: 4, outputs: 2 };

    /// `0.7 a − 0.4 b²` of the outputs.
    fn loss(weights: &[f32], input: &[f32]) -> f64 {
        let output = NETWORK.forward(weights, input).output;
        0.7 * f64::from(output[0]) - 0.4 * f64::from(output[1]).powi(2)
    }

    /// Central differences with respect to each value of `at`.
    fn differences(at: &[f32], loss: impl Fn(&[f32]) -> f64) -> Vec<f64> {
        let with = |index: usize, step: f32| {
            let mut at = at.to_vec();
            at[index] += step;
            loss(&at)
        };
        (0..at.len()).map(|index| (with(index, 5e-3) - with(index, -5e-3)) / 1e-2).collect()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let state = NETWORK.init(&mut Streams::new(3).rng(Stream::Head, 0));
        let (weights, input) = (&state.weights, [0.3, -0.8, 0.5]);
        let activations = NETWORK.forward(weights, &input);
        let d_output = [0.7, -0.8 * activations.output[1]];
        let mut gradient = vec![0.0; NETWORK.n_weights()];
        let d_input = NETWORK.backward(weights, &input, &activations, &d_output, &mut gradient);
        let by_weight = differences(weights, |weights| loss(weights, &input));
        let by_input = differences(&input, |input| loss(weights, input));
        for (exact, difference) in gradient.iter().chain(&d_input).zip(by_weight.iter().chain(&by_input)) {
            assert!((f64::from(*exact) - difference).abs() < 1e-4, "{exact}, not {difference}");
        }
    }

    /// One hidden unit: `2 tanh(0.5 · 1 − 0.25) + 0.125`.
    #[test]
    fn hand_worked_forward() {
        let network = Network { inputs: 1, hidden: 1, outputs: 1 };
        let output = network.forward(&[0.5, -0.25, 2.0, 0.125], &[1.0]).output;
        assert!((output[0] - (2.0 * 0.25f32.tanh() + 0.125)).abs() < 1e-6);
    }

    #[test]
    fn a_state_of_another_size_does_not_fit() {
        let state = NETWORK.init(&mut Streams::new(3).rng(Stream::Head, 0));
        assert!(NETWORK.fits(&state));
        assert!(!Network { hidden: 5, ..NETWORK }.fits(&state));
    }
}
