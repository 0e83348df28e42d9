//! Products in single precision on a GPU: a thread for each value.

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
    tensor::{Shape, Tensor},
};
use burn_cubecl::{
    CubeBackend,
    cubecl::{self, prelude::*},
    kernel::into_contiguous,
    ops::numeric::{empty_device_contiguous_dtype, zeros},
    tensor::CubeTensor,
};

use crate::cube::{columns_at_once, launch};

/// What [`exact_product`](crate::exact_product) gives, by a kernel.
pub(super) fn exact_product(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::products(x.into_dispatch(), w.into_dispatch()))
}

#[backend_extension(Cube, Fusion, Autodiff)]
trait ExactProducts: Backend {
    #[fusion(dtype = x, shape = shape_of_product(x, w))]
    fn products(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn shape_of_product(x: &Shape, w: &Shape) -> Shape {
    Shape::new([x[0], w[0]])
}

impl ExactProducts for CubeBackend {
    fn products(x: CubeTensor, w: CubeTensor) -> CubeTensor {
        let (shape, [_, width]) = (shape_of_product(&x.shape(), &w.shape()), x.shape().dims());
        let (client, device, dtype, threads) =
            (x.client.clone(), x.device.clone(), x.dtype, shape.num_elements());
        if threads == 0 || width == 0 {
            return zeros(device, shape, dtype);
        }
        let columns = columns_at_once(width);
        let y = empty_device_contiguous_dtype(client.clone(), device, shape.clone(), dtype);
        let (cube_count, cube_dim) = launch(&client, threads);
        multiply::launch(
            &client,
            cube_count,
            cube_dim,
            columns,
            into_contiguous(x).into_buffer_arg(),
            into_contiguous(w).into_buffer_arg(),
            y.clone().into_buffer_arg(),
            shape[1],
            width / columns,
            threads,
        );
        y
    }
}

/// A thread for each value.
#[cube(launch)]
fn multiply<N: Size>(
    x: &[Vector<f32, N>],
    w: &[Vector<f32, N>],
    y: &mut [f32],
    n_columns: usize,
    width: usize,
    threads: usize,
) {
    if ABSOLUTE_POS < threads {
        let (row, column) = (ABSOLUTE_POS / n_columns, ABSOLUTE_POS % n_columns);
        let mut sums = Vector::<f32, N>::new(0.0);
        for at in 0..width {
            sums += x[row * width + at] * w[column * width + at];
        }
        let mut sum = 0.0f32;
        #[unroll]
        for i in 0..N::value() {
            sum += sums.extract(i);
        }
        y[ABSOLUTE_POS] = sum;
    }
}

impl<B: ExactProducts, C: CheckpointStrategy> ExactProducts for Autodiff<B, C> {
    fn products(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((x, x_node), (w, w_node)) = (x.into_parts(), w.into_parts());
        match GoBack.prepare::<C>([x_node, w_node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish([x.clone(), w.clone()], B::products(x, w)),
            OpsKind::UnTracked(prepared) => prepared.finish(B::products(x, w)),
        }
    }
}

#[derive(Debug)]
struct GoBack;

impl<B: ExactProducts> Backward<B, 2> for GoBack {
    /// Both inputs.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (y, [x, w], [to_x, to_w]) = (gradients.consume::<B>(&ops.node), ops.state, ops.parents);
        if let Some(to_x) = to_x {
            gradients.register::<B>(to_x.id, B::float_matmul(y.clone(), w));
        }
        if let Some(to_w) = to_w {
            gradients.register::<B>(to_w.id, B::float_matmul(B::float_transpose(y), x));
        }
    }
}
