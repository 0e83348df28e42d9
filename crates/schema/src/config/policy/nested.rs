//! Nested experts: at each step only a prefix of them may be chosen, and the smallest that does is kept.

use serde::{Deserialize, Serialize};

use crate::config::{
    ConfigFault,
    bounds::{MAX_EXPERTS, at_least_zero, count, fraction, positive},
};

/// At each step the router may choose among a prefix of the experts alone, whose size is drawn anew; later the smallest prefix that is
/// about as good as the best one is kept, and the rest of training goes on with it (as slimmable networks, Yu et al. 2019, and nested
/// dropout, Rippel et al. 2014, do with units).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NestedConfig {
    /// Sizes of prefixes: experts of every layer, ascending. All experts together are one more, and sizes beyond it do not count.
    pub sizes: Vec<usize>,
    /// Until this fraction of training prefixes are drawn; then one of them is kept.
    pub until: f64,
    /// Loss that it may have above the best prefix, nats.
    pub loss: f64,
    /// Validation texts on which prefixes are judged, spread evenly.
    pub texts: usize,
}

impl Default for NestedConfig {
    fn default() -> Self {
        Self { sizes: vec![1, 2, 4, 8, 16], until: 0.7, loss: 0.01, texts: 1000 }
    }
}

impl NestedConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        if self.sizes.is_empty() || !self.sizes.is_sorted_by(|one, other| one < other) {
            return Err(ConfigFault::new("sizes", "must be numbers of experts, ascending"));
        }
        for size in &self.sizes {
            count("sizes", *size as u64, MAX_EXPERTS)?;
        }
        positive("until", self.until)?;
        fraction("until", self.until)?;
        at_least_zero("loss", self.loss)?;
        count("texts", self.texts as u64, 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_key() {
        let refused = |change: fn(&mut NestedConfig)| {
            let mut config = NestedConfig::default();
            change(&mut config);
            config.check().map_err(|fault| fault.key)
        };
        assert_eq!(refused(|_| ()), Ok(()));
        assert_eq!(refused(|config| config.sizes = vec![2, 2]), Err("sizes".to_owned()));
        assert_eq!(refused(|config| config.sizes = vec![0, 2]), Err("sizes".to_owned()));
        assert_eq!(refused(|config| config.until = 0.0), Err("until".to_owned()));
        assert_eq!(refused(|config| config.until = 1.0), Err("until".to_owned()));
        assert_eq!(refused(|config| config.loss = f64::NAN), Err("loss".to_owned()));
        assert_eq!(refused(|config| config.texts = 0), Err("texts".to_owned()));
    }
}
