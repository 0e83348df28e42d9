//! Which rows have a gradient.

use burn::tensor::{Bool, Tensor};

/// Which rows have a value that is not 0, `[rows]`: one that is not a number, too.
///
/// # Shapes
/// - values: `[n]`, row-major
/// - view: `[outer, rows, inner]`, in which rows lie along the middle axis
///
/// # Panics
/// When the shapes do not fit.
pub fn touched_rows(values: Tensor<1>, view: [usize; 3]) -> Tensor<1, Bool> {
    let ([n], in_view) = (values.dims(), view.iter().product::<usize>());
    assert_eq!(in_view, n, "rows {view:?} of {n} values");
    match n {
        0 => Tensor::<1>::zeros([view[1]], &values.device()),
        _ => largest(values, view),
    }
    .not_equal_elem(0.0)
}

/// A number for each row, `[rows]`, which is 0 where all of its values are.
fn largest(values: Tensor<1>, view: [usize; 3]) -> Tensor<1> {
    #[cfg(feature = "cube")]
    if crate::cube::is_untracked_on_cube(&values) {
        return crate::lanes::of_rows(values, view, crate::lanes::Found::Flag);
    }
    values.reshape(view).max_abs_dim(0).max_dim(2).reshape([-1])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn hand_worked_rows_of_the_middle_axis() {
        let values = [0.0, 0.0, 0.0, -1.0, 0.0, 0.0, /**/ 0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0];
        let touched = touched_rows(Tensor::from_data(values, &Device::flex()), [2, 3, 2]);
        assert_eq!(touched.int().try_into_vec_as::<i64>().unwrap(), [0, 1, 1]);
    }
}
