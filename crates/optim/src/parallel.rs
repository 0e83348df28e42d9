//! Long stretches of values by several threads. They are divided by their length alone, and what the parts give is put together
//! in their order, so that the number of threads changes no bit.

use pulp::Arch;
use rayon::prelude::*;

/// Values of a part. Shorter stretches are not worth another thread.
pub(crate) const PART: usize = 1 << 15;

/// The scalar product of two stretches, in double precision.
pub(crate) fn dot(one: &[f32], other: &[f32]) -> f64 {
    if one.len() <= PART {
        return dot_of_part((one, other));
    }
    let parts: Vec<f64> = one.par_chunks(PART).zip(other.par_chunks(PART)).map(dot_of_part).collect();
    parts.iter().sum()
}

/// A loop with the widest instructions that this CPU has. They change no bit: sums keep their order.
pub(crate) fn widest<R>(values: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(values)
}

/// Sums that are kept apart until the end, so that they are added side by side.
const LANES: usize = 8;

fn dot_of_part((one, other): (&[f32], &[f32])) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((one, one_rest), (other, other_rest)) = (one.as_chunks::<LANES>(), other.as_chunks::<LANES>());
    let product = |(a, b): (&f32, &f32)| f64::from(*a) * f64::from(*b);
    widest(|| {
        for (one, other) in one.iter().zip(other) {
            lanes.iter_mut().zip(one.iter().zip(other)).for_each(|(sum, pair)| *sum += product(pair));
        }
    });
    lanes.iter().sum::<f64>() + one_rest.iter().zip(other_rest).map(product).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_together() {
        let values: Vec<f32> = (0..3 * PART + 7).map(|i| (i % 5) as f32).collect();
        let plain: f64 = values.iter().map(|value| f64::from(value * value)).sum();
        assert_eq!(dot(&values, &values), plain);
        assert_eq!(dot(&values[..5], &values[..5]), 30.0);
    }
}
