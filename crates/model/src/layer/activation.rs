//! The way back through hidden units, for any backend.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::{Tensor, activation::sigmoid};
use moelt_schema::Activation;

/// A gradient by hidden units as one by their sums, and beside it one by those of their gates.
///
/// # Shapes
/// - sums, gate, gradient: `[tokens, d_ff]`
/// - output: the same, or `[tokens, 2 · d_ff]` with gates
pub(super) fn back(
    activation: Activation,
    sums: Tensor<2>,
    gate: Option<Tensor<2>>,
    gradient: Tensor<2>,
) -> Tensor<2> {
    match (activation, gate) {
        (Activation::Relu, _) => gradient.mask_fill(sums.lower_equal_elem(0.0), 0.0),
        // Φ(x) + x φ(x)
        (Activation::Gelu, _) => {
            let below = ((sums.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
            let density = (sums.clone().square() * -0.5).exp() / (2.0 * PI).sqrt();
            gradient * (below + sums * density)
        }
        // silu(g), and x σ(g) (1 + g (1 − σ(g)))
        (Activation::Swiglu, gate) => {
            let gate = gate.expect("a gated activation has sums of gates");
            let open = sigmoid(gate.clone());
            let slope = open.clone() * (gate.clone() * (open.clone().neg() + 1.0) + 1.0);
            Tensor::cat(vec![gradient.clone() * gate * open, gradient * sums * slope], 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use moelt_kernels::hidden_units;

    use super::*;
    use crate::host::to_host;

    #[test]
    fn the_way_back_is_the_derivative() {
        let device = Device::flex().autodiff();
        for activation in [Activation::Relu, Activation::Gelu, Activation::Swiglu] {
            let sums = Tensor::<2>::from_data([[-3.0, -0.7, 0.3, 2.0]], &device).require_grad();
            let gate = Tensor::<2>::from_data([[0.4, -2.0, 1.5, -0.1]], &device).require_grad();
            let gate = activation.is_gated().then_some(gate);
            let gradients = hidden_units(activation, sums.clone(), gate.clone()).sum().backward();
            let ones = Tensor::ones([1, 4], &device.clone().inner());
            let inner = gate.clone().map(Tensor::inner);
            let found = to_host(back(activation, sums.clone().inner(), inner, ones));
            let expected: Vec<f32> = [Some(sums), gate]
                .into_iter()
                .flatten()
                .flat_map(|tensor| to_host(tensor.grad(&gradients).unwrap()))
                .collect();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{activation:?}: {found} {expected}");
            }
        }
    }
}
