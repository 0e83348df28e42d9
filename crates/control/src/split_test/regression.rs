//! Multinomial regressions in steps that never overshoot.

use nalgebra::{DMatrix, DVector};

use crate::flops::Flops;

/// Multinomial logistic regressions over the same rows, with softmax logits `A · B`. The classes' columns of B sum to
/// zero, so that only those of all classes but the last are kept and computed: `[columns, n_classes − 1]`, with two
/// classes a single column, half of the log odds of the first.
///
/// The loss is `Σ w · NLL + ridge · Σ (B − prior)²`, the second sum over the columns of all classes: with two classes
/// `ridge / 2` times the square of their difference, the usual ridge of a logistic regression. On columns that sum to
/// zero its curvature is at most `½ AᵀA + 2 · ridge` for weights up to 1, whatever B is (Böhning 1992), and with white columns `AᵀA`
/// is the number of rows: one number serves all steps of all classes.
pub(super) struct Regression<'a> {
    design: &'a DMatrix<f64>,
    curvature: f64,
    /// Of the gradient: twice the ridge.
    pull: f64,
}

/// Coefficients, with what they say of the rows.
#[derive(Clone)]
pub(super) struct Fit {
    /// `[columns, n_classes − 1]`.
    pub(super) coefficients: DMatrix<f64>,
    /// ln p of every class, `[rows, n_classes]`, nats.
    pub(super) log_probs: DMatrix<f64>,
}

impl Fit {
    /// Of rows `design`, `[rows, columns]`.
    pub(super) fn new(design: &DMatrix<f64>, coefficients: DMatrix<f64>, flops: &mut Flops) -> Self {
        flops.product(design.nrows(), design.ncols(), coefficients.ncols());
        let logits = design * &coefficients;
        let (last, minus_sum) = (logits.ncols(), -logits.column_sum());
        let mut log_probs = logits.insert_column(last, 0.0);
        log_probs.set_column(last, &minus_sum);
        for mut row in log_probs.row_iter_mut() {
            let highest = row.max();
            let total: f64 = row.iter().map(|logit| (logit - highest).exp()).sum();
            row.add_scalar_mut(-(highest + total.ln()));
        }
        Self { coefficients, log_probs }
    }

    /// Negative log likelihood of the labels, nats, for every row.
    pub(super) fn nll(&self, labels: &[usize]) -> Vec<f64> {
        labels.iter().enumerate().map(|(row, label)| -self.log_probs[(row, *label)]).collect()
    }
}

/// What a regression is to explain, and which rows count how much.
#[derive(Clone, Copy)]
pub(super) struct Targets<'a> {
    /// Probability of each class but the last, `[rows, n_classes − 1]`.
    pub(super) classes: &'a DMatrix<f64>,
    /// Weight of each row, at most 1; without, all are 1.
    pub(super) weights: Option<&'a DVector<f64>>,
    /// Coefficients that the ridge pulls towards; without, zero.
    pub(super) prior: Option<&'a DMatrix<f64>>,
}

impl<'a> Regression<'a> {
    /// Over rows `design`, `[rows, columns]`, that are white: mean squares of 1, no products of two columns.
    pub(super) fn new(design: &'a DMatrix<f64>, ridge: f64) -> Self {
        let pull = 2.0 * ridge;
        Self { design, curvature: 0.5 * design.nrows() as f64 + pull, pull }
    }

    /// What these coefficients say of its rows.
    pub(super) fn at(&self, coefficients: DMatrix<f64>, flops: &mut Flops) -> Fit {
        Fit::new(self.design, coefficients, flops)
    }

    /// One step from `fit`, `over` times as far as to the minimum of the bound: 1 never raises the loss, nor does
    /// anything below 2.
    pub(super) fn step(&self, fit: &Fit, targets: Targets, over: f64, flops: &mut Flops) -> DMatrix<f64> {
        let (rows, classes) = targets.classes.shape();
        let residual = DMatrix::from_fn(rows, classes, |row, class| {
            let weight = targets.weights.map_or(1.0, |weights| weights[row]);
            weight * (targets.classes[(row, class)] - fit.log_probs[(row, class)].exp())
        });
        flops.product(self.design.ncols(), rows, classes);
        let mut downhill = self.design.tr_mul(&residual) - &fit.coefficients * self.pull;
        if let Some(prior) = targets.prior {
            downhill += prior * self.pull;
        }
        &fit.coefficients + downhill * (over / self.curvature)
    }

    /// The minimum, by so many of Nesterov's (1983) accelerated steps from the prior.
    pub(super) fn minimum(&self, targets: Targets, steps: usize, flops: &mut Flops) -> Fit {
        let zero = || DMatrix::zeros(self.design.ncols(), targets.classes.ncols());
        let mut best = targets.prior.cloned().unwrap_or_else(zero);
        let mut before = best.clone();
        for step in 0..steps {
            let momentum = step as f64 / (step + 3) as f64;
            let ahead = self.at(&best + (&best - &before) * momentum, flops);
            before = std::mem::replace(&mut best, self.step(&ahead, targets, 1.0, flops));
        }
        self.at(best, flops)
    }
}

/// The labels as probabilities of each class but the last, `[rows, n_classes − 1]`.
pub(super) fn one_hot(labels: &[usize], n_classes: usize) -> DMatrix<f64> {
    let is = |row: usize, class| if labels[row] == class { 1.0 } else { 0.0 };
    DMatrix::from_fn(labels.len(), n_classes - 1, is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(classes: &DMatrix<f64>) -> Targets<'_> {
        Targets { classes, weights: None, prior: None }
    }

    /// Six white rows of an input and a constant.
    fn design() -> DMatrix<f64> {
        let input = [-2f64.sqrt(), -1.0, 0.0, 0.0, 1.0, 2f64.sqrt()];
        DMatrix::from_fn(6, 2, |row, column| if column == 1 { 1.0 } else { input[row] })
    }

    /// Two rows, a constant alone, three classes, labels 0 and 1. All p are ⅓: the gradient of class 0 is
    /// 1 − 2 · ⅓ = ⅓, and so is that of class 1; curvature ½ · 2 + 2 · ½ = 2, hence coefficients of ⅙.
    /// The logits are then ⅙, ⅙ and −⅓: p₀ = 1 / (2 + e^−½).
    #[test]
    fn a_step_by_hand() {
        let design = DMatrix::from_element(2, 1, 1.0);
        let (classes, mut flops) = (one_hot(&[0, 1], 3), Flops::default());
        let regression = Regression::new(&design, 0.5);
        let fit = regression.at(DMatrix::zeros(1, 2), &mut flops);
        let fit = regression.at(regression.step(&fit, targets(&classes), 1.0, &mut flops), &mut flops);
        assert!((fit.coefficients.add_scalar(-1.0 / 6.0)).amax() < 1e-12);
        let expected = -(2.0 + (-0.5f64).exp()).ln();
        assert!((fit.log_probs[(1, 0)] - expected).abs() < 1e-12);
        assert!((fit.log_probs[(1, 2)] - (expected - 0.5)).abs() < 1e-12);
        // Logits [2, 1] · [1, 2] twice, gradient [1, 2] · [2, 2] once.
        assert_eq!(flops, Flops(3 * 2 * 4));
    }

    /// The form of one column, `β ← β + (¼AᵀA + λ)⁻¹ (Aᵀ w (y − σ(Aβ)) − λ (β − prior))`, where β is the difference
    /// of the two classes' coefficients: twice ours.
    #[test]
    fn with_two_classes_it_is_the_logistic_regression_of_one_column() {
        let (design, mut flops) = (design(), Flops::default());
        let y = DVector::from_vec(vec![1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        let weights = DVector::from_vec(vec![1.0, 0.5, 0.25, 1.0, 0.75, 0.0]);
        let (prior, ridge) = (DVector::from_vec(vec![0.5, -0.25]), 1.5);
        let curvature = 6.0 / 4.0 + ridge;
        let classes = DMatrix::from_columns(std::slice::from_ref(&y));
        let half = DMatrix::from_columns(&[&prior / 2.0]);
        let ours = Targets { classes: &classes, weights: Some(&weights), prior: Some(&half) };
        let regression = Regression::new(&design, ridge);
        let (mut beta, mut fit) = (prior.clone(), regression.at(half.clone(), &mut flops));
        for _ in 0..5 {
            let p = (&design * &beta).map(|score| 1.0 / (1.0 + (-score).exp()));
            let downhill = design.tr_mul(&weights.component_mul(&(&y - p))) - (&beta - &prior) * ridge;
            beta += downhill * (1.8 / curvature);
            fit = regression.at(regression.step(&fit, ours, 1.8, &mut flops), &mut flops);
            assert!((fit.coefficients.column(0) * 2.0 - &beta).amax() < 1e-12);
        }
        assert!((beta - prior).amax() > 0.1, "it moved");
    }

    /// At the minimum a step leads nowhere, and the order of the classes does not matter.
    #[test]
    fn the_minimum_is_reached_and_classes_are_alike() {
        let (design, mut flops) = (design(), Flops::default());
        let regression = Regression::new(&design, 1.0);
        let labels = [0, 2, 1, 1, 0, 2];
        let classes = one_hot(&labels, 3);
        let fit = regression.minimum(targets(&classes), 60, &mut flops);
        let further = regression.step(&fit, targets(&classes), 1.0, &mut flops);
        assert!((further - &fit.coefficients).amax() < 1e-5);
        let renamed = one_hot(&labels.map(|label| 2 - label), 3);
        let other = regression.minimum(targets(&renamed), 60, &mut flops);
        assert!((fit.log_probs.column(0) - other.log_probs.column(2)).amax() < 1e-12);
    }

    /// Class 2 never occurs: the ridge keeps its coefficients finite, and it is unlikely.
    #[test]
    fn a_class_that_does_not_occur_stays_sane() {
        let (design, mut flops) = (design(), Flops::default());
        let classes = one_hot(&[0, 1, 0, 1, 0, 1], 3);
        let fit = Regression::new(&design, 1.0).minimum(targets(&classes), 16, &mut flops);
        let highest = fit.log_probs.column(2).max();
        assert!(fit.coefficients.amax() < 3.0 && highest < (0.2f64).ln(), "{} {highest}", fit.coefficients);
    }
}
