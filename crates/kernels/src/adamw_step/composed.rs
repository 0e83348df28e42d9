//! A step of AdamW by tensor operations, on any backend.

use burn::tensor::Tensor;

use super::{AdamWConstants, AdamWRows, AdamWValues};

/// What [`adamw_step`](crate::adamw_step) gives, by ordinary tensor operations.
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
    let AdamWRows { view, step, root, touched } = rows;
    let AdamWConstants { beta1, beta2, eps, shrink, scale } = constants;
    let AdamWValues { weights, moment_1, moment_2 } = values;
    let [step, root] = [step, root].map(|of_rows| of_rows.reshape([1, -1, 1]));
    let gradient = gradient.reshape(view) * scale;
    let old = [weights, moment_1, moment_2].map(|values| values.reshape(view));
    let [weights, moment_1, moment_2] = old.clone();
    let moment_1 = moment_1 * beta1 + gradient.clone() * (1.0 - beta1);
    let moment_2 = moment_2 * beta2 + gradient.clone() * (1.0 - beta2) * gradient;
    let change = moment_1.clone() * step / (moment_2.clone().sqrt() * root + eps);
    let weights = weights * shrink - change;
    let kept = |(new, old): (Tensor<3>, Tensor<3>)| match &touched {
        Some(touched) => old.mask_where(touched.clone().reshape([1, -1, 1]).expand(view), new).reshape([-1]),
        None => new.reshape([-1]),
    };
    let [old_weights, old_1, old_2] = old;
    let [weights, moment_1, moment_2] =
        [(weights, old_weights), (moment_1, old_1), (moment_2, old_2)].map(kept);
    AdamWValues { weights, moment_1, moment_2 }
}
