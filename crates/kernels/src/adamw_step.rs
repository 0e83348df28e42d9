//! A step of AdamW where a parameter lies.

use burn::tensor::{Bool, Tensor};

pub(crate) mod composed;
#[cfg(feature = "cube")]
mod cube;

/// A parameter and what AdamW remembers of it, `[n]` each, row-major.
#[derive(Clone, Debug)]
pub struct AdamWValues {
    /// The parameter.
    pub weights: Tensor<1>,
    /// Running mean of its gradient.
    pub moment_1: Tensor<1>,
    /// Running mean of its square.
    pub moment_2: Tensor<1>,
}

/// What a step has in common for all values.
#[derive(Clone, Copy, Debug)]
pub struct AdamWConstants {
    /// First-moment decay.
    pub beta1: f32,
    /// Second-moment decay.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// What weights are multiplied by: 1 − learning rate · weight decay.
    pub shrink: f32,
    /// What gradients are multiplied by.
    pub scale: f32,
}

/// What it is for the values of a row, whose numbers of steps may differ.
#[derive(Clone, Debug)]
pub struct AdamWRows {
    /// The shape `[outer, rows, inner]` in which rows lie along the middle axis.
    pub view: [usize; 3],
    /// What the first moment is multiplied by, `[rows]`: learning rate / (1 − β₁ᵗ).
    pub step: Tensor<1>,
    /// What the root of the second moment is multiplied by, `[rows]`: 1 / √(1 − β₂ᵗ).
    pub root: Tensor<1>,
    /// The rows that are stepped, `[rows]`, others stay as they are; none: all are stepped.
    pub touched: Option<Tensor<1, Bool>>,
}

/// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `w ← shrink · w − step · m / (root · √v + eps)`, with the gradient times `scale`
/// for g (Loshchilov & Hutter 2019).
///
/// On GPUs it is one kernel, which writes over values that nothing else holds; elsewhere a chain of tensor operations.
///
/// # Shapes
/// - gradient: `[n]`
///
/// # Panics
/// When shapes do not fit.
pub fn adamw_step(
    values: AdamWValues,
    gradient: Tensor<1>,
    constants: AdamWConstants,
    rows: AdamWRows,
) -> AdamWValues {
    let [n] = gradient.dims();
    let AdamWValues { weights, moment_1, moment_2 } = &values;
    assert_eq!(rows.view.iter().product::<usize>(), n, "rows {:?} of {n} values", rows.view);
    assert_eq!(
        [weights, moment_1, moment_2].map(Tensor::dims),
        [[n]; 3],
        "weights and moments of {n} values"
    );
    let of_rows = [Some(rows.step.dims()), Some(rows.root.dims()), rows.touched.as_ref().map(Tensor::dims)];
    assert!(of_rows.into_iter().flatten().all(|dims| dims == [rows.view[1]]), "rows {:?}", rows.view);
    #[cfg(feature = "cube")]
    if crate::cube::is_untracked_on_cube(&values.weights) {
        return cube::adamw_step(values, gradient, constants, rows);
    }
    composed::adamw_step(values, gradient, constants, rows)
}
