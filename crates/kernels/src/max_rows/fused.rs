//! Largest values, stretch by stretch, with the rows that have them.

use std::sync::Arc;

use burn::{backend::flex::FlexTensor, tensor::Tensor};
use rayon::prelude::*;

use crate::{
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    stretches::{stretches, stretches_mut},
};

/// What [`max_rows`](crate::max_rows) gives, by the fused form.
pub(super) fn max_rows(x: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
    apply(MaxRows { lengths: lengths.into() }, Inputs::default().with(x))
}

#[derive(Debug)]
struct MaxRows {
    lengths: Arc<[usize]>,
}

impl Operation for MaxRows {
    fn forward(&self, inputs: Vec<FlexTensor>) -> FlexTensor {
        let [x] = exactly(inputs);
        self.largest(&x).0
    }

    fn forward_tracked(&self, inputs: Vec<FlexTensor>) -> (FlexTensor, WayBack) {
        let [x] = exactly(inputs);
        let (y, places) = self.largest(&x);
        let (shape, lengths): ([usize; 2], _) = (dims(&x), self.lengths.clone());
        (y, WayBack::new(move |grad| vec![spread(grad, &places, &lengths, shape)]))
    }
}

impl MaxRows {
    /// `[stretches, width]`, and for each value its row within the stretch.
    fn largest(&self, x: &FlexTensor) -> (FlexTensor, Vec<u32>) {
        let ([_, width], n) = (dims(x), self.lengths.len());
        let (mut y, mut places) = (vec![0.0; n * width], vec![0; n * width]);
        let stretches = stretches(values(x), &self.lengths, width);
        let of_stretches = y.par_chunks_mut(width.max(1)).zip(places.par_chunks_mut(width.max(1)));
        of_stretches.zip(stretches).for_each(|((y, places), stretch)| largest_of(stretch, y, places));
        (tensor(y, [n, width]), places)
    }
}

/// A NaN wins, and the first of them, as in Burn's `max`.
fn largest_of(stretch: &[f32], y: &mut [f32], places: &mut [u32]) {
    y.copy_from_slice(&stretch[..y.len()]);
    for (at, row) in (1..).zip(stretch.chunks_exact(y.len()).skip(1)) {
        for ((y, place), value) in y.iter_mut().zip(&mut *places).zip(row) {
            if *value > *y || (value.is_nan() && !y.is_nan()) {
                (*y, *place) = (*value, at);
            }
        }
    }
}

/// The gradient of `x`.
fn spread(grad: &FlexTensor, places: &[u32], lengths: &[usize], shape: [usize; 2]) -> FlexTensor {
    let ([rows, width], grad) = (shape, values(grad));
    let mut x = vec![0.0; rows * width];
    let of_stretches = places.chunks(width.max(1)).zip(grad.chunks(width.max(1)));
    for (stretch, (places, grad)) in stretches_mut(&mut x, lengths, width).into_iter().zip(of_stretches) {
        for (column, (place, grad)) in places.iter().zip(grad).enumerate() {
            stretch[*place as usize * width + column] = *grad;
        }
    }
    tensor(x, shape)
}
