//! Reductions of long rows on a GPU: many threads a row, each with every n-th value, and what they found. By Burn's own reduction a
//! row is the work of one thread: 20 ms for 33 million values in 64 rows on an H100.

use burn::{
    backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor},
    tensor::{Shape, Tensor},
};
use burn_cubecl::{
    CubeBackend,
    cubecl::{self, calculate_cube_count_elemwise, prelude::*},
    kernel::into_contiguous,
    ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};

/// Threads to ask for in all, as far as rows are long enough.
const THREADS: usize = 1 << 17;

/// What is found in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OfLane {
    /// 1 where a value is not 0, or else 0.
    Flag,
    /// The sum of the squares.
    SquareSum,
}

/// What is found in each lane of each row, `[rows, lanes]`.
///
/// # Shapes
/// - values: `[n]`, row-major
/// - view: `[outer, rows, inner]`, in which rows lie along the middle axis
pub(crate) fn of_lanes(values: Tensor<1>, view: [usize; 3], what: OfLane) -> Tensor<2> {
    let [_, rows, inner] = view;
    let lanes = (THREADS / rows.max(1)).clamp(1, inner.max(1));
    Tensor::from_dispatch(Dispatch::lanes_of_rows(values.into_dispatch(), view, lanes, what))
}

#[backend_extension(Cube, Fusion)]
trait LanesOfRows: Backend {
    #[fusion(dtype = values, shape = shape_of_lanes(view, lanes))]
    fn lanes_of_rows(
        values: FloatTensor<Self>,
        view: [usize; 3],
        lanes: usize,
        what: OfLane,
    ) -> FloatTensor<Self>;
}

fn shape_of_lanes([_, rows, _]: &[usize; 3], lanes: &usize) -> Shape {
    Shape::new([*rows, *lanes])
}

impl LanesOfRows for CubeBackend {
    fn lanes_of_rows(values: CubeTensor, view: [usize; 3], lanes: usize, what: OfLane) -> CubeTensor {
        let (shape, client, [outer, rows, inner]) =
            (shape_of_lanes(&view, &lanes), values.client.clone(), view);
        let threads = shape.num_elements();
        let found = empty_device_contiguous_dtype(client.clone(), values.device.clone(), shape, values.dtype);
        if threads > 0 {
            let cube_dim = CubeDim::new(&client, threads);
            find::launch(
                &client,
                calculate_cube_count_elemwise(&client, threads, cube_dim),
                cube_dim,
                into_contiguous(values).into_buffer_arg(),
                found.clone().into_buffer_arg(),
                outer,
                rows,
                inner,
                lanes,
                what == OfLane::SquareSum,
            );
        }
        found
    }
}

/// A thread for each lane of each row.
#[cube(launch)]
fn find(
    values: &[f32],
    found: &mut [f32],
    outer: usize,
    rows: usize,
    inner: usize,
    lanes: usize,
    #[comptime] squares: bool,
) {
    if ABSOLUTE_POS < rows * lanes {
        let (row, lane) = (ABSOLUTE_POS / lanes, ABSOLUTE_POS % lanes);
        let mut sum = 0.0f32;
        for block in 0..outer {
            for at in range_stepped(lane, inner, lanes) {
                let value = values[(block * rows + row) * inner + at];
                if comptime!(squares) {
                    sum += value * value;
                } else if value != 0.0 {
                    sum = 1.0;
                }
            }
        }
        found[ABSOLUTE_POS] = sum;
    }
}
