//! Growth criteria: what gradients say, without a step, about one more expert.

mod expert_gradients;
mod expressivity;
#[cfg(test)]
mod tests;

use moelt_schema::GrowthCriteria;
use nalgebra::DMatrix;
use rand::Rng;

use self::{expert_gradients::Turn, expressivity::expressivity_gap};
use crate::flops::Flops;

pub use self::expert_gradients::ExpertGradients;

/// Experts with fewer tokens say nothing.
const LEAST_TOKENS: usize = 40;

/// What one backward pass showed of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerGradients {
    /// Mean cross entropy of the texts, nats.
    pub loss: f64,
    /// What experts see, `[tokens, d_model]`, row by row.
    pub inputs: Vec<f32>,
    /// The gradient of each token's text at the layer's output, `[tokens, d_model]`, row by row.
    pub gradients: Vec<f32>,
    /// Columns of both.
    pub d_model: usize,
    /// The experts that got tokens.
    pub experts: Vec<ExpertGradients>,
}

/// The criteria of a layer, `split_gain` known before, and the FLOPs of the matrix products over tokens. None where a number is
/// not finite, or no expert has 40 tokens.
///
/// # Panics
/// When lengths do not fit.
pub fn growth_criteria(
    layer: &LayerGradients,
    split_gain: f64,
    rng: &mut impl Rng,
) -> (Option<GrowthCriteria>, u64) {
    let mut flops = Flops::default();
    let scale = 1.0 / root_mean_square(&layer.inputs);
    let gradmax = gradmax(layer, scale, &mut flops);
    let experts: Vec<&ExpertGradients> =
        layer.experts.iter().filter(|expert| expert.tokens >= LEAST_TOKENS).collect();
    let tokens: usize = layer.experts.iter().map(|expert| expert.tokens).sum();
    let of_experts: usize = experts.iter().map(|expert| expert.tokens).sum();
    let (mut split_direction, mut conflict, mut variance, mut gap) = (0.0_f64, 0.0, 0.0, 0.0);
    for expert in &experts {
        let share = expert.tokens as f64 / of_experts as f64;
        let Turn { direction, conflict: its_conflict, variance: its_variance } =
            expert.turn(scale, &mut flops);
        split_direction = split_direction.max(direction * expert.tokens as f64 / tokens as f64);
        conflict += share * its_conflict;
        variance += share * its_variance;
        gap += share * expressivity_gap(expert, rng, &mut flops);
    }
    let criteria = GrowthCriteria {
        loss: layer.loss,
        gradmax,
        split_direction,
        gradient_conflict: conflict,
        gradient_variance: variance,
        expressivity_gap: gap,
        split_gain,
    };
    (Some(criteria).filter(|criteria| !experts.is_empty() && criteria.is_finite()), flops.0)
}

/// The largest singular value of the mean of (input · scale, 1) ⊗ gradient.
fn gradmax(layer: &LayerGradients, scale: f64, flops: &mut Flops) -> f64 {
    let inputs = matrix(&layer.inputs, layer.d_model) * scale;
    let gradients = matrix(&layer.gradients, layer.d_model);
    let (tokens, constant) = (inputs.nrows(), inputs.ncols());
    assert_eq!(gradients.nrows(), tokens, "a gradient for each token");
    flops.product(constant + 1, tokens, constant);
    let mean = inputs.insert_column(constant, 1.0).transpose() * gradients / tokens as f64;
    largest_eigenvalue(mean.transpose() * &mean).sqrt()
}

/// `[rows, columns]` of values row by row.
fn matrix(values: &[f32], columns: usize) -> DMatrix<f64> {
    assert!(
        columns > 0 && values.len().is_multiple_of(columns),
        "{} values in {columns} columns",
        values.len()
    );
    DMatrix::from_row_iterator(values.len() / columns, columns, values.iter().copied().map(f64::from))
}

/// Of a symmetric matrix without negative eigenvalues but for rounding; NaN where a number is not finite.
fn largest_eigenvalue(symmetric: DMatrix<f64>) -> f64 {
    if symmetric.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    symmetric.symmetric_eigenvalues().max().max(0.0)
}

fn root_mean_square(values: &[f32]) -> f64 {
    (values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}
