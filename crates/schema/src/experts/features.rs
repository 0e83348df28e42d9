//! What a control head sees of a layer.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error, ser::SerializeMap};

/// Statistics of one layer over a window, each brought to `0..=1` (the slope to `−1..=1`) by a fixed formula
/// that does not depend on the number of experts. What is no number is 0.
///
/// Shares of experts enter as a fraction of the even share `1/n`, squashed by `x / (1 + x)`: an idle expert gives
/// 0, one with the even share ½, and one that carries everything tends to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features([f32; Features::N]);

impl Features {
    /// How many there are.
    pub const N: usize = 16;

    /// Place of routing entropy / ln n: a single expert counts as 1.
    pub const ROUTING_ENTROPY: usize = 0;

    /// Place of load entropy / ln n: a single expert counts as 1.
    pub const LOAD_ENTROPY: usize = 1;

    /// Place of the squashed training loss.
    pub const LOSS: usize = 14;

    /// Place of the loss's slope.
    pub const SLOPE: usize = 15;

    /// Their names, in order:
    ///
    /// - `routing_entropy`, `load_entropy`: as a fraction of `ln n`.
    /// - `utilization_max`, `_upper`, `_median`, `_lower`, `_min`: maximum, quartiles (between experts linear)
    ///   and minimum of the experts' utilization.
    /// - `dead`: fraction of the experts that are dead.
    /// - `ramping_in`: fraction of the experts that are still ramping in.
    /// - `saliency_max`, `saliency_min`: of the policy's saliency.
    /// - `saliency_ratio`: minimum / maximum.
    /// - `experts`: `ln n / ln max_experts`.
    /// - `progress`: fraction of the run that is done.
    /// - `loss`: mean training loss of the window, nats, squashed.
    /// - `slope`: `tanh(10 (loss − loss of the window before))`: a tenth of a nat per window is steep.
    pub const NAMES: [&str; Self::N] = [
        "routing_entropy",
        "load_entropy",
        "utilization_max",
        "utilization_upper",
        "utilization_median",
        "utilization_lower",
        "utilization_min",
        "dead",
        "ramping_in",
        "saliency_max",
        "saliency_min",
        "saliency_ratio",
        "experts",
        "progress",
        "loss",
        "slope",
    ];

    /// From values in the order of [`Self::NAMES`], clamped to `−1..=1`; what is no number becomes 0.
    pub fn clamped(values: [f64; Self::N]) -> Self {
        Self(values.map(|value| if value.is_finite() { value.clamp(-1.0, 1.0) as f32 } else { 0.0 }))
    }

    /// All of them, in the order of [`Self::NAMES`].
    pub fn values(&self) -> &[f32; Self::N] {
        &self.0
    }

    /// Features that were stored; none unless they are [`Self::N`].
    pub fn from_values(values: &[f32]) -> Option<Self> {
        Some(Self(values.try_into().ok()?))
    }

    /// Each with its name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f32)> {
        Self::NAMES.into_iter().zip(self.0)
    }
}

/// An object: name → value.
impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Self::N))?;
        for (name, value) in self.named() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, f32>::deserialize(deserializer)?;
        if let Some(name) = map.keys().find(|name| !Self::NAMES.contains(&name.as_str())) {
            return Err(D::Error::custom(format!("unknown feature `{name}`")));
        }
        let value = |name: &str| map.get(name).copied().filter(|value| value.is_finite());
        let mut values = [0.0; Self::N];
        for (place, name) in values.iter_mut().zip(Self::NAMES) {
            *place = value(name).ok_or_else(|| D::Error::custom(format!("no finite feature `{name}`")))?;
        }
        Ok(Self(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_an_object_that_must_be_whole() {
        let features = Features::clamped([0.1; Features::N]);
        let json = serde_json::to_string(&features).unwrap();
        assert!(json.starts_with(r#"{"routing_entropy":0.1,"#), "{json}");
        assert_eq!(serde_json::from_str::<Features>(&json).unwrap(), features);
        let read = |json: &str| serde_json::from_str::<Features>(json).unwrap_err().to_string();
        assert!(read("{}").contains("no finite feature `routing_entropy`"));
        assert!(read(r#"{"mood": 1}"#).contains("unknown feature `mood`"));
    }

    #[test]
    fn values_are_brought_into_range() {
        let mut values = [f64::NAN; Features::N];
        (values[0], values[1]) = (7.0, -7.0);
        assert_eq!(Features::clamped(values).values()[..3], [1.0, -1.0, 0.0]);
    }
}
