//! How exact a device's matrix products are.

use burn::tensor::{Device, Tensor, TensorData};

use crate::evaluate::host;

/// Rows and columns of a product that a device takes the usual way.
const N: usize = 64;

/// The largest relative error that a matrix product makes of an operand: 0 in single precision, half of 2⁻¹⁰ where a device multiplies `f32`
/// in TF32, as Burn does on NVIDIA's tensor cores.
pub(super) fn of_products(device: &Device) -> f32 {
    // 1 + ½, 1 + ¼ and so on to the last bit, times the identity.
    let values: Vec<f32> = (0..N * N).map(|at| 1.0 + 2f32.powi(-1 - (at % 23) as i32)).collect();
    let x = Tensor::<2>::from_data(TensorData::new(values.clone(), [N, N]), device);
    let products = host(x.matmul(Tensor::eye(N, device)));
    products.iter().zip(values).map(|(is, exact)| (is - exact).abs() / exact).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_multiplies_in_single_precision() {
        assert_eq!(of_products(&Device::flex()), 0.0);
    }
}
