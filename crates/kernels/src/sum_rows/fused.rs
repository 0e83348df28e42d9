//! Sums of rows, sum by sum. Backward it is the same with *from* and *into* exchanged.

use std::sync::Arc;

use burn::{backend::flex::FlexTensor, tensor::Tensor};
use rayon::prelude::*;

use crate::{
    extension::{Inputs, Operation, WayBack, apply, dims, exactly, tensor, values},
    rows::{add, widest},
};

/// Sums of a task.
const SUMS: usize = 64;

/// What [`sum_rows`](crate::sum_rows) gives, by the fused form.
pub(super) fn sum_rows(x: Tensor<2>, from: &[u32], into: &[u32], n_sums: usize) -> Tensor<2> {
    let pairs = Pairs { from: from.into(), into: into.into(), n_sums };
    apply(pairs, Inputs::default().with(x))
}

/// Which row is added to which sum.
#[derive(Clone, Debug)]
struct Pairs {
    from: Arc<[u32]>,
    into: Arc<[u32]>,
    n_sums: usize,
}

impl Operation for Pairs {
    fn forward(&self, inputs: Vec<FlexTensor>) -> FlexTensor {
        let [x] = exactly(inputs);
        self.sums(&x)
    }

    fn forward_tracked(&self, inputs: Vec<FlexTensor>) -> (FlexTensor, WayBack) {
        let [x] = exactly(inputs);
        let [rows, _] = dims(&x);
        let back = Self { from: self.into.clone(), into: self.from.clone(), n_sums: rows };
        (self.sums(&x), WayBack::new(move |grad| vec![back.sums(grad)]))
    }
}

impl Pairs {
    /// `[n_sums, width]`
    fn sums(&self, x: &FlexTensor) -> FlexTensor {
        let ([_, width], terms) = (dims(x), Terms::new(&self.from, &self.into, self.n_sums));
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

/// The rows of each sum, in the order in which they are added.
struct Terms {
    /// Where the rows of a sum begin, and after the last one where they end.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Terms {
    /// By counting.
    fn new(from: &[u32], into: &[u32], n_sums: usize) -> Self {
        let mut starts = vec![0; n_sums + 1];
        into.iter().for_each(|sum| starts[*sum as usize + 1] += 1);
        for sum in 0..n_sums {
            starts[sum + 1] += starts[sum];
        }
        let (mut next, mut rows) = (starts.clone(), vec![0; from.len()]);
        for (row, sum) in from.iter().zip(into) {
            let at = &mut next[*sum as usize];
            rows[*at as usize] = *row;
            *at += 1;
        }
        Self { starts, rows }
    }

    fn of(&self, sum: usize) -> &[u32] {
        &self.rows[self.starts[sum] as usize..self.starts[sum + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_terms() {
        let terms = Terms::new(&[7, 3, 7, 5], &[2, 0, 0, 2], 4);
        let of: Vec<&[u32]> = (0..4).map(|sum| terms.of(sum)).collect();
        assert_eq!(of, [&[3, 7][..], &[], &[7, 5], &[]]);
    }
}
