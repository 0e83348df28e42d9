//! Arms of which some seeds end far below the others, with known truth.
//!
//! Accuracies are drawn seed by seed, so that the truth is their mean. Two forms: the accuracies alone, one number a
//! seed, which is the hardest case (nothing evens out what seeds do); and answers to texts with those accuracies, as on
//! SST-2 ([`World::arms_of`]).

use moelt_eval::{Differences, Scores};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};

use super::{EXAMPLES, RECORDED, World};

/// How the seeds of an arm end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seeds {
    /// Normally, with this SD.
    Even(f64),
    /// So; and a share `rate` of them `depth` lower.
    Collapsing { sd: f64, rate: f64, depth: f64 },
    /// A share `rate` is lower by anything up to `depth`.
    Uneven { sd: f64, rate: f64, depth: f64 },
    /// With Student's t of three degrees of freedom, times this.
    HeavyTailed(f64),
    /// As one of the recorded runs did.
    Recorded,
}

/// Two arms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LopsidedWorld {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// Of the arm that is claimed to be good, and of its opponent.
    pub(crate) arms: [Seeds; 2],
    /// Whether the figures must hold at the seeds that a GO takes. Where not, the world shows a limit that the docs name.
    pub(crate) is_asked_for: bool,
}

const EVEN: Seeds = Seeds::Even(0.003);
const ONE_IN_5: Seeds = Seeds::Collapsing { sd: 0.003, rate: 0.2, depth: 0.04 };
const ONE_IN_10: Seeds = Seeds::Collapsing { sd: 0.003, rate: 0.1, depth: 0.1 };
const ONE_IN_20: Seeds = Seeds::Collapsing { sd: 0.003, rate: 0.05, depth: 0.2 };
const UP_TO_10: Seeds = Seeds::Uneven { sd: 0.003, rate: 0.1, depth: 0.1 };
const HEAVY: Seeds = Seeds::HeavyTailed(0.003);

/// The last two are those that 29 seeds do not settle: rarer collapses than the plan asks for, and such as are not all deep.
pub(crate) const LOPSIDED: [LopsidedWorld; 11] = [
    world("even seeds", [EVEN; 2], true),
    world("1 in 5 falls by 4 pp, one arm", [ONE_IN_5, EVEN], true),
    world("1 in 5 falls by 4 pp, both", [ONE_IN_5; 2], true),
    world("1 in 10 falls by 10 pp, one arm", [ONE_IN_10, EVEN], true),
    world("1 in 10 falls by 10 pp, both", [ONE_IN_10; 2], true),
    world("recorded seeds, one arm", [Seeds::Recorded, Seeds::Even(0.001)], true),
    world("recorded seeds, both", [Seeds::Recorded; 2], true),
    world("heavy tails, one arm", [HEAVY, EVEN], true),
    world("heavy tails, both", [HEAVY; 2], true),
    world("1 in 20 falls by 20 pp, one arm", [ONE_IN_20, EVEN], false),
    world("1 in 10 falls by 0 to 10 pp, one arm", [UP_TO_10, EVEN], false),
];

const fn world(name: &'static str, arms: [Seeds; 2], is_asked_for: bool) -> LopsidedWorld {
    LopsidedWorld { name, arms, is_asked_for }
}

impl Seeds {
    /// How far a seed ends above its arm's typical accuracy.
    fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        let normal = |rng: &mut ChaCha8Rng, sd: f64| -> f64 {
            let z: f64 = StandardNormal.sample(rng);
            sd * z
        };
        match self {
            Self::Even(sd) => normal(rng, sd),
            Self::Collapsing { sd, rate, depth } => {
                normal(rng, sd) - if rng.random_bool(rate) { depth } else { 0.0 }
            }
            Self::Uneven { sd, rate, depth } => {
                let fall = rng.random_range(0.0..depth);
                normal(rng, sd) - if rng.random_bool(rate) { fall } else { 0.0 }
            }
            Self::HeavyTailed(scale) => scale * StudentT::new(3.0).unwrap().sample(rng),
            Self::Recorded => RECORDED[rng.random_range(0..RECORDED.len())],
        }
    }

    /// The mean of what is drawn.
    fn mean(self) -> f64 {
        match self {
            Self::Even(_) | Self::HeavyTailed(_) => 0.0,
            Self::Collapsing { rate, depth, .. } => -rate * depth,
            Self::Uneven { rate, depth, .. } => -rate * depth / 2.0,
            Self::Recorded => RECORDED.iter().sum::<f64>() / RECORDED.len() as f64,
        }
    }

    /// `n` seeds of true mean `accuracy`.
    fn accuracies(self, accuracy: f64, n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        (0..n).map(|_| accuracy + self.draw(rng) - self.mean()).collect()
    }
}

impl LopsidedWorld {
    /// Simulation number `index`: accuracies of both arms, seed by seed, the first `difference` better in the long run.
    fn accuracies(&self, seeds: usize, difference: f64, index: u64) -> [Vec<f64>; 2] {
        let mut rng = stream(index);
        let [first, second] = self.arms;
        [first.accuracies(0.85 + difference, seeds, &mut rng), second.accuracies(0.85, seeds, &mut rng)]
    }

    /// Their differences, one number per seed.
    pub(crate) fn of_seeds(&self, seeds: usize, difference: f64, index: u64) -> Differences {
        let [first, second] =
            self.accuracies(seeds, difference, index).map(|arm| Scores::of_seeds((0..).zip(arm)).unwrap());
        first.minus(&second).unwrap()
    }

    /// Their differences text by text, on the texts of `world`.
    pub(crate) fn of_texts(&self, world: &World, seeds: usize, difference: f64, index: u64) -> Differences {
        let accuracies = self.accuracies(seeds, difference, index);
        let arms = world.arms_of(&accuracies, EXAMPLES, index);
        arms[0].minus(&arms[1]).unwrap()
    }
}

fn stream(index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    rng.set_stream(index);
    rng
}
