//! The rows of one expert, as a split test takes them.

use nalgebra::DMatrix;

use super::Gate;

/// Tokens of one expert (or texts, where the router sees whole texts), with what the router saw of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertRows {
    /// What the router saw, `[rows, d_model]`, row by row.
    pub x: Vec<f32>,
    /// Columns of `x`.
    pub d_model: usize,
    /// The class of each row's text, `[rows]`, below `n_classes`.
    pub labels: Vec<u32>,
    /// How many classes there are, at least two.
    pub n_classes: usize,
    /// What the model says of each row's text now, `[rows, n_classes]`, row by row: probabilities.
    pub probs: Vec<f32>,
    /// Which text each row belongs to, `[rows]`, any numbers. Rows of one text are not independent.
    pub texts: Vec<u32>,
}

impl ExpertRows {
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// # Panics
    /// When lengths do not fit.
    fn check(&self) {
        let Self { x, d_model, labels, n_classes, probs, texts } = self;
        let rows = labels.len();
        assert!(
            *d_model > 0 && *n_classes > 1,
            "d_model {d_model} must be above 0, n_classes {n_classes} above 1"
        );
        assert_eq!(x.len(), rows * d_model, "x is [rows {rows}, d_model {d_model}]");
        assert_eq!(probs.len(), rows * n_classes, "probs is [rows {rows}, n_classes {n_classes}]");
        assert_eq!(texts.len(), rows, "texts is [rows {rows}]");
        let highest = labels.iter().max().map_or(0, |label| *label as usize);
        assert!(highest < *n_classes, "labels are below n_classes {n_classes}, not {highest}");
    }

    /// `x` as `[rows, d_model]`.
    ///
    /// # Panics
    /// When lengths do not fit.
    pub(super) fn matrix(&self) -> DMatrix<f64> {
        self.check();
        DMatrix::from_row_iterator(self.len(), self.d_model, self.x.iter().copied().map(f64::from))
    }

    pub(super) fn is_finite(&self) -> bool {
        self.x.iter().chain(&self.probs).all(|value| value.is_finite())
    }

    /// The model's mean cross entropy of the rows, nats.
    pub(super) fn loss(&self) -> f64 {
        let prob = |(row, label): (usize, &u32)| self.probs[row * self.n_classes + *label as usize];
        let nll = |at| -f64::from(prob(at).max(f32::MIN_POSITIVE)).ln();
        self.labels.iter().enumerate().map(nll).sum::<f64>() / self.len() as f64
    }

    /// y − p of these rows, `[rows, n_classes]`.
    pub(super) fn residuals(&self, rows: &[usize]) -> DMatrix<f64> {
        DMatrix::from_fn(rows.len(), self.n_classes, |at, class| {
            let row = rows[at];
            let is = if self.labels[row] as usize == class { 1.0 } else { 0.0 };
            is - f64::from(self.probs[row * self.n_classes + class])
        })
    }

    /// Part of the rows on the positive side of a gate.
    pub(super) fn share(&self, gate: &Gate) -> f64 {
        let positive = self.x.chunks_exact(self.d_model).filter(|x| gate.score(x) > 0.0).count();
        positive as f64 / self.len() as f64
    }

    pub(super) fn labels(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.labels[*row] as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of three classes: losses ln 2 and ln 4, residuals of the second row (0 − ½, 0 − ¼, 1 − ¼).
    #[test]
    fn loss_residuals_and_share_by_hand() {
        let rows = ExpertRows {
            x: vec![1.0, -1.0],
            d_model: 1,
            labels: vec![0, 2],
            n_classes: 3,
            probs: vec![0.5, 0.5, 0.0, 0.5, 0.25, 0.25],
            texts: vec![4, 5],
        };
        assert!((rows.loss() - 1.5 * 2f64.ln()).abs() < 1e-12);
        assert_eq!(rows.residuals(&[1]), DMatrix::from_row_slice(1, 3, &[-0.5, -0.25, 0.75]));
        assert_eq!(rows.labels(&[1, 0]), [2, 0]);
        assert_eq!(rows.share(&Gate { direction: vec![2.0], constant: 1.0 }), 0.5);
        assert_eq!(rows.matrix(), DMatrix::from_row_slice(2, 1, &[1.0, -1.0]));
    }
}
