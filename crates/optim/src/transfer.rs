//! Between host memory and tensors in one row.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// Values on a device.
pub(crate) fn flat(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// Whole numbers on a device.
pub(crate) fn whole(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// Values on the host.
pub(crate) fn read(values: Tensor<1>) -> Vec<f32> {
    values.try_into_vec_as().expect("moelt trains in f32")
}

/// The values, with none left in their place: a device writes over what nobody else holds.
pub(crate) fn taken(values: &mut Tensor<1>) -> Tensor<1> {
    let none = Tensor::empty([0], &values.device());
    std::mem::replace(values, none)
}
