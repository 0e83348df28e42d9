//! What kernels for GPUs have in common.

use burn::{
    backend::DispatchDevice,
    tensor::{DType, Tensor},
};
use burn_cubecl::cubecl::{calculate_cube_count_elemwise, client::Client, prelude::*};

/// Columns of a thread, the most first: a read of 16 bytes is as fast as one of 4.
const COLUMNS: [usize; 3] = [4, 2, 1];

/// Whether the tensor is one that kernels take: `f32`, on a backend of CubeCL.
pub(crate) fn is_on_cube<const D: usize>(x: &Tensor<D>) -> bool {
    matches!(x.device().inner().as_dispatch(), DispatchDevice::Cube(_)) && x.dtype() == DType::F32
}

/// The same where there is no graph of gradients, for kernels that have no way back.
pub(crate) fn is_untracked_on_cube<const D: usize>(x: &Tensor<D>) -> bool {
    is_on_cube(x) && !x.is_autodiff()
}

/// How many neighbouring columns of `width` a thread takes at once.
pub(crate) fn columns_at_once(width: usize) -> usize {
    COLUMNS.into_iter().find(|n| width.is_multiple_of(*n)).unwrap_or(1)
}

/// How to launch so many threads, each of which knows its number.
///
/// # Panics
/// When they are more than kernels can count.
pub(crate) fn launch(client: &Client, threads: usize) -> (CubeCount, CubeDim) {
    assert!(u32::try_from(threads).is_ok(), "{threads} threads of a kernel");
    let cube_dim = CubeDim::new(client, threads);
    (calculate_cube_count_elemwise(client, threads, cube_dim), cube_dim)
}
