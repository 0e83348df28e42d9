//! How exact a device's matrix products are.

use burn::tensor::{Device, Tensor, TensorData};

use crate::evaluate::host;

/// Rows and columns of a product that a device takes the usual way.
const N: usize = 64;

/// The largest relative error that a matrix product makes of an operand: 0 in single precision, half of 2⁻¹⁰ where a device multiplies `f32`
/// in TF32, as Burn does on NVIDIA's tensor cores. It is NaN where a product is.
pub(super) fn of_products(device: &Device) -> f32 {
    // 1 with ever more of the last bits set, times the identity.
    let value = |at: usize| f32::from_bits(1f32.to_bits() | ((1 << (at % 24)) - 1));
    let values: Vec<f32> = (0..N * N).map(value).collect();
    let x = Tensor::<2>::from_data(TensorData::new(values.clone(), [N, N]), device);
    let products = host(x.matmul(Tensor::eye(N, device)));
    let errors = products.iter().zip(values).map(|(is, exact)| (is - exact).abs() / exact);
    errors.fold(0.0, |most, error| if error > most || error.is_nan() { error } else { most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_multiplies_in_single_precision() {
        assert_eq!(of_products(&Device::flex()), 0.0);
    }
}
