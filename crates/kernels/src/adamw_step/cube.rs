//! A step of AdamW on a GPU: one kernel, in place where nothing else holds the values.

use burn::{
    backend::{Backend, Dispatch, TensorMetadata, backend_extension, tensor::FloatTensor},
    tensor::Tensor,
};
use burn_cubecl::{
    CubeBackend,
    cubecl::{self, prelude::*},
    kernel::into_contiguous,
    tensor::CubeTensor,
};

use super::{AdamWConstants, AdamWRows, AdamWValues};
use crate::cube::{columns_at_once, launch};

/// What [`adamw_step`](crate::adamw_step) gives, by a kernel.
pub(super) fn adamw_step(
    values: AdamWValues,
    gradient: Tensor<1>,
    constants: AdamWConstants,
    rows: AdamWRows,
) -> AdamWValues {
    let AdamWValues { weights, moment_1, moment_2 } = values;
    let AdamWRows { view, step, root, touched } = rows;
    let touched = touched.map_or_else(|| step.ones_like(), |touched| touched.float());
    let of_rows = Tensor::cat(vec![step, root, touched], 0);
    let [weights, moment_1, moment_2, gradient, of_rows] =
        [weights, moment_1, moment_2, gradient, of_rows].map(Tensor::into_dispatch);
    let stepped = Dispatch::stepped(weights, moment_1, moment_2, gradient, of_rows, view, constants);
    let (weights, moment_1, moment_2) = stepped;
    let [weights, moment_1, moment_2] = [weights, moment_1, moment_2].map(Tensor::from_dispatch);
    AdamWValues { weights, moment_1, moment_2 }
}

#[backend_extension(Cube, Fusion)]
trait AdamWSteps: Backend {
    /// Weights and both moments. `of_rows` is `[3 · rows]`: step, root, and 1 for what is stepped or 0.
    #[fusion(meta = |weights, moment_1, moment_2, _, _, _, _| (weights.clone(), moment_1.clone(), moment_2.clone()))]
    fn stepped(
        weights: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        of_rows: FloatTensor<Self>,
        view: [usize; 3],
        constants: AdamWConstants,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl AdamWSteps for CubeBackend {
    fn stepped(
        weights: CubeTensor,
        moment_1: CubeTensor,
        moment_2: CubeTensor,
        gradient: CubeTensor,
        of_rows: CubeTensor,
        view: [usize; 3],
        constants: AdamWConstants,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let [weights, moment_1, moment_2] = [weights, moment_1, moment_2].map(to_write_to);
        let ([_, rows, inner], client, n) = (view, weights.client.clone(), weights.shape().num_elements());
        let columns = columns_at_once(inner);
        let threads = n / columns;
        if threads > 0 {
            let AdamWConstants { beta1, beta2, eps, shrink, scale } = constants;
            let (cube_count, cube_dim) = launch(&client, threads);
            step::launch(
                &client,
                cube_count,
                cube_dim,
                columns,
                weights.clone().into_buffer_arg(),
                moment_1.clone().into_buffer_arg(),
                moment_2.clone().into_buffer_arg(),
                into_contiguous(gradient).into_buffer_arg(),
                into_contiguous(of_rows).into_buffer_arg(),
                ConstantsLaunch::new(beta1, beta2, eps, shrink, scale),
                rows,
                inner / columns,
                threads,
            );
        }
        (weights, moment_1, moment_2)
    }
}

/// The same values, in memory that nothing else looks at.
fn to_write_to(values: CubeTensor) -> CubeTensor {
    let values = into_contiguous(values);
    if values.can_mut() { values } else { values.copy() }
}

/// [`AdamWConstants`] in a kernel.
#[derive(CubeLaunch, CubeType, Clone, Copy)]
struct Constants {
    beta1: f32,
    beta2: f32,
    eps: f32,
    shrink: f32,
    scale: f32,
}

/// A thread for each `N` neighbouring values of a row.
#[cube(launch)]
#[allow(clippy::too_many_arguments, reason = "a kernel's buffers are its arguments")]
fn step<N: Size>(
    weights: &mut [Vector<f32, N>],
    moment_1: &mut [Vector<f32, N>],
    moment_2: &mut [Vector<f32, N>],
    gradient: &[Vector<f32, N>],
    of_rows: &[f32],
    constants: Constants,
    rows: usize,
    inner: usize,
    threads: usize,
) {
    if ABSOLUTE_POS < threads {
        let at = ABSOLUTE_POS;
        let row = (at / inner) % rows;
        if of_rows[2 * rows + row] != 0.0 {
            let g = gradient[at] * Vector::new(constants.scale);
            let m = moment_1[at] * Vector::new(constants.beta1) + g * Vector::new(1.0 - constants.beta1);
            let v = moment_2[at] * Vector::new(constants.beta2) + g * Vector::new(1.0 - constants.beta2) * g;
            let below = Vector::sqrt(v) * Vector::new(of_rows[rows + row]) + Vector::new(constants.eps);
            weights[at] = weights[at] * Vector::new(constants.shrink) - m * Vector::new(of_rows[row]) / below;
            moment_1[at] = m;
            moment_2[at] = v;
        }
    }
}
