//! The cheap sweep that anybody could do: all sizes start, and the worse half stops again and again.

use serde::{Deserialize, Serialize};

use crate::config::{
    ConfigFault,
    bounds::{MAX_EXPERTS, count, fraction, positive},
};

/// All sizes start together; at every look the worse half stops (successive halving, Jamieson and Talwalkar 2016), and the run goes on
/// with the size that is left. Its recipe has the smallest size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EarlyHalvingConfig {
    /// The other sizes: experts of every layer, ascending.
    pub sizes: Vec<usize>,
    /// Time between two looks: a fraction of training.
    pub every: f64,
    /// Looks, at most.
    pub looks: u64,
}

impl Default for EarlyHalvingConfig {
    fn default() -> Self {
        Self { sizes: vec![2, 4, 8, 12, 16], every: 0.05, looks: 3 }
    }
}

impl EarlyHalvingConfig {
    pub(super) fn check(&self) -> Result<(), ConfigFault> {
        if self.sizes.is_empty() || !self.sizes.is_sorted_by(|one, other| one < other) {
            return Err(ConfigFault::new("sizes", "must be numbers of experts, ascending"));
        }
        for size in &self.sizes {
            count("sizes", *size as u64, MAX_EXPERTS)?;
        }
        positive("every", self.every)?;
        fraction("every", self.every)?;
        count("looks", self.looks, 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_ascend() {
        let refused = |sizes: &[usize]| {
            let config = EarlyHalvingConfig { sizes: sizes.to_vec(), ..EarlyHalvingConfig::default() };
            config.check().map_err(|fault| fault.key)
        };
        assert_eq!(refused(&[2, 4]), Ok(()));
        for sizes in [&[][..], &[4, 2], &[2, 2], &[0, 2]] {
            assert_eq!(refused(sizes), Err("sizes".to_owned()), "{sizes:?}");
        }
    }
}
