//! Long stretches of values by several threads. They are divided by their length alone, and what the parts give is put together
//! in their order, so that the number of threads changes no bit.

use rayon::prelude::*;

/// Values of a part. Shorter stretches are not worth another thread.
pub(crate) const PART: usize = 1 << 15;

/// The scalar product of two stretches, in double precision.
pub(crate) fn dot(one: &[f32], other: &[f32]) -> f64 {
    let part = |(one, other): (&[f32], &[f32])| -> f64 {
        one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    if one.len() <= PART {
        return part((one, other));
    }
    let parts: Vec<f64> = one.par_chunks(PART).zip(other.par_chunks(PART)).map(part).collect();
    parts.iter().sum()
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
