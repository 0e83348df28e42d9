//! Sums of rows, sum by sum. Backward it is the same with *from* and *into* exchanged.

use burn::{backend::flex::FlexTensor, tensor::Tensor};
use rayon::prelude::*;

use super::pairs::Pairs;
use crate::{
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    rows::{add, widest},
};

/// Sums of a task.
const SUMS: usize = 64;

/// What [`sum_rows`](crate::sum_rows) gives, by the fused form.
pub(super) fn sum_rows(x: Tensor<2>, from: &[u32], into: &[u32], n_sums: usize) -> Tensor<2> {
    apply(Pairs::new(from, into, n_sums), Inputs::default().with(x))
}

impl Operation for Pairs {
    fn forward(&self, inputs: Vec<FlexTensor>) -> FlexTensor {
        let [x] = exactly(inputs);
        self.sums(&x)
    }

    fn forward_tracked(&self, inputs: Vec<FlexTensor>) -> (FlexTensor, WayBack) {
        let [x] = exactly(inputs);
        let [rows, _] = dims(&x);
        let back = self.back(rows);
        (self.sums(&x), WayBack::new(move |grad| vec![back.sums(grad)]))
    }
}

impl Pairs {
    /// `[n_sums, width]`
    fn sums(&self, x: &FlexTensor) -> FlexTensor {
        let ([_, width], terms) = (dims(x), self.terms());
        let x = values(x);
        let mut sums = vec![0.0; self.n_sums * width];
        sums.par_chunks_mut((SUMS * width).max(1)).enumerate().for_each(|(task, sums)| {
            widest(|| {
                for (at, sum) in (task * SUMS..).zip(sums.chunks_exact_mut(width)) {
                    terms.of(at).iter().for_each(|row| add(sum, &x[*row as usize * width..][..width]));
                }
            });
        });
        tensor(sums, [self.n_sums, width])
    }
}
