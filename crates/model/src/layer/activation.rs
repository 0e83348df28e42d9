//! What hidden units make of their sums, for any backend.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::{
    Tensor,
    activation::{gelu, relu},
};
use moelt_schema::Activation;

/// The activation of each value.
pub(super) fn activate<const D: usize>(activation: Activation, sums: Tensor<D>) -> Tensor<D> {
    match activation {
        Activation::Relu => relu(sums),
        Activation::Gelu => gelu(sums),
    }
}

/// A gradient by activations as one by sums.
pub(super) fn back<const D: usize>(
    activation: Activation,
    sums: Tensor<D>,
    gradient: Tensor<D>,
) -> Tensor<D> {
    match activation {
        Activation::Relu => gradient.mask_fill(sums.lower_equal_elem(0.0), 0.0),
        // Φ(x) + x φ(x)
        Activation::Gelu => {
            let below = ((sums.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
            let density = (sums.clone().square() * -0.5).exp() / (2.0 * PI).sqrt();
            gradient * (below + sums * density)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::to_host;

    #[test]
    fn the_way_back_is_the_derivative() {
        let device = Device::flex().autodiff();
        for activation in [Activation::Relu, Activation::Gelu] {
            let sums = Tensor::<1>::from_data([-3.0, -0.7, 0.3, 2.0], &device).require_grad();
            let gradients = activate(activation, sums.clone()).sum().backward();
            let ones = Tensor::ones([4], &device.clone().inner());
            let found = to_host(back(activation, sums.clone().inner(), ones));
            for (found, expected) in found.iter().zip(to_host(sums.grad(&gradients).unwrap())) {
                assert!((found - expected).abs() < 1e-5, "{activation:?}: {found} {expected}");
            }
        }
    }
}
