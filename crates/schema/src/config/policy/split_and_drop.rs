//! Splits by evidence, drops by re-routing, and races of smaller sets.

use serde::{Deserialize, Serialize};

use crate::config::{
    ConfigFault,
    bounds::{at_least_zero, at_most, count, fraction},
    choice::choice,
};

/// Experts are split where a test finds that two would serve their tokens better than one, dropped where nobody misses them, and when
/// the test has fallen silent, smaller sets race against the one that is there. The constants were chosen on generated texts of
/// 2, 4, 8 and 16 domains, the bound of the races on pos14 and lid49 too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitAndDropConfig {
    /// When experts are dropped and tested: fractions of training, ascending.
    pub times: Vec<f64>,
    /// Validation texts on which sets of experts are judged, spread evenly.
    pub texts: usize,
    /// When it drops experts.
    pub drop: DropConfig,
    /// When it splits them.
    pub split: SplitConfig,
    /// How it looks for the smallest set that does.
    pub descent: DescentConfig,
}

impl Default for SplitAndDropConfig {
    fn default() -> Self {
        Self {
            times: vec![0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3, 0.36, 0.42],
            texts: 1000,
            drop: DropConfig::default(),
            split: SplitConfig::default(),
            descent: DescentConfig::default(),
        }
    }
}

/// When experts are dropped: as long as the loss on validation texts stays within a bound, with every token sent to the best expert
/// that is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropConfig {
    /// Loss that dropping may cost at one time, nats, all layers together.
    pub loss: f64,
    /// At the first time, when experts know little yet, so many stay at most, whatever the others save.
    pub first_most: usize,
    /// An expert that a split made is kept for so long: a fraction of training.
    pub grace: f64,
    /// Which expert is tried to do without next.
    pub order: EliminationOrder,
}

impl Default for DropConfig {
    fn default() -> Self {
        Self { loss: 0.001, first_most: 3, grace: 0.055, order: EliminationOrder::default() }
    }
}

/// In which order experts go, as long as the loss allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EliminationOrder {
    /// Next goes the one without which the loss is lowest: of `n` experts `n (n + 1) / 2` sets are judged, of more than sixteen
    /// fewer.
    #[default]
    Loss,
    /// By the mean of router weight × output norm over the tokens of an expert, the least first (REAP, Lasby et al. 2025): one more
    /// pass, and `n` sets are judged.
    Saliency,
}

/// When experts are split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Standard errors that the gain of two over one must lie above 0.
    pub z: f64,
    /// Loss that the split must promise to save, nats per token of the layer.
    pub gain: f64,
    /// Part of the expert's tokens that each half must get at least.
    pub share: f64,
    /// Splits at one time, at most; 0: nothing is ever split.
    pub most: usize,
    /// Training texts that are sent through the model for a test.
    pub texts: usize,
    /// Tokens that are tested, of all experts together.
    pub tokens: usize,
    /// Tokens of one expert, at most.
    pub tokens_per_expert: usize,
    /// How the halves begin.
    #[serde(deserialize_with = "choice")]
    pub halves: Halves,
    /// Hidden units of a half that fire for less than this part of its tokens are drawn anew; 0: none.
    pub redraw_below: f64,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            z: 3.0,
            gain: 0.005,
            share: 0.1,
            most: 4,
            texts: 6144,
            tokens: 6144,
            tokens_per_expert: 4096,
            halves: Halves::Along {},
            redraw_below: 0.05,
        }
    }
}

/// How the halves of a split expert begin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Halves {
    /// Parted along the direction that the test found.
    Along {},
    /// A control: the child is a noisy copy that the router does not tell apart.
    Copy {
        /// Standard deviation of the noise, relative to the RMS of each tensor.
        noise: f64,
    },
    /// A control: the child is drawn anew.
    Fresh {},
}

/// How the smallest set that does is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DescentConfig {
    /// It begins after so many times without a split …
    pub quiet: u64,
    /// … of which those before this fraction of training do not count …
    pub quiet_from: f64,
    /// … and at this fraction of training at the latest.
    pub latest: f64,
    /// How long smaller sets train beside the one that is there: a fraction of training; 0: there is no descent.
    pub horizon: f64,
    /// Loss that smaller sets may have above the best of the race, nats, all descents together.
    pub loss: f64,
    /// Loss that they may have above the lowest that all experts had at any time, as a multiple of `loss`.
    pub settled: f64,
}

impl Default for DescentConfig {
    fn default() -> Self {
        Self { quiet: 1, quiet_from: 0.19, latest: 0.5, horizon: 0.08, loss: 0.005, settled: 2.0 }
    }
}

impl SplitAndDropConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        let inside = |time: &f64| *time > 0.0 && *time < 1.0;
        if !self.times.iter().all(inside) || !self.times.is_sorted_by(|one, other| one < other) {
            return Err(ConfigFault::new("times", "must be fractions between 0 and 1, ascending"));
        }
        count("texts", self.texts as u64, 1_000_000_000)?;
        self.drop.check().map_err(|fault| fault.within("drop"))?;
        self.split.check().map_err(|fault| fault.within("split"))?;
        self.descent.check().map_err(|fault| fault.within("descent"))
    }

    /// When it splits experts, if it ever does.
    pub fn splits(&self) -> Option<&SplitConfig> {
        Some(&self.split).filter(|split| split.most > 0)
    }

    /// How it looks for the smallest set, if it does.
    pub fn descends(&self) -> Option<&DescentConfig> {
        Some(&self.descent).filter(|descent| descent.horizon > 0.0)
    }
}

impl DropConfig {
    fn check(&self) -> Result<(), ConfigFault> {
        at_least_zero("loss", self.loss)?;
        count("first_most", self.first_most as u64, 10_000)?;
        fraction("grace", self.grace)
    }
}

impl SplitConfig {
    fn check(&self) -> Result<(), ConfigFault> {
        at_least_zero("z", self.z)?;
        at_least_zero("gain", self.gain)?;
        if !(0.0..=0.5).contains(&self.share) {
            return Err(ConfigFault::new("share", "must be from 0 to 0.5: it is that of the smaller half"));
        }
        at_most("most", self.most as u64, 10_000)?;
        count("texts", self.texts as u64, 1_000_000_000)?;
        count("tokens", self.tokens as u64, 1_000_000_000)?;
        count("tokens_per_expert", self.tokens_per_expert as u64, 1_000_000_000)?;
        if let Halves::Copy { noise } = self.halves {
            at_least_zero("halves.copy.noise", noise)?;
        }
        fraction("redraw_below", self.redraw_below)
    }
}

impl DescentConfig {
    fn check(&self) -> Result<(), ConfigFault> {
        count("quiet", self.quiet, 1_000)?;
        fraction("quiet_from", self.quiet_from)?;
        fraction("latest", self.latest)?;
        fraction("horizon", self.horizon)?;
        at_least_zero("loss", self.loss)?;
        at_least_zero("settled", self.settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_key() {
        let refused = |change: fn(&mut SplitAndDropConfig)| {
            let mut config = SplitAndDropConfig::default();
            change(&mut config);
            config.check().map_err(|fault| fault.key)
        };
        assert_eq!(refused(|_| ()), Ok(()));
        assert_eq!(refused(|config| config.times = vec![0.2, 0.1]), Err("times".to_owned()));
        assert_eq!(refused(|config| config.times = vec![1.0]), Err("times".to_owned()));
        assert_eq!(refused(|config| config.drop.loss = f64::NAN), Err("drop.loss".to_owned()));
        let split = |config: &mut SplitAndDropConfig| config.split.tokens = 0;
        assert_eq!(refused(split), Err("split.tokens".to_owned()));
        let descent = |config: &mut SplitAndDropConfig| config.descent.horizon = 1.5;
        assert_eq!(refused(descent), Err("descent.horizon".to_owned()));
    }
}
