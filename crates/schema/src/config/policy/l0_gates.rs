//! A gate for each expert, which learns whether it is worth its price.

use serde::{Deserialize, Serialize};

use crate::config::{
    ConfigFault,
    bounds::{at_least_zero, fraction, positive, share},
};

/// Hard-concrete gates (Louizos et al. 2018): each expert has a gate `z` from 0 to 1, drawn anew at each step, whose logarithm is added
/// to its router logit. The gates learn from the gradient of the training loss and from a price for each expert that is open. An expert
/// whose gate is hardly ever open goes; what is left at the end of the period trains on without gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L0GatesConfig {
    /// From this fraction of training on there are gates …
    pub from: f64,
    /// … and until this one.
    pub until: f64,
    /// λ: training loss, nats, that an expert must save to be open.
    pub price: f64,
    /// Learning rate of the gates (Adam, β₁ 0.9, β₂ 0.999).
    pub lr: f64,
    /// log α at the start: 3 is a chance of 0.99 to be open.
    pub init: f64,
    /// At a decision point experts go whose chance to be open is lower.
    pub prune_below: f64,
    /// β: the lower, the nearer a gate is to 0 or 1.
    pub temperature: f64,
    /// γ and ζ, below 0 and above 1: the range of a gate before it is cut off at 0 and 1.
    pub stretch: [f64; 2],
}

impl Default for L0GatesConfig {
    fn default() -> Self {
        Self {
            from: 0.05,
            until: 0.6,
            price: 0.008,
            lr: 0.05,
            init: 3.0,
            prune_below: 0.1,
            temperature: 2.0 / 3.0,
            stretch: [-0.1, 1.1],
        }
    }
}

impl L0GatesConfig {
    /// A logarithm beyond this is 0 or 1 as a probability, and nothing learns from it.
    const MAX_INIT: f64 = 100.0;

    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        fraction("from", self.from)?;
        fraction("until", self.until)?;
        if self.until <= self.from {
            let message = format!("is {}; must be above from = {}", self.until, self.from);
            return Err(ConfigFault::new("until", message));
        }
        at_least_zero("price", self.price)?;
        positive("lr", self.lr)?;
        if !(-Self::MAX_INIT..=Self::MAX_INIT).contains(&self.init) {
            let message = format!("is {}; must be from −{} to {}", self.init, Self::MAX_INIT, Self::MAX_INIT);
            return Err(ConfigFault::new("init", message));
        }
        share("prune_below", self.prune_below)?;
        positive("temperature", self.temperature)?;
        let [low, high] = self.stretch;
        if !(low < 0.0 && high > 1.0 && (high - low).is_finite()) {
            return Err(ConfigFault::new("stretch", "must be a number below 0 and one above 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_key() {
        let refused = |change: fn(&mut L0GatesConfig)| {
            let mut config = L0GatesConfig::default();
            change(&mut config);
            config.check().map_err(|fault| fault.key)
        };
        assert_eq!(refused(|_| ()), Ok(()));
        assert_eq!(refused(|config| config.until = 0.05), Err("until".to_owned()));
        assert_eq!(refused(|config| config.until = 1.0), Err("until".to_owned()));
        assert_eq!(refused(|config| config.price = f64::NAN), Err("price".to_owned()));
        assert_eq!(refused(|config| config.lr = 0.0), Err("lr".to_owned()));
        assert_eq!(refused(|config| config.init = f64::NAN), Err("init".to_owned()));
        assert_eq!(refused(|config| config.prune_below = 1.1), Err("prune_below".to_owned()));
        assert_eq!(refused(|config| config.temperature = 0.0), Err("temperature".to_owned()));
        for stretch in [[0.0, 1.1], [-0.1, 1.0], [f64::NAN, 1.1], [-0.1, f64::INFINITY]] {
            let config = L0GatesConfig { stretch, ..L0GatesConfig::default() };
            assert_eq!(config.check().unwrap_err().key, "stretch");
        }
    }
}
