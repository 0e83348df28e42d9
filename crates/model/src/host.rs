//! Between host memory and tensors.

use burn::tensor::Tensor;

/// A tensor's values, row-major, without its graph.
pub(crate) fn to_host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.inner().try_into_vec_as().expect("activations and parameters are f32 on every backend")
}
