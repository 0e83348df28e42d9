//! Rank correlation over clusters, and how sure one may be of it.

use std::fmt;

use rayon::iter::ParallelIterator;
use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, Components, Estimate, Interval,
    stats::bootstrap::{BOOTSTRAP_SEED, Draw},
    stats::estimate::{Calibration, standard_deviation},
};

/// Resamples of the cells.
const RESAMPLES: usize = 2_000;

/// Confidence of its interval.
const LEVEL: f64 = 0.95;

/// Part of the resamples that may have no correlation, because they drew cells that do not vary. With more of
/// them there is no interval.
const UNDEFINED: f64 = 0.05;

/// Spearman's rank correlation between two numbers of each record.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankCorrelation {
    /// Records with both numbers.
    pub records: usize,
    /// Cells they come from.
    pub cells: usize,
    /// ρ in `−1..=1`, equal numbers sharing their mean rank; none when one of the two never varies.
    pub rho: Option<f64>,
    /// Of 95 %, over cells; none with fewer than two of them, or when too many resamples have no correlation.
    pub interval: Option<Interval>,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its cell: whole cells are resampled, for records of one run are not independent.
    pub cell: usize,
    /// What may know something.
    pub x: f64,
    /// What is to be known.
    pub y: f64,
}

impl RankCorrelation {
    /// How cells are resampled unless something else is asked for.
    pub const BOOTSTRAP: Bootstrap = Bootstrap { resamples: RESAMPLES, seed: BOOTSTRAP_SEED };

    /// ρ alone.
    pub(crate) fn without_interval(points: &[Point]) -> Self {
        let rho = Ranking::of(points).rho(&vec![1.0; points.len()]);
        Self { records: points.len(), cells: cells(points).len(), rho, interval: None }
    }

    /// ρ with its interval from a bootstrap over G cells: ranks are taken anew in every resample. As in
    /// [`Estimate`] the resampled deviations are widened by `√(G/(G − 1))`, and by Student's quantile with
    /// G − 1 degrees of freedom over the normal one; without that ten cells cover 95 % too rarely.
    ///
    /// # Panics
    /// When no resamples are asked for.
    pub fn of(points: &[Point], bootstrap: &Bootstrap) -> Self {
        let plain = Self::without_interval(points);
        let interval = plain.rho.and_then(|rho| interval(points, rho, bootstrap));
        Self { interval, ..plain }
    }

    /// The same where both numbers are replaced by their places among the records of their own group, from −½ to
    /// ½: what only tells the groups from one another does not count.
    ///
    /// # Panics
    /// When no resamples are asked for.
    pub fn within(groups: &[Vec<Point>], bootstrap: &Bootstrap) -> Self {
        Self::of(&groups.iter().flat_map(|group| places(group)).collect::<Vec<_>>(), bootstrap)
    }
}

/// `+0.31 [+0.16, +0.46]`; without the interval where there is none, `–` where there is no correlation.
impl fmt::Display for RankCorrelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.rho, self.interval) {
            (Some(rho), Some(Interval { lower, upper, .. })) => {
                format!("{rho:+.2} [{lower:+.2}, {upper:+.2}]")
            }
            (Some(rho), None) => format!("{rho:+.2}"),
            (None, _) => "–".to_owned(),
        };
        f.pad(&text)
    }
}

fn interval(points: &[Point], rho: f64, bootstrap: &Bootstrap) -> Option<Interval> {
    let cells = cells(points);
    if cells.len() < 2 {
        return None;
    }
    let place = |point: &Point| cells.binary_search(&point.cell).expect("it is one of them");
    let (places, ranking): (Vec<usize>, _) = (points.iter().map(place).collect(), Ranking::of(points));
    let resample = |mut draw: Draw| {
        let counts = draw.counts(cells.len());
        ranking.rho(&places.iter().map(|place| counts[*place]).collect::<Vec<f64>>())
    };
    let resampled: Vec<f64> = bootstrap.draws().filter_map(resample).collect();
    if (resampled.len() as f64) < (1.0 - UNDEFINED) * bootstrap.resamples as f64 {
        return None;
    }
    let Interval { level, lower, upper } = estimate(rho, resampled, cells.len()).interval(LEVEL);
    Some(Interval { level, lower: lower.max(-1.0), upper: upper.min(1.0) })
}

/// All spread is between cells.
fn estimate(rho: f64, resampled: Vec<f64>, cells: usize) -> Estimate {
    let g = cells as f64;
    let stretch = (g / (g - 1.0)).sqrt();
    let error = stretch * standard_deviation(&resampled);
    let components = Components { seed: g * error * error, item: 0.0, interaction: 0.0 };
    let calibration = Calibration { stretch, error, freedom: g - 1.0, n_seeds: cells, skew: 0.0 };
    Estimate::new(rho, resampled, &calibration, components)
}

/// The cells of some records, ascending.
fn cells(points: &[Point]) -> Vec<usize> {
    let mut cells: Vec<usize> = points.iter().map(|point| point.cell).collect();
    cells.sort_unstable();
    cells.dedup();
    cells
}

/// Records ordered by either number once, so that a resample need not sort.
struct Ranking {
    x: Vec<Vec<usize>>,
    y: Vec<Vec<usize>>,
}

impl Ranking {
    fn of(points: &[Point]) -> Self {
        let order = |value: fn(&Point) -> f64| {
            let mut order: Vec<usize> = (0..points.len()).collect();
            order.sort_by(|&a, &b| value(&points[a]).total_cmp(&value(&points[b])));
            // −0 equals 0 here, though it is sorted before it.
            let equal = |a: &usize, b: &usize| value(&points[*a]) == value(&points[*b]);
            order.chunk_by(equal).map(<[usize]>::to_vec).collect()
        };
        Self { x: order(|point| point.x), y: order(|point| point.y) }
    }

    /// ρ when each record comes as often as `counts` says; none when one of the numbers does not vary.
    fn rho(&self, counts: &[f64]) -> Option<f64> {
        let (x, y) = (mean_ranks(&self.x, counts), mean_ranks(&self.y, counts));
        let centred = |ranks: Vec<f64>| {
            let middle = (counts.iter().sum::<f64>() + 1.0) / 2.0;
            ranks.into_iter().map(|rank| rank - middle).collect::<Vec<f64>>()
        };
        let (x, y) = (centred(x), centred(y));
        let product = |a: &[f64], b: &[f64]| -> f64 {
            a.iter().zip(b).zip(counts).map(|((a, b), count)| count * a * b).sum()
        };
        let spread = (product(&x, &x) * product(&y, &y)).sqrt();
        (spread > 0.0).then(|| (product(&x, &y) / spread).clamp(-1.0, 1.0))
    }
}

/// Both numbers of each point as its place among all of them, from −½ to ½.
fn places(points: &[Point]) -> Vec<Point> {
    let (ranking, counts) = (Ranking::of(points), vec![1.0; points.len()]);
    let (x, y) = (mean_ranks(&ranking.x, &counts), mean_ranks(&ranking.y, &counts));
    let n = points.len() as f64;
    let place = |rank: f64| (rank - (n + 1.0) / 2.0) / n;
    let place_both = |(at, point): (usize, &Point)| Point { x: place(x[at]), y: place(y[at]), ..*point };
    points.iter().enumerate().map(place_both).collect()
}

/// Ranks from 1, equal values sharing the mean of theirs.
fn mean_ranks(ordered: &[Vec<usize>], counts: &[f64]) -> Vec<f64> {
    let (mut ranks, mut before) = (vec![0.0; counts.len()], 0.0);
    for equal in ordered {
        let here: f64 = equal.iter().map(|&at| counts[at]).sum();
        equal.iter().for_each(|&at| ranks[at] = before + (here + 1.0) / 2.0);
        before += here;
    }
    ranks
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 2_000, seed: 0 };

    fn points(pairs: &[(f64, f64)]) -> Vec<Point> {
        pairs.iter().enumerate().map(|(cell, &(x, y))| Point { cell, x, y }).collect()
    }

    /// Worked by hand; scipy 1.17.1 gives the same:
    ///
    /// - `spearmanr([1, 1, 2, 3, 3], [.2, .1, .3, .5, .4])` = 0.948683: ranks 1.5 1.5 3 4.5 4.5 and 2 1 3 5 4,
    ///   about their mean 3 the sum of products is 9, those of squares are 9 and 10.
    /// - `spearmanr([0, 0, 0, 1, 1], [9, 1, 4, 5, 4])` = 0.148087: ranks 2 2 2 4.5 4.5 and 5 1 2.5 4 2.5,
    ///   products 1.25, squares 7.5 and 9.5.
    #[test]
    fn hand_worked_ties() {
        let rho = |x: [f64; 5], y: [f64; 5]| {
            let pairs: Vec<_> = x.into_iter().zip(y).collect();
            RankCorrelation::without_interval(&points(&pairs)).rho
        };
        let first = rho([1.0, 1.0, 2.0, 3.0, 3.0], [0.2, 0.1, 0.3, 0.5, 0.4]).unwrap();
        assert!((first - 0.948_683).abs() < 1e-6, "{first}");
        // −0 is 0: a label of keep times a direction.
        let second = rho([0.0, -0.0, 0.0, 1.0, 1.0], [9.0, 1.0, 4.0, 5.0, 4.0]).unwrap();
        assert!((second - 0.148_087).abs() < 1e-6, "{second}");
        assert_eq!(rho([1.0, 2.0, 3.0, 4.0, 5.0], [9.0, 7.0, 5.0, 3.0, 1.0]), Some(-1.0));
        assert_eq!(rho([0.0, -0.0, 0.0, 0.0, 0.0], [9.0, 7.0, 5.0, 3.0, 1.0]), None);
        assert_eq!(RankCorrelation::without_interval(&[]).rho, None);
    }

    /// A record that comes twice is two records.
    #[test]
    fn counts_repeat_records() {
        let pairs = [(1.0, 2.0), (3.0, 1.0), (2.0, 2.0), (3.0, 5.0)];
        let counted = Ranking::of(&points(&pairs)).rho(&[2.0, 0.0, 1.0, 3.0]);
        let (a, c, d) = (pairs[0], pairs[2], pairs[3]);
        assert_eq!(counted, Ranking::of(&points(&[a, a, c, d, d, d])).rho(&[1.0; 6]));
    }

    /// `cells` of 40 records; both numbers have a part that is the cell's.
    fn clustered(cells: usize, slope: f64, seed: u64) -> Vec<Point> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || rng.random::<f64>() - 0.5;
        let mut points = Vec::new();
        for cell in 0..cells {
            let (shared_x, shared_y) = (0.5 * uniform(), 0.5 * uniform());
            for _ in 0..40 {
                let x = uniform() + shared_x;
                points.push(Point { cell, x, y: slope * x + uniform() + shared_y });
            }
        }
        points
    }

    #[test]
    fn the_interval_covers_0_where_there_is_nothing_and_only_there() {
        let trials = 200;
        let bootstrap = Bootstrap { resamples: 400, ..BOOTSTRAP };
        let covers = |seed| {
            let interval = RankCorrelation::of(&clustered(8, 0.0, seed), &bootstrap).interval.unwrap();
            interval.lower <= 0.0 && 0.0 <= interval.upper
        };
        let covered = (0..trials).filter(|&seed| covers(seed)).count();
        // 95 % ± 3 standard deviations.
        assert!((181..=199).contains(&covered), "{covered} of {trials}");
        for seed in 0..20 {
            let found = RankCorrelation::of(&clustered(8, 0.7, seed), &bootstrap);
            assert!(found.interval.unwrap().lower > 0.0, "{found:?}");
        }
    }

    #[test]
    fn it_depends_on_records_and_seed_alone() {
        let points = clustered(5, 0.3, 1);
        let of = |seed| RankCorrelation::of(&points, &Bootstrap { seed, ..BOOTSTRAP });
        assert_eq!(of(0), of(0));
        assert_ne!(of(0), of(1));
        assert_eq!((of(0).records, of(0).cells), (200, 5));
    }

    /// Prunes always gain, grows never; which of either gains more is said the wrong way round.
    #[test]
    fn what_tells_groups_apart_does_not_count_within_them() {
        let groups = [points(&[(1.0, 3.0), (2.0, 2.0)]), points(&[(11.0, 13.0), (12.0, 12.0)])];
        assert!(RankCorrelation::of(&groups.concat(), &BOOTSTRAP).rho.is_some_and(|rho| rho > 0.5));
        assert_eq!(RankCorrelation::within(&groups, &BOOTSTRAP).rho, Some(-1.0));
    }

    #[test]
    fn one_cell_and_resamples_that_do_not_vary_give_no_interval() {
        assert_eq!(RankCorrelation::of(&clustered(1, 0.7, 0), &BOOTSTRAP).interval, None);
        // x varies in the last of three cells alone, which 30 % of the resamples do not draw.
        let mut points = clustered(3, 0.7, 0);
        points.iter_mut().filter(|point| point.cell < 2).for_each(|point| point.x = 0.0);
        let found = RankCorrelation::of(&points, &BOOTSTRAP);
        assert!(found.rho.is_some() && found.interval.is_none(), "{found:?}");
    }
}
