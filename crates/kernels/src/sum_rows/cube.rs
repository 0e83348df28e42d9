//! Sums of rows on a GPU: a thread for a few neighbouring columns of each sum. Backward it is the same with *from* and *into* exchanged, where
//! Burn's own way back is a thread for each column, which walks over all pairs.

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{DType, Shape, Tensor},
};
use burn_cubecl::{
    CubeBackend,
    cubecl::{self, prelude::*},
    kernel::into_contiguous,
    ops::numeric::{empty_device_contiguous_dtype, zeros},
    tensor::CubeTensor,
};

use super::pairs::Pairs;
use crate::cube::{columns_at_once, launch};

/// What [`sum_rows`](crate::sum_rows) gives, by a kernel.
pub(super) fn sum_rows(x: Tensor<2>, from: &[u32], into: &[u32], n_sums: usize) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::sums(x.into_dispatch(), Pairs::new(from, into, n_sums)))
}

#[backend_extension(Cube, Fusion, Autodiff)]
trait RowSums: Backend {
    #[fusion(dtype = x, shape = shape_of_sums(x, pairs))]
    fn sums(x: FloatTensor<Self>, pairs: Pairs) -> FloatTensor<Self>;
}

fn shape_of_sums(x: &Shape, pairs: &Pairs) -> Shape {
    let [_, width] = x.dims();
    Shape::new([pairs.n_sums, width])
}

impl RowSums for CubeBackend {
    fn sums(x: CubeTensor, pairs: Pairs) -> CubeTensor {
        let (shape, [_, width]) = (shape_of_sums(&x.shape(), &pairs), x.shape().dims());
        let (terms, x) = (pairs.terms(), into_contiguous(x));
        if terms.rows.is_empty() || width == 0 {
            return zeros(x.device.clone(), shape, x.dtype);
        }
        let (client, device) = (x.client.clone(), x.device.clone());
        let indices = |values: &[u32]| {
            let handle = client.create_from_slice(u32::as_bytes(values));
            let shape = Shape::new([values.len()]);
            CubeTensor::new_contiguous(client.clone(), device.clone(), shape, handle, DType::U32)
                .into_buffer_arg()
        };
        let columns = columns_at_once(width);
        let sums = empty_device_contiguous_dtype(client.clone(), device.clone(), shape, x.dtype);
        let threads = pairs.n_sums * width / columns;
        let (cube_count, cube_dim) = launch(&client, threads);
        add_up::launch(
            &client,
            cube_count,
            cube_dim,
            columns,
            x.into_buffer_arg(),
            indices(&terms.starts),
            indices(&terms.rows),
            sums.clone().into_buffer_arg(),
            width / columns,
            threads,
        );
        sums
    }
}

/// A thread for each `N` columns of each sum.
#[cube(launch)]
fn add_up<N: Size>(
    x: &[Vector<f32, N>],
    starts: &[u32],
    rows: &[u32],
    sums: &mut [Vector<f32, N>],
    width: usize,
    threads: usize,
) {
    if ABSOLUTE_POS < threads {
        let (sum, column) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
        let mut total = Vector::new(0.0);
        for pair in starts[sum]..starts[sum + 1] {
            total += x[rows[pair as usize] as usize * width + column];
        }
        sums[ABSOLUTE_POS] = total;
    }
}

impl<B: RowSums, C: CheckpointStrategy> RowSums for Autodiff<B, C> {
    fn sums(x: FloatTensor<Self>, pairs: Pairs) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let [n_rows, _] = x.shape().dims();
        match GoBack.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(pairs.back(n_rows), B::sums(x, pairs)),
            OpsKind::UnTracked(prepared) => prepared.finish(B::sums(x, pairs)),
        }
    }
}

#[derive(Debug)]
struct GoBack;

impl<B: RowSums> Backward<B, 1> for GoBack {
    type State = Pairs;

    fn backward(self, ops: Ops<Pairs, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        if let [Some(x)] = ops.parents {
            gradients.register::<B>(x.id, B::sums(gradient, ops.state));
        }
    }
}
