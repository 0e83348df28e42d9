//! From a gate to rows of a router.

use moelt_schema::RouterShift;
use nalgebra::{Cholesky, DMatrix, DVector};

use super::ExpertRows;
use crate::rows::centred;

/// Ridge of the regression of the gate on x, as a part of the mean variance of a column of x.
const RIDGE: f64 = 0.1;

/// Standard deviation of the difference of the two router logits over the expert's rows.
const SPREAD: f64 = 3.0;

/// A linear function of what the router sees: the log odds that a row is on the positive side.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// `[d_model]`.
    pub direction: Vec<f64>,
    /// Log odds at x = 0.
    pub constant: f64,
}

impl Gate {
    /// Of its coefficients, `[d_model + 1]`, the constant last.
    pub(super) fn of(coefficients: &[f64]) -> Self {
        let (constant, direction) = coefficients.split_last().expect("a constant is always there");
        Self { direction: direction.to_vec(), constant: *constant }
    }

    /// `direction · x + constant` for a row `[d_model]`: above 0 on the positive side.
    ///
    /// # Panics
    /// When x has another length.
    pub fn score(&self, x: &[f32]) -> f64 {
        assert_eq!(x.len(), self.direction.len(), "x is [d_model], as the gate is");
        let products = x.iter().zip(&self.direction).map(|(x, direction)| f64::from(*x) * direction);
        products.sum::<f64>() + self.constant
    }
}

/// How far the router rows of two halves lie apart, so that the rows of the gate's positive side go to the child: its router logit
/// moves by `+(direction · x + constant) / 2`, and the parent's by as much in the other direction.
///
/// A gate that was fitted in white coordinates leans on directions in which x hardly varies, and as a router row
/// it would be out of scale. What is learnt from it is only which rows go where: with t = tanh(score / 2) for every
/// row (chance of the positive side minus chance of the negative) and s² the mean variance of a column of x,
/// `u = (Cov x + 0.1 s²)⁻¹ Cov(x, t)`, scaled so that u · x has a standard deviation of 3 over these rows. The
/// constant sends as many rows to the child as the gate has on its positive side. Zero where the gate is the same
/// for every row. `covariance` is that of the columns of `x`, `[d_model, d_model]`; `x` are the rows as a matrix.
///
/// # Panics
/// When lengths do not fit.
pub(super) fn router_shift(
    rows: &ExpertRows,
    x: &DMatrix<f64>,
    covariance: &DMatrix<f64>,
    gate: &Gate,
) -> RouterShift {
    let scores: Vec<f64> = rows.x.chunks_exact(rows.d_model).map(|x| gate.score(x)).collect();
    let sides = DVector::from_iterator(scores.len(), scores.iter().map(|score| (score / 2.0).tanh()));
    let none = RouterShift { direction: vec![0.0; rows.d_model], constant: 0.0 };
    let Some(direction) = ridge_regression(x, covariance, &sides) else { return none };
    let projections = x * &direction;
    let spread = projections.variance().sqrt();
    if !(spread.is_finite() && spread > 1e-12 * projections.amax()) {
        return none;
    }
    let scale = SPREAD / spread;
    let positive = scores.iter().filter(|score| **score > 0.0).count();
    let constant = -threshold((projections * scale).as_slice(), positive);
    let direction = (direction * scale).iter().map(|value| *value as f32).collect();
    RouterShift { direction, constant }
}

/// `(Cov x + 0.1 s²)⁻¹ Cov(x, t)`; none where x does not vary or is not finite.
fn ridge_regression(x: &DMatrix<f64>, covariance: &DMatrix<f64>, t: &DVector<f64>) -> Option<DVector<f64>> {
    let mut covariance = covariance.clone();
    let ridge = RIDGE * covariance.trace() / x.ncols() as f64;
    for at in 0..x.ncols() {
        covariance[(at, at)] += ridge;
    }
    let with_t = centred(x, &x.row_mean()).tr_mul(&t.add_scalar(-t.mean())) / x.nrows() as f64;
    Some(Cholesky::new(covariance)?.solve(&with_t))
}

/// A number that so many of the values are above, half way between two of them.
fn threshold(values: &[f64], above: usize) -> f64 {
    let mut falling = values.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    let lowest_above = above.checked_sub(1).and_then(|at| falling.get(at));
    match (lowest_above, falling.get(above)) {
        (Some(over), Some(under)) => f64::midpoint(*over, *under),
        (Some(over), None) => over - 1.0,
        (None, Some(under)) => under + 1.0,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_by_hand() {
        let gate = Gate { direction: vec![2.0, -0.5], constant: 0.25 };
        assert_eq!(gate.score(&[1.5, 2.0]), 2.25);
    }

    #[test]
    fn thresholds_lie_between_values() {
        let values = [1.0, 4.0, 2.0];
        assert_eq!([0, 1, 2, 3].map(|above| threshold(&values, above)), [5.0, 3.0, 1.5, 0.0]);
        assert_eq!(threshold(&[], 0), 0.0);
    }

    fn rows(x: Vec<f32>, d_model: usize) -> ExpertRows {
        let n = x.len() / d_model;
        ExpertRows {
            x,
            d_model,
            labels: vec![0; n],
            n_classes: 2,
            probs: vec![0.5; 2 * n],
            texts: (0..n as u32).collect(),
        }
    }

    fn shift(rows: &ExpertRows, gate: &Gate) -> RouterShift {
        let x = rows.matrix();
        let about_mean = centred(&x, &x.row_mean());
        router_shift(rows, &x, &(about_mean.tr_mul(&about_mean) / x.nrows() as f64), gate)
    }

    /// x = ±1 in two columns that do not correlate; a gate on the first alone: Cov x = I, u ∝ (1, 0), and its
    /// spread of 3 gives (3, 0). Two of four rows are positive, so that the constant is 0.
    #[test]
    fn a_move_by_hand() {
        let rows = rows(vec![-1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0], 2);
        let moved = shift(&rows, &Gate { direction: vec![7.0, 0.0], constant: 0.0 });
        assert!((moved.direction[0] - 3.0).abs() < 1e-6 && moved.direction[1].abs() < 1e-6, "{moved:?}");
        assert!(moved.constant.abs() < 1e-12);
    }

    /// The spread is 3 and as many rows go to the child as the gate has on its positive side, wherever that lies.
    #[test]
    fn spread_and_shares_are_kept() {
        let x: Vec<f32> = (0..300).map(|at| ((at * 37 % 101) as f32).sqrt() + (at % 3 * 5) as f32).collect();
        let rows = rows(x, 3);
        for constant in [-30.0, -3.0, 0.0, 1.0, 4.0, 30.0] {
            let gate = Gate { direction: vec![1.0, -0.5, 0.01], constant };
            let RouterShift { direction, constant: moved } = shift(&rows, &gate);
            let direction = direction.into_iter().map(f64::from).collect();
            let child = Gate { direction, constant: moved };
            let scores = |gate: &Gate| rows.x.chunks_exact(3).map(|x| gate.score(x)).collect::<Vec<f64>>();
            let spread = DVector::from_vec(scores(&child)).variance().sqrt();
            assert!((spread - 3.0).abs() < 1e-5, "{spread}");
            let positive = |gate: &Gate| scores(gate).iter().filter(|score| **score > 0.0).count();
            assert!(positive(&gate).abs_diff(positive(&child)) <= 1, "{constant}");
        }
    }

    #[test]
    fn where_the_gate_or_the_rows_do_not_vary_nothing_moves() {
        let none = RouterShift { direction: vec![0.0; 2], constant: 0.0 };
        let gate = Gate { direction: vec![1.0, 0.0], constant: 0.5 };
        assert_eq!(shift(&rows(vec![1.0; 8], 2), &gate), none);
        assert_eq!(shift(&rows(vec![f32::NAN; 8], 2), &gate), none);
        assert_eq!(shift(&rows(Vec::new(), 2), &gate), none);
        let same = Gate { direction: vec![0.0, 0.0], constant: 0.5 };
        assert_eq!(shift(&rows(vec![1.0, 2.0, 3.0, 5.0], 2), &same), none);
    }
}
