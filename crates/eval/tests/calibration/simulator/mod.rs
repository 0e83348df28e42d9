//! Arms with known truth: right and wrong answers that vary by seed, by example and by both together.
//!
//! A latent score decides each answer. Arm k under seed s answers example i rightly when
//!
//! `m_k + √easy·U_i + √taste·W_ki + √luck·C_s + √seed·G_ks + √rest·V_ksi > 0`
//!
//! with independent standard normal U (how easy an example is), W (which examples suit an arm), C (what all
//! arms have in common under a seed), G (how a seed turned out for one arm) and V (everything else). The five
//! variances sum to 1, so that arm k is right with probability Φ(m_k), and that is the truth to be found.
//!
//! The variances are tuned so that the difference of two arms of accuracy 0.83 has the components wanted.
//! With `P(ρ) = P(X > −m, Y > −m)` for standard normal X and Y of correlation ρ, and m = Φ⁻¹(0.83):
//!
//! - σ²_seed = 2·(P(luck + seed) − P(luck)),
//! - σ²_item = 2·(P(easy + taste) − P(easy)),
//! - σ²_seed + σ²_item + σ²_interaction = 2·(0.83 − P(easy + luck)): how often two arms disagree,
//! - P(luck) − 0.83² = (0.5 pp)², or 0: what a seed does to both arms alike.
//!
//! These were solved by root finding with P as a one-dimensional integral over the correlation.

mod lopsided;
mod recorded;

use moelt_eval::Scores;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use statrs::distribution::{ContinuousCDF, Normal};

pub(crate) use self::{
    lopsided::{LOPSIDED, LopsidedWorld},
    recorded::RECORDED,
};

/// Examples of SST-2 dev, the test split.
pub(crate) const EXAMPLES: usize = 872;

/// Accuracy of an arm that is not said to be better or worse.
pub(crate) const ACCURACY: f64 = 0.83;

/// A setting with known variances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    easy: f64,
    taste: f64,
    luck: f64,
    seed: f64,
    rest: f64,
    /// Standard deviation over seeds, standard error over examples, and error of one pair that is neither:
    /// σ_seed, σ_item/√872 and σ_interaction/√872, percentage points.
    pub(crate) spread_pp: [f64; 3],
}

/// What was found on SST-2: seed SD 0.56, item SE 0.55, interaction 0.40 pp.
pub(crate) const SST2: World = World {
    name: "SST-2",
    easy: 0.979_635_403,
    taste: 0.017_829_930,
    luck: 0.000_390_335,
    seed: 0.000_244_748,
    rest: 0.001_899_583,
    spread_pp: [0.56, 0.55, 0.40],
};

/// The same with seeds that make no difference of their own.
pub(crate) const NO_SEED_VARIANCE: World = World {
    name: "no seed variance",
    easy: 0.979_666_422,
    taste: 0.017_809_852,
    luck: 0.000_390_335,
    seed: 0.0,
    rest: 0.002_133_391,
    spread_pp: [0.0, 0.55, 0.40],
};

/// Seeds that matter more than anything: arms that differ by 2 pp between seeds also disagree more.
pub(crate) const LARGE_SEED_VARIANCE: World = World {
    name: "large seed variance",
    easy: 0.883_398_905,
    taste: 0.054_484_938,
    luck: 0.000_390_335,
    seed: 0.003_117_706,
    rest: 0.058_608_116,
    spread_pp: [2.0, 0.55, 0.90],
};

/// Arms that disagree on 3 of 872 examples under a seed: differences are whole examples, few and lopsided.
pub(crate) const FEW_DISAGREEMENTS: World = World {
    name: "few disagreements",
    easy: 0.999_811_124,
    taste: 0.000_141_651,
    luck: 0.0,
    seed: 0.000_001_952,
    rest: 0.000_045_273,
    spread_pp: [0.05, 0.15, 0.15],
};

/// SST-2 without what examples have in common over seeds: all of it is drawn anew for each seed. It cannot
/// tell whether a method knows that seeds share their examples.
pub(crate) const NO_SHARED_ITEMS: World =
    World { name: "no shared items", taste: 0.0, rest: 0.001_899_583 + 0.017_829_930, ..SST2 };

impl World {
    /// Simulation number `index`: arms of these accuracies, under the same seeds on the same examples.
    pub(crate) fn arms(&self, accuracies: &[f64], seeds: usize, examples: usize, index: u64) -> Vec<Scores> {
        let by_seed: Vec<Vec<f64>> = accuracies.iter().map(|&accuracy| vec![accuracy; seeds]).collect();
        self.arms_of(&by_seed, examples, index)
    }

    /// The same for arms whose seeds have accuracies of their own: as many of each arm.
    pub(crate) fn arms_of(&self, accuracies: &[Vec<f64>], examples: usize, index: u64) -> Vec<Scores> {
        let seeds = accuracies[0].len();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        rng.set_stream(index);
        let easy = normals(examples, self.easy, &mut rng);
        let luck = normals(seeds, self.luck, &mut rng);
        let mut arm = |by_seed: &Vec<f64>| {
            let taste = normals(examples, self.taste, &mut rng);
            let row = |seed: usize| {
                let mean = Normal::standard().inverse_cdf(by_seed[seed]);
                let shift = mean + luck[seed] + normals(1, self.seed, &mut rng)[0];
                let rest = normals(examples, self.rest, &mut rng);
                let latent = easy.iter().zip(&taste).zip(&rest).map(|((a, b), c)| shift + a + b + c);
                (seed as u64, latent.map(|score| f64::from(u8::from(score > 0.0))).collect())
            };
            Scores::new((0..seeds).map(row)).unwrap()
        };
        accuracies.iter().map(&mut arm).collect()
    }
}

fn normals(n: usize, variance: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let normals = StandardNormal.sample_iter(rng).take(n);
    normals.map(|z: f64| variance.sqrt() * z).collect()
}
