//! Rows that lie end to end, stretch after stretch.

/// The rows of each stretch.
#[cfg(feature = "flex")]
pub(crate) fn stretches<'a>(values: &'a [f32], lengths: &[usize], width: usize) -> Vec<&'a [f32]> {
    let mut rest = values;
    let of = |length: &usize| {
        let (stretch, after) = rest.split_at(length * width);
        rest = after;
        stretch
    };
    lengths.iter().map(of).collect()
}

/// The same, to write into.
#[cfg(feature = "flex")]
pub(crate) fn stretches_mut<'a>(
    values: &'a mut [f32],
    lengths: &[usize],
    width: usize,
) -> Vec<&'a mut [f32]> {
    let mut rest = values;
    let of = |length: &usize| {
        let (stretch, after) = std::mem::take(&mut rest).split_at_mut(length * width);
        rest = after;
        stretch
    };
    lengths.iter().map(of).collect()
}

/// For each row its place in a grid `[lengths.len(), longest]`.
pub(crate) fn grid_places(lengths: &[usize], longest: usize) -> Vec<u32> {
    let places = |(at, length): (usize, &usize)| at * longest..at * longest + length;
    lengths.iter().enumerate().flat_map(places).map(|place| place as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_worked_grid() {
        assert_eq!(grid_places(&[1, 3], 3), [0, 3, 4, 5]);
    }

    #[cfg(feature = "flex")]
    #[test]
    fn hand_worked_stretches() {
        let mut values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(stretches(&values, &[1, 0, 2], 2), [&[1.0, 2.0][..], &[], &[3.0, 4.0, 5.0, 6.0]]);
        assert_eq!(stretches_mut(&mut values, &[2, 1], 2)[1], [5.0, 6.0]);
    }
}
