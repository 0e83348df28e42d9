//! Rows of numbers. What loops over them is compiled into the loops that [`widest`] runs.

use pulp::Arch;

/// Loops with the widest instructions that this CPU has. They change no bit: sums keep their order.
pub(crate) fn widest<R>(loops: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(loops)
}

/// Adds a row to another.
#[inline(always)]
pub(crate) fn add(sum: &mut [f32], row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

/// Adds a multiple of a row to another.
#[inline(always)]
pub(crate) fn add_scaled(sum: &mut [f32], scale: f32, row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += scale * value);
}

/// Sums that are kept apart until the end, so that they are added side by side.
const LANES: usize = 16;

/// The largest value; −∞ of none. A NaN counts for nothing.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let larger = |one: f32, other: f32| if other > one { other } else { one };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    whole.iter().for_each(|values| {
        lanes.iter_mut().zip(values).for_each(|(lane, value)| *lane = larger(*lane, *value))
    });
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

/// The sum of all values.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    sum_of(values, |value| value)
}

/// The sum of something of each value.
#[inline(always)]
pub(crate) fn sum_of(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    whole.iter().for_each(|values| lanes.iter_mut().zip(values).for_each(|(sum, value)| *sum += of(*value)));
    lanes.iter().sum::<f32>() + rest.iter().map(|value| of(*value)).sum::<f32>()
}

/// The scalar product of two rows.
#[inline(always)]
pub(crate) fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((one, one_rest), (other, other_rest)) = (one.as_chunks::<LANES>(), other.as_chunks::<LANES>());
    for (one, other) in one.iter().zip(other) {
        lanes.iter_mut().zip(one.iter().zip(other)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    let rest: f32 = one_rest.iter().zip(other_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Some of the rows of `width` values each.
pub(crate) fn gathered(values: &[f32], width: usize, rows: impl ExactSizeIterator<Item = usize>) -> Vec<f32> {
    let mut gathered = Vec::with_capacity(rows.len() * width);
    rows.for_each(|row| gathered.extend_from_slice(&values[row * width..][..width]));
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_sums_and_products() {
        let values: Vec<f32> = (1..=37).map(|value| value as f32).collect();
        assert_eq!(sum(&values), 703.0);
        // 37 · 38 · 75 / 6
        assert_eq!(dot(&values, &values), 17_575.0);
        assert_eq!((sum(&[]), dot(&[], &[])), (0.0, 0.0));
    }

    #[test]
    fn hand_worked_largest() {
        let mut values = [-3.0; 37];
        assert_eq!((largest(&values), largest(&[])), (-3.0, f32::NEG_INFINITY));
        (values[20], values[36]) = (-1.0, -2.0);
        assert_eq!(largest(&values), -1.0);
        (values[0], values[36]) = (f32::NAN, 4.0);
        assert_eq!(largest(&values), 4.0);
    }

    #[test]
    fn rows_are_gathered_in_the_order_asked_for() {
        assert_eq!(gathered(&[1.0, 2.0, 3.0, 4.0], 2, [1, 0, 1].into_iter()), [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    }
}
