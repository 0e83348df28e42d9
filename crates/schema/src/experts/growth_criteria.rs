//! What might say, without training, whether a layer wants another expert.

use serde::{Deserialize, Serialize};

/// Numbers about a layer on some training texts, each of which somebody took for a sign that it should grow. All come from one
/// backward pass without a step, or from a split test; losses are of single texts, not of their mean.
///
/// A *gradient* of a token is that of its text's cross entropy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrowthCriteria {
    /// Mean cross entropy of the texts, nats.
    pub loss: f64,
    /// The largest gradient that a new hidden unit can get whose outgoing weights are 0: the largest singular value of the mean of
    /// (input, 1) ⊗ gradient at the layer's output, inputs of unit mean square (GradMax, Evci et al. 2022).
    pub gradmax: f64,
    /// How far the gradient by an expert's parameters turns along a direction of its input: the largest singular value of the mean
    /// over all tokens of (input − the expert's mean input) ⊗ gradient by its parameters, of the expert where it is largest.
    pub split_direction: f64,
    /// 1 − ‖mean gradient‖² / mean ‖gradient‖² by an expert's parameters, its mean over tokens: 0 where all tokens of an expert want
    /// the same of it, 1 where they cancel one another.
    pub gradient_conflict: f64,
    /// Mean ‖gradient − mean gradient‖² by an expert's parameters, its mean over tokens.
    pub gradient_variance: f64,
    /// What new ReLU units with random incoming weights explain of the gradient at an expert's output beyond what its own
    /// units and its input do, mean square per token, on tokens that they were not fitted to: an expressivity gap (TINY, Verbockhaven et al. 2024).
    pub expressivity_gap: f64,
    /// What the split test promises of the expert where that is most: held-out gain × utilization, nats; 0 where it promises nothing.
    pub split_gain: f64,
}

impl GrowthCriteria {
    /// Each with its name.
    pub fn named(&self) -> [(&'static str, f64); 7] {
        let Self {
            loss,
            gradmax,
            split_direction,
            gradient_conflict,
            gradient_variance,
            expressivity_gap,
            split_gain,
        } = *self;
        [
            ("loss", loss),
            ("gradmax", gradmax),
            ("split_direction", split_direction),
            ("gradient_conflict", gradient_conflict),
            ("gradient_variance", gradient_variance),
            ("expressivity_gap", expressivity_gap),
            ("split_gain", split_gain),
        ]
    }

    /// Whether all are numbers.
    pub fn is_finite(&self) -> bool {
        self.named().iter().all(|(_, value)| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_fields() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let [
            loss,
            gradmax,
            split_direction,
            gradient_conflict,
            gradient_variance,
            expressivity_gap,
            split_gain,
        ] = values;
        let criteria = GrowthCriteria {
            loss,
            gradmax,
            split_direction,
            gradient_conflict,
            gradient_variance,
            expressivity_gap,
            split_gain,
        };
        let json = serde_json::to_value(criteria).unwrap();
        for ((name, value), expected) in criteria.named().into_iter().zip(values) {
            assert_eq!((value, json[name].as_f64()), (expected, Some(expected)), "{name}");
        }
        assert!(criteria.is_finite() && !GrowthCriteria { loss: f64::NAN, ..criteria }.is_finite());
    }
}
