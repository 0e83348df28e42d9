//! Two regressions with a gate between them: what two experts with a router would be.

use nalgebra::{DMatrix, DVector};

use super::{
    regression::{Fit, Regression, Targets},
    whitening::Whitening,
};
use crate::flops::Flops;

/// Steps of the first round, where the regressions start from one place.
const FIRST_STEPS: usize = 3;

/// Mixture of two multinomial regressions with a logistic gate, `p(y) = g · p₊(y) + (1 − g) · p₋(y)` (Jordan & Jacobs
/// 1994), on some rows.
pub(super) struct Mixture {
    /// On the gate's positive and on its negative side.
    experts: [Fit; 2],
    /// Its classes are the two sides.
    gate: Fit,
}

/// What a mixture is fitted to.
pub(super) struct Problem<'a> {
    /// The rows, with the ridge that pulls the experts towards the opponent and the gate towards none.
    pub(super) regression: &'a Regression<'a>,
    /// The labels of the rows.
    pub(super) labels: &'a [usize],
    /// The same as probabilities of each class but the last.
    pub(super) classes: &'a DMatrix<f64>,
    /// One regression for all rows: where both experts start and what they are shrunk towards.
    pub(super) opponent: &'a Fit,
}

impl Mixture {
    /// By `rounds` of EM in which each regression makes one over-relaxed step instead of being solved. `positive` is
    /// the first guess of each row's chance to be on the gate's positive side.
    pub(super) fn fit(
        problem: &Problem,
        mut positive: DVector<f64>,
        (rounds, over): (usize, f64),
        flops: &mut Flops,
    ) -> Self {
        let opponent = problem.opponent;
        let even = DMatrix::zeros(opponent.coefficients.nrows(), 1);
        let gate = problem.regression.at(even, flops);
        let mut mixture = Self { experts: [opponent.clone(), opponent.clone()], gate };
        for round in 0..rounds {
            for _ in 0..if round == 0 { FIRST_STEPS } else { 1 } {
                mixture = mixture.step(problem, &positive, over, flops);
            }
            positive = mixture.positive(problem.labels);
        }
        mixture
    }

    /// One step of all three regressions, given the chance of each row to be on the positive side.
    fn step(&self, problem: &Problem, positive: &DVector<f64>, over: f64, flops: &mut Flops) -> Self {
        let (regression, classes) = (problem.regression, problem.classes);
        let prior = Some(&problem.opponent.coefficients);
        let mut expert = |side: usize, weights: &DVector<f64>| {
            let targets = Targets { classes, weights: Some(weights), prior };
            let coefficients = regression.step(&self.experts[side], targets, over, flops);
            regression.at(coefficients, flops)
        };
        let experts = [expert(0, positive), expert(1, &positive.map(|chance| 1.0 - chance))];
        let sides = DMatrix::from_column_slice(positive.len(), 1, positive.as_slice());
        let targets = Targets { classes: &sides, weights: None, prior: None };
        let gate = regression.step(&self.gate, targets, over, flops);
        Self { experts, gate: regression.at(gate, flops) }
    }

    /// The chance of each row to be on the positive side, given its label.
    fn positive(&self, labels: &[usize]) -> DVector<f64> {
        let chance = |[positive, negative]: [f64; 2]| 1.0 / (1.0 + (negative - positive).exp());
        DVector::from_iterator(labels.len(), self.joint(labels).map(chance))
    }

    /// ln (chance of the side · chance of the label there), for either side of every row.
    fn joint(&self, labels: &[usize]) -> impl Iterator<Item = [f64; 2]> {
        labels.iter().enumerate().map(|(row, label)| {
            [0, 1].map(|side| self.gate.log_probs[(row, side)] + self.experts[side].log_probs[(row, *label)])
        })
    }

    /// The same on other rows, `[rows, d_model + 1]`, that are not whitened and have a last column of ones.
    pub(super) fn on(&self, rows: &DMatrix<f64>, whitening: &Whitening, flops: &mut Flops) -> Self {
        let mut fit = |fit: &Fit| Fit::new(rows, whitening.back(&fit.coefficients), flops);
        Self { experts: [fit(&self.experts[0]), fit(&self.experts[1])], gate: fit(&self.gate) }
    }

    /// Negative log likelihood of the labels, nats, for every row.
    pub(super) fn nll(&self, labels: &[usize]) -> Vec<f64> {
        let of_row = |[positive, negative]: [f64; 2]| {
            let highest = positive.max(negative);
            -(highest + ((positive - highest).exp() + (negative - highest).exp()).ln())
        };
        self.joint(labels).map(of_row).collect()
    }

    /// The gate as log odds of its positive side, a linear function of the design's columns.
    pub(super) fn gate(&self) -> DMatrix<f64> {
        &self.gate.coefficients * 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(coefficient: f64) -> Fit {
        Fit::new(
            &DMatrix::from_element(1, 1, 1.0),
            DMatrix::from_element(1, 1, coefficient),
            &mut Flops::default(),
        )
    }

    /// Log odds are twice a coefficient: the gate says ¾ positive, the positive expert ¾ for class 0, the other ½.
    /// Class 0 has probability ¾ · ¾ + ¼ · ½ = 11/16, and given it, the positive side has 9/11; given class 1,
    /// (¾ · ¼) / (5/16) = 3/5.
    #[test]
    fn a_row_by_hand() {
        let likely = 3f64.ln() / 2.0;
        let mixture = Mixture { experts: [fit(likely), fit(0.0)], gate: fit(likely) };
        assert!((mixture.nll(&[0])[0] + (11f64 / 16.0).ln()).abs() < 1e-12);
        assert!((mixture.positive(&[0])[0] - 9.0 / 11.0).abs() < 1e-12);
        assert!((mixture.positive(&[1])[0] - 0.6).abs() < 1e-12);
        assert!((mixture.gate()[0] - 3f64.ln()).abs() < 1e-12);
    }

    /// Without rounds, or with a first guess that knows nothing, it is the opponent.
    #[test]
    fn it_begins_as_the_opponent() {
        let design =
            DMatrix::from_fn(
                8,
                2,
                |row, column| if column == 1 { 1.0 } else { (row as f64 - 3.5) / 5.25f64.sqrt() },
            );
        let labels = [0, 0, 1, 0, 1, 0, 1, 1];
        let classes = super::super::regression::one_hot(&labels, 2);
        let mut flops = Flops::default();
        let regression = Regression::new(&design, 1.0);
        let targets = Targets { classes: &classes, weights: None, prior: None };
        let opponent = regression.minimum(targets, 50, &mut flops);
        let problem =
            Problem { regression: &regression, labels: &labels, classes: &classes, opponent: &opponent };
        let even = DVector::from_element(8, 0.5);
        let mixture = Mixture::fit(&problem, even.clone(), (0, 1.8), &mut flops);
        let same = mixture.nll(&labels).iter().zip(opponent.nll(&labels)).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(same && mixture.gate().amax() == 0.0);
        let fitted = Mixture::fit(&problem, even, (10, 1.8), &mut flops);
        assert!(fitted.gate().amax() < 1e-9);
    }
}
