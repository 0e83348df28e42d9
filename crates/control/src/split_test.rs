//! The split test: would two experts with a router between them serve one expert's rows better than one?

mod expert_rows;
mod halves;
mod mixture;
mod regression;
mod router_shift;
mod start;
#[cfg(test)]
mod tests;
mod whitening;

use moelt_schema::RouterShift;
use nalgebra::DMatrix;

use self::{
    halves::{Halves, clustered_mean},
    mixture::{Mixture, Problem},
    regression::{Fit, Regression, Targets},
    router_shift::router_shift,
    whitening::Whitening,
};

use crate::flops::Flops;

pub use self::{expert_rows::ExpertRows, router_shift::Gate};

/// Constants of [`split_test`]. Ridges are in the scale of a logistic regression: with two classes the penalty is
/// half the ridge times the square of the log odds' coefficients, in coordinates of unit spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitTestConfig {
    /// Fewer rows than this are not tested.
    pub least_rows: usize,
    /// Rows of fewer texts than this are not tested: the standard error is made of what texts differ by.
    pub least_texts: usize,
    /// Ridge of the opponent, the one regression, towards zero when it is fitted first; above 0.
    pub opponent_ridge: f64,
    /// Nesterov steps of the opponent with two classes. With C classes it makes √(C / 2) times as many, because the
    /// bound on the curvature is C / 2 times too high where all classes are equally likely. Too few of them make
    /// every mixture look good.
    pub opponent_steps: usize,
    /// Ridge of both regressions of the mixture towards the opponent as fitted first, of the opponent's second fit
    /// towards the same, and of the gate towards zero; above 0.
    pub mixture_ridge: f64,
    /// Rounds of EM.
    pub em_rounds: usize,
    /// How far a step of the mixture's regressions goes, in steps to the minimum of the bound; between 0 and 2.
    pub over_relaxation: f64,
    /// Directions tried for the first gate, over half a turn.
    pub angles: usize,
}

impl Default for SplitTestConfig {
    fn default() -> Self {
        Self {
            least_rows: 150,
            least_texts: 40,
            opponent_ridge: 1.0,
            opponent_steps: 16,
            mixture_ridge: 4.0,
            em_rounds: 10,
            over_relaxation: 1.8,
            angles: 36,
        }
    }
}

impl SplitTestConfig {
    fn steps_of_opponent(&self, n_classes: usize) -> usize {
        (self.opponent_steps as f64 * (n_classes as f64 / 2.0).sqrt()).ceil() as usize
    }
}

/// What a split test says of an expert.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitEvidence {
    /// Rows it was made of, both halves.
    pub rows: usize,
    /// The model's own mean cross entropy of these rows, nats.
    pub loss: f64,
    /// What a mixture of two regressions saves over one regression on the held-out rows, nats per row. Below 0 where
    /// two serve them worse than one.
    pub gain: f64,
    /// Standard error of `gain`, nats, with whole texts as the units that are independent.
    pub standard_error: f64,
    /// Part of the rows on the gate's positive side, both halves.
    pub share: f64,
    /// Which rows one of the two regressions serves, and which the other.
    pub gate: Gate,
    /// How far the router rows of the halves would lie apart.
    pub shift: RouterShift,
    /// FLOPs of the matrix products over rows: see [`split_test`].
    pub flops: u64,
}

impl SplitEvidence {
    /// `gain` in standard errors; 0 where these are not above 0.
    pub fn z(&self) -> f64 {
        if self.standard_error > 0.0 { self.gain / self.standard_error } else { 0.0 }
    }

    fn is_finite(&self) -> bool {
        let Gate { direction, constant } = &self.gate;
        let numbers = [self.loss, self.gain, self.standard_error, self.share, *constant];
        numbers.iter().chain(direction).all(|number| number.is_finite())
    }
}

/// Tests whether two experts with a router between them would serve an expert's rows better than one, without a
/// gradient of the model: small regressions stand for experts. None where there is nothing to test on: too few
/// rows or texts, numbers that are not finite, rows that are all equal, or one class alone among those fitted to.
///
/// Every other text is fitted to, the rest is held out. On x, whitened by the rows that are fitted to, are fitted
///
/// - the *opponent*, one multinomial regression, and once more with the first fit in the place of zero, so that it is
///   as free as what is measured against it;
/// - the *mixture* of two such regressions with a logistic gate, both shrunk towards the opponent, by EM from a start
///   that the model's residuals give.
///
/// `gain` is the held-out loss of the better opponent minus that of the mixture. The fit depends on neither scale nor
/// basis of x, and nothing is drawn: the same rows give the same answer.
///
/// # How often it is wrong
///
/// Part of 200 sets with z > 3 and a gain above 0.005 nats, default constants, 600 rows of 8 columns. *One truth*:
/// the logits are linear in x. *Two*: they are so in each of two equal domains, with opposite signs. Slope: standard
/// deviation of a logit.
///
/// | classes, slope | 2, 0.5 | 2, 1.5 | 2, 10 | 5, 0.5 | 5, 1.5 | 5, 10 | 20, 0.5 | 20, 1.5 | 20, 10 |
/// |---|---|---|---|---|---|---|---|---|---|
/// | one truth | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |
/// | one truth, first opponent alone | 0 | 0 | 0.39 | 0 | 0 | 0.99 | 0 | 0 | 1 |
/// | two | 0.30 | 0.99 | 1 | 0.30 | 1 | 1 | 0 | 1 | 1 |
///
/// With rows of texts of ten that share a label (two classes, slopes 1.5 and 10, 600 to 6000 rows) none
/// of one truth is split. What it sees of two depends on the number of texts, not of rows: of 60, 150 and 600 texts with
/// slope 1.5 it is 0.05, 0.32 and 0.96. Of 300, 600 and 1500 texts of one row and slope 0.75 it is 0.46, 0.70 and
/// 0.91.
///
/// The second fit of the opponent matters where the truth is clear: there the ridge holds the first back, while the
/// mixture, shrunk towards the opponent and not towards zero, is free of that.
///
/// # What it does not tell
///
/// - *One curved truth from two.* A label that depends on the square of a coordinate is split in 100 of 100 sets: two
///   regressions serve it better than one. Whether one expert could learn it too is not asked.
/// - *Whether the model does it already.* Its probabilities decide where the mixture starts, not what it is measured
///   against. An expert that serves two domains well has a high gain and a low `loss`.
/// - *Which domain is which, where one is small.* Kurtosis finds two humps of similar size. With domains of 15 and
///   85 % the gain is found, in 97 of 100 sets, but often by a gate on the direction of the classes: if the label
///   is the sign of a product, either factor may be the gate.
///
/// # FLOPs
///
/// Counted are products of matrices that have rows as a side, with m rows in all, f to fit on, h held out, k whitened
/// directions and C classes: covariance `2 f d²`, whitening `2 f d k`, interactions `2 f k²` per class (two classes need one),
/// `4 f (k + 1) (C − 1)` per step of a regression, half of that per regression for its last fit and `2 h (d + 1) (C − 1)` on the
/// held-out rows. Not counted are the eigenvectors and the Cholesky factor, which do not grow with the rows, and sums.
///
/// # Panics
/// When lengths do not fit, or a ridge is not above 0.
///
/// ```
/// use moelt_control::{ExpertRows, SplitTestConfig, split_test};
/// // Two domains, x₀ = ±1, with opposite answers to the sign of x₁.
/// let (mut x, mut labels) = (Vec::new(), Vec::new());
/// for row in 0..400 {
///     let (domain, point) = (if row / 2 % 2 == 0 { 1.0 } else { -1.0 }, (row * 37 % 101) as f32 / 50.0 - 1.0);
///     x.extend([domain + point / 10.0, point]);
///     labels.push(u32::from(domain * point > 0.0));
/// }
/// let texts = (0..400).collect();
/// let rows = ExpertRows { x, d_model: 2, labels, n_classes: 2, probs: vec![0.5; 800], texts };
///
/// let evidence = split_test(&rows, &SplitTestConfig::default()).expect("400 texts of two classes");
/// assert!(evidence.z() > 3.0 && evidence.gain > 0.2);
/// let gate = &evidence.gate;
/// assert!(gate.score(&[1.0, 0.0]) * gate.score(&[-1.0, 0.0]) < 0.0, "it tells the domains");
/// ```
pub fn split_test(rows: &ExpertRows, config: &SplitTestConfig) -> Option<SplitEvidence> {
    let x = rows.matrix();
    let [one, two] = [config.opponent_ridge, config.mixture_ridge];
    assert!(one > 0.0 && two > 0.0, "ridges {one} and {two} must be above 0");
    let halves = Halves::of(&rows.texts);
    if rows.len() < config.least_rows || halves.n_texts < config.least_texts || !rows.is_finite() {
        return None;
    }
    let mut flops = Flops::default();
    let fitting = x.select_rows(&halves.fitting);
    let whitening = Whitening::of(&fitting, &mut flops)?;
    let design = whitening.design(&fitting, &mut flops);
    let fitted = Fitted::to(rows, &design, &halves.fitting, config, &mut flops)?;
    let (gain, standard_error) = fitted.gain(rows, &x, &halves.held_out, &whitening, &mut flops);
    let gate = Gate::of(whitening.back(&fitted.mixture.gate()).as_slice());
    let (share, shift) = (rows.share(&gate), router_shift(rows, &x, &whitening.covariance, &gate));
    let (rows, loss, flops) = (rows.len(), rows.loss(), flops.0);
    let evidence = SplitEvidence { rows, loss, gain, standard_error, share, gate, shift, flops };
    evidence.is_finite().then_some(evidence)
}

/// What is fitted to one half of the rows.
struct Fitted {
    /// One regression for all: shrunk towards zero, and from there once more.
    opponents: [Fit; 2],
    mixture: Mixture,
}

impl Fitted {
    /// Fits to the rows `design` that have the numbers `fitting` among all. None where they are of one class.
    fn to(
        rows: &ExpertRows,
        design: &DMatrix<f64>,
        fitting: &[usize],
        config: &SplitTestConfig,
        flops: &mut Flops,
    ) -> Option<Self> {
        let labels = &rows.labels(fitting);
        if labels.windows(2).all(|pair| pair[0] == pair[1]) {
            return None;
        }
        let classes = &regression::one_hot(labels, rows.n_classes);
        let tight = Regression::new(design, config.opponent_ridge);
        let loose = Regression::new(design, config.mixture_ridge);
        let steps = config.steps_of_opponent(rows.n_classes);
        let first = tight.minimum(Targets { classes, weights: None, prior: None }, steps, flops);
        let again = Targets { classes, weights: None, prior: Some(&first.coefficients) };
        let second = loose.minimum(again, steps, flops);
        let white = design.columns(0, design.ncols() - 1);
        let positive = start::first_guess(white, &rows.residuals(fitting), config.angles, flops);
        let problem = Problem { regression: &loose, labels, classes, opponent: &first };
        let mixture = Mixture::fit(&problem, positive, (config.em_rounds, config.over_relaxation), flops);
        Some(Self { opponents: [first, second], mixture })
    }

    /// What the mixture saves over the better opponent, nats per row, and its standard error, on those rows of `x` that have the
    /// numbers `held_out`.
    fn gain(
        &self,
        rows: &ExpertRows,
        x: &DMatrix<f64>,
        held_out: &[usize],
        whitening: &Whitening,
        flops: &mut Flops,
    ) -> (f64, f64) {
        let x = x.select_rows(held_out).insert_column(x.ncols(), 1.0);
        let labels = rows.labels(held_out);
        let texts: Vec<u32> = held_out.iter().map(|row| rows.texts[*row]).collect();
        let two = self.mixture.on(&x, whitening, flops).nll(&labels);
        let mut over = |opponent: &Fit| {
            let one = Fit::new(&x, whitening.back(&opponent.coefficients), flops).nll(&labels);
            let saved: Vec<f64> = one.iter().zip(&two).map(|(one, two)| one - two).collect();
            clustered_mean(&saved, &texts)
        };
        let [first, second] = [over(&self.opponents[0]), over(&self.opponents[1])];
        if second.0 < first.0 { second } else { first }
    }
}
