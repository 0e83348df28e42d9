//! A head that was taught once, as its file holds it: on what it was taught, what that cost, and what it knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, Flops, Move};

/// Version of the file.
pub const TAUGHT_FORMAT: u32 = 1;

/// The file of a head that was taught on many small tasks before the runs that use it
/// (`control.policy.lookahead.head.taught`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaughtFile {
    /// [`TAUGHT_FORMAT`].
    pub format: u32,
    /// Version of moelt that taught it.
    pub moelt: String,
    /// From what its tasks were drawn.
    pub ranges: TeachingRanges,
    /// What it was taught.
    pub teaching: Teaching,
    /// What it knows.
    pub head: TaughtHead,
    /// Hash of everything above.
    pub digest: Digest,
}

/// From what teaching tasks are drawn: each number uniformly, both ends included. The default is what
/// `moelt control teach` draws from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeachingRanges {
    /// Seeds of the data, one per task. No run that is judged may use one.
    pub data_seeds: [u64; 2],
    /// Seeds of the runs, one after another. No run that is judged may use one.
    pub run_seeds: [u64; 2],
    /// Hidden domains, K.
    pub domains: [u64; 2],
    /// Probability that a polar word agrees with the clean label, in thousandths.
    pub polar_agreement: [u64; 2],
    /// Probability that a label is flipped, in thousandths.
    pub label_noise: [u64; 2],
    /// Training texts.
    pub train: [u64; 2],
    /// Optimizer steps.
    pub steps: [u64; 2],
    /// Width of the network.
    pub d_model: [u64; 2],
    /// Hidden units of an expert.
    pub d_ff: [u64; 2],
    /// Experts at the start.
    pub n_experts: [u64; 2],
}

impl Default for TeachingRanges {
    fn default() -> Self {
        Self {
            data_seeds: [5000, 6999],
            run_seeds: [500, 599],
            domains: [1, 8],
            polar_agreement: [750, 950],
            label_noise: [0, 100],
            train: [1000, 6000],
            steps: [300, 900],
            d_model: [16, 48],
            d_ff: [2, 8],
            n_experts: [1, 16],
        }
    }
}

/// What a head was taught, and what that cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teaching {
    /// Seed of the first task's data; those of the others follow it.
    pub first_seed: u64,
    /// Tasks that were drawn.
    pub tasks: u64,
    /// … of which failed or measured nothing, so that nothing was learnt from them.
    pub left_out: u64,
    /// Hash of the configs of those that were learnt from.
    pub configs: Digest,
    /// Measured effects, by move.
    pub records: BTreeMap<Move, u64>,
    /// Of the operations that it was taught with ([`TaughtHead::flops`]) those of fitting the networks. The others are of the
    /// tasks' runs, measuring included.
    pub fitting: u64,
}

/// What a head knows that learns no more. Effects have no unit here: they are parts of the training loss at the
/// decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaughtHead {
    /// Hidden units of a network.
    pub hidden: usize,
    /// Weights of its networks.
    pub networks: Vec<Vec<f32>>,
    /// How far off its forecasts are, by move.
    pub errors: BTreeMap<Move, ForecastErrors>,
    /// Floating-point operations that it was taught with, once.
    pub flops: Flops,
}

/// How far off forecasts of a move were on tasks that a network had not seen. A forecast has the errors of those that predicted about
/// as much, for large effects are missed by more than small ones (conformal prediction by categories: Vovk et al. 2003).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastErrors {
    /// Predictions between the groups, in rising order: one fewer than groups.
    pub bounds: Vec<f64>,
    /// Of each group, in rising order, prediction minus measurement: quantiles of all such errors.
    pub groups: Vec<Vec<f64>>,
}

/// A file that holds no taught head that can be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TaughtError(String);

impl TaughtFile {
    /// The file of a head.
    pub fn new(moelt: &str, ranges: TeachingRanges, teaching: Teaching, head: TaughtHead) -> Self {
        let (format, moelt) = (TAUGHT_FORMAT, moelt.to_owned());
        let digest = Digest::of_json(&(format, &moelt, &ranges, &teaching, &head));
        Self { format, moelt, ranges, teaching, head, digest }
    }

    /// Reads a file; it must be whole and unaltered.
    ///
    /// # Errors
    /// The key, what is wrong with its value, and how to get a file that is right.
    pub fn from_json(text: &str) -> Result<Self, TaughtError> {
        Self::read(text).map_err(|message| {
            TaughtError(format!(
                "{message}; it is no head of this moelt: teach one with `moelt control teach`, or take `shipped`"
            ))
        })
    }

    fn read(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // Before the rest: a file of another format has other keys.
        if value["format"] != TAUGHT_FORMAT {
            return Err(format!("format: is {}, not {TAUGHT_FORMAT}", value["format"]));
        }
        let file: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        file.head.check().map_err(|message| format!("head.{message}"))?;
        let Self { moelt, ranges, teaching, head, digest, .. } = file.clone();
        let found = Self::new(&moelt, ranges, teaching, head).digest;
        if found != digest {
            return Err(format!("digest: is {digest}, but what stands above it has hash {found}"));
        }
        Ok(file)
    }

    /// The text of the file, a line per list.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("moelt's own types always serialise") + "\n"
    }
}

impl TaughtHead {
    /// Most errors of a group: as many tell a spread, and a head is part of every checkpoint.
    pub const MAX_ERRORS: usize = 64;

    /// Most groups of errors of a move.
    pub const MAX_GROUPS: usize = 8;

    /// Refuses what no head can know.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), String> {
        let finite = self.networks.iter().flatten().all(|weight| weight.is_finite());
        if !finite {
            return Err("networks: has a weight that is not finite".to_owned());
        }
        for (candidate, errors) in &self.errors {
            errors.check().map_err(|message| format!("errors.{}.{message}", candidate.name()))?;
        }
        if !self.flops.is_part_of(self.flops) {
            return Err(format!("flops: are {}; padding only ever adds", self.flops));
        }
        Ok(())
    }
}

impl ForecastErrors {
    /// The errors of forecasts that predict this.
    ///
    /// # Panics
    /// When there are no groups, or other bounds than groups have.
    pub fn of(&self, prediction: f64) -> &[f64] {
        &self.groups[self.bounds.partition_point(|bound| *bound <= prediction)]
    }

    fn check(&self) -> Result<(), String> {
        let Self { bounds, groups } = self;
        if !(1..=TaughtHead::MAX_GROUPS).contains(&groups.len()) || bounds.len() + 1 != groups.len() {
            return Err(format!(
                "groups: are {} with {} bounds; must be 1 to {}, and a bound between every two",
                groups.len(),
                bounds.len(),
                TaughtHead::MAX_GROUPS
            ));
        }
        if let Some(errors) = groups.iter().find(|errors| errors.len() > TaughtHead::MAX_ERRORS) {
            return Err(format!(
                "groups: one has {}; must be at most {}",
                errors.len(),
                TaughtHead::MAX_ERRORS
            ));
        }
        for (key, list) in groups.iter().map(|errors| ("groups", errors)).chain([("bounds", bounds)]) {
            // What is finite in single precision has finite sums in double.
            if let Some(number) = list.iter().find(|number| !(**number as f32).is_finite()) {
                return Err(format!("{key}: has {number:e}, which is not finite in single precision"));
            }
            if !list.is_sorted() {
                return Err(format!("{key}: are not in rising order"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> TaughtFile {
        let head = TaughtHead {
            hidden: 1,
            networks: vec![vec![0.1, -0.25], vec![1e-7, 3.0]],
            errors: [
                (Move::Grow, ForecastErrors { bounds: vec![0.5], groups: vec![vec![-0.1, 0.3], vec![]] }),
                (Move::Halve, ForecastErrors { bounds: vec![], groups: vec![vec![0.0]] }),
            ]
            .into(),
            flops: Flops { computed: 900, unpadded: 400 },
        };
        let teaching = Teaching {
            first_seed: 5000,
            tasks: 3,
            left_out: 1,
            configs: Digest::of_bytes(b"configs"),
            records: [(Move::Grow, 7), (Move::Halve, 2)].into(),
            fitting: 100,
        };
        TaughtFile::new("0.1.0", TeachingRanges::default(), teaching, head)
    }

    #[test]
    fn a_file_reads_back_bit_by_bit() {
        let file = file();
        assert_eq!(TaughtFile::from_json(&file.to_json()), Ok(file.clone()));
    }

    #[test]
    fn a_forecast_has_the_errors_of_those_that_predicted_as_much() {
        let errors =
            ForecastErrors { bounds: vec![-1.0, 1.0], groups: vec![vec![0.1], vec![0.2], vec![0.3]] };
        assert_eq!([-1.5, -1.0, 0.9, 1.0].map(|prediction| errors.of(prediction)[0]), [0.1, 0.2, 0.2, 0.3]);
    }

    #[test]
    fn an_altered_file_is_refused_by_key() {
        let text = file().to_json();
        for (from, to, message) in [
            ("\"format\":1", "\"format\":2", "format: is 2, not 1"),
            ("\"tasks\":3", "\"tasks\":4", "digest: is "),
            ("\"hidden\":1", "\"width\":1", "unknown field `width`"),
            ("-0.25", "-0.5", "digest: is "),
            ("-0.25", "-1e39", "number out of range"),
            ("[-0.1,0.3]", "[0.3,-0.1]", "head.errors.grow.groups: are not in rising order"),
            ("[-0.1,0.3]", "[-0.1,1e39]", "head.errors.grow.groups: has 1e39, which is not finite"),
            ("[0.5]", "[]", "head.errors.grow.groups: are 2 with 0 bounds"),
            ("\"computed\":900", "\"computed\":300", "head.flops: are 300 computed, 400 unpadded"),
            ("}", "", "EOF while parsing"),
        ] {
            let altered = text.replacen(from, to, if from == "}" { usize::MAX } else { 1 });
            assert_ne!(altered, text, "{from}");
            let error = TaughtFile::from_json(&altered).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("moelt control teach"), "{error}");
        }
    }
}
