//! What a decision rests on, in numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::{ExpertId, Features, GrowthCriteria, LayerId, Move};

/// What a decision rests on: what was seen of each layer and tried on it, and whatever else a policy wrote down.
///
/// ```
/// use moelt_schema::Evidence;
/// let evidence = Evidence::default().with("temperature", 0.5).with("unknown", f64::NAN);
/// assert_eq!(serde_json::to_string(&evidence).unwrap(), r#"{"layers":[],"numbers":{"temperature":0.5}}"#);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The layers that were looked at.
    pub layers: Vec<LayerEvidence>,
    /// Numbers of the policy's own, by name: for people. Nothing reads meaning out of a name.
    pub numbers: BTreeMap<String, f64>,
}

impl Evidence {
    /// The same with one number more. A value that is not finite is left out: JSON has no word for it.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        note(&mut self.numbers, name, value);
        self
    }

    /// What was seen of a layer.
    pub fn layer(&self, layer: LayerId) -> Option<&LayerEvidence> {
        self.layers.iter().find(|evidence| evidence.layer == layer)
    }
}

/// Adds a number, if it is one.
fn note(numbers: &mut BTreeMap<String, f64>, name: impl Into<String>, value: f64) {
    if value.is_finite() {
        numbers.insert(name.into(), value);
    }
}

/// Numbers by expert. Keys of JSON objects are strings; inside an event serde no longer knows that they are ids.
fn by_expert<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<ExpertId, f64>, D::Error> {
    let by_name = BTreeMap::<String, f64>::deserialize(deserializer)?;
    let expert = |(id, value): (String, f64)| Ok((ExpertId(id.parse().map_err(D::Error::custom)?), value));
    by_name.into_iter().map(expert).collect()
}

/// What was seen of one layer, and tried on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerEvidence {
    /// The layer.
    pub layer: LayerId,
    /// Its experts.
    pub n_experts: usize,
    /// Tokens (or sequences) routed since the last decision.
    pub tokens: f64,
    /// Routing entropy / ln n_experts; 1 of a single expert.
    pub routing_entropy: Option<f64>,
    /// Load entropy / ln n_experts; 1 of a single expert.
    pub load_entropy: Option<f64>,
    /// How much each expert carries, as a fraction of the even share, or in nats when it is a measured loss
    /// increase; experts without a number are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "by_expert")]
    pub saliency: BTreeMap<ExpertId, f64>,
    /// What a head sees of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// What gradients and the split test say about growing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criteria: Option<GrowthCriteria>,
    /// What labels say of it.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What was forecast or measured of its candidates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<TrialEvidence>,
    /// Numbers of the policy's own, by name: for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, f64>,
}

impl LayerEvidence {
    /// Nothing seen yet of a layer with so many experts.
    pub fn new(layer: LayerId, n_experts: usize) -> Self {
        Self {
            layer,
            n_experts,
            tokens: 0.0,
            routing_entropy: None,
            load_entropy: None,
            saliency: BTreeMap::new(),
            features: None,
            criteria: None,
            labels: Labels::default(),
            trials: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// Adds a number of the policy's own, if it is one.
    pub fn note(&mut self, name: impl Into<String>, value: f64) {
        note(&mut self.numbers, name, value);
    }

    /// What is known of a candidate, begun where nothing is.
    pub fn trial_mut(&mut self, candidate: Move) -> &mut TrialEvidence {
        let at = self.trials.iter().position(|trial| trial.candidate == candidate).unwrap_or_else(|| {
            self.trials.push(TrialEvidence { candidate, forecast: None, effect: None });
            self.trials.len() - 1
        });
        &mut self.trials[at]
    }
}

/// What a layer is said to need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Its experts stay.
    Keep,
    /// One more expert.
    Grow,
    /// One expert less.
    Prune,
}

/// Labels of a layer by where they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// By chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<Label>,
    /// By thresholds on entropies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<Label>,
    /// What a head that learns labels picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picked: Option<Label>,
}

impl Labels {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is known of one candidate of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialEvidence {
    /// The candidate.
    pub candidate: Move,
    /// What a head expected of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastEvidence>,
    /// What training it on a fork showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<EffectEvidence>,
}

/// What a head expected of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastEvidence {
    /// The expected gain, nats.
    pub gain: f64,
    /// The probability that it beats keeping the experts.
    pub chance: f64,
    /// What knowing its effect promises, nats: the expected improvement.
    pub improvement: f64,
}

/// What training a candidate on a fork showed. What is not finite is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectEvidence {
    /// Steps that it trained: fewer than others' when it left a race.
    pub steps: u64,
    /// Validation loss with the move minus without it, nats.
    pub loss_increase: Option<f64>,
    /// Loss that it saves, minus what its experts cost, nats.
    pub gain: Option<f64>,
    /// Standard error of both, paired by text, nats.
    pub standard_error: Option<f64>,
    /// The gain when it was measured once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicate: Option<ReplicateEvidence>,
}

/// A second measurement on other batches and other validation texts. What is not finite is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicateEvidence {
    /// Loss saved, minus what its experts cost, nats.
    pub gain: Option<f64>,
    /// Its standard error, nats.
    pub standard_error: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecisionKind, Event, EventRecord, Flops, Wall};

    #[test]
    fn evidence_reads_back_as_it_was_written() {
        let mut layer = LayerEvidence { tokens: 100.0, ..LayerEvidence::new(LayerId(1), 4) };
        layer.features = Features::from_values(&[0.1; Features::N]);
        layer.labels.entropy = Some(Label::Grow);
        layer.saliency.insert(ExpertId(3), 0.25);
        let effect = EffectEvidence {
            steps: 5,
            loss_increase: Some(0.1),
            gain: None,
            standard_error: Some(0.2),
            replicate: None,
        };
        layer.trial_mut(Move::Prune).effect = Some(effect);
        layer.trial_mut(Move::Prune).forecast =
            Some(ForecastEvidence { gain: 0.5, chance: 1.0, improvement: 0.5 });
        layer.note("cooldown", 3.0);
        assert_eq!(layer.trials.len(), 1);
        let evidence = Evidence { layers: vec![layer], ..Evidence::default() }.with("asked", 2.0);
        let json = serde_json::to_string(&evidence).unwrap();
        assert_eq!(serde_json::from_str::<Evidence>(&json).unwrap(), evidence);
        assert!(json.contains(r#""labels":{"entropy":"grow"}"#), "{json}");
        let event = Event::Decision {
            action: DecisionKind::Keep,
            reason: String::new(),
            evidence,
            flops: Flops::default(),
        };
        let record = EventRecord { step: 3, event, wall: Wall { unix: 0.0, seconds: 0.0 } };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<EventRecord>(&json).unwrap(), record);
    }
}
