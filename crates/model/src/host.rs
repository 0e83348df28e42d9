//! Between host memory and tensors.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Host indices as a tensor.
pub(crate) fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i64> = values.iter().map(|v| i64::from(*v)).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// A tensor's values, row-major, without its graph.
pub(crate) fn to_host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.inner().try_into_vec_as().expect("activations and parameters are f32 on every backend")
}
