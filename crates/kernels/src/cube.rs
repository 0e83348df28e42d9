//! What kernels for GPUs have in common.

use burn::{
    backend::DispatchDevice,
    tensor::{DType, Tensor},
};

/// Columns of a thread, the most first: a read of 16 bytes is as fast as one of 4.
const COLUMNS: [usize; 3] = [4, 2, 1];

/// Whether the tensor is one that kernels for GPUs take: `f32`, on a GPU.
pub(crate) fn is_on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.device().inner().as_dispatch(), DispatchDevice::Cube(_)) && x.dtype() == DType::F32
}

/// How many neighbouring columns of `width` a thread takes at once.
pub(crate) fn columns_at_once(width: usize) -> usize {
    COLUMNS.into_iter().find(|n| width.is_multiple_of(*n)).unwrap_or(1)
}
