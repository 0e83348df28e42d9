//! What a router does that somebody should look at.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{ExpertId, LayerId, LayerKind, LayerLayout, LayerSums, Layout, RampIn};

/// A sign that the tokens of a layer with top-k routing all go one way, or that they no longer go where the router sends them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RoutingWarning {
    /// An expert got nearly every token of a window although they had a choice.
    Overload {
        /// Its layer.
        layer: LayerId,
        /// The expert.
        expert: ExpertId,
        /// Fraction of the layer's tokens.
        share: f64,
    },
    /// The balance bias of an expert is far larger than differences of router logits are.
    BalanceBias {
        /// Its layer.
        layer: LayerId,
        /// The expert.
        expert: ExpertId,
        /// The bias.
        bias: f32,
    },
}

impl RoutingWarning {
    /// Fraction of a layer's tokens beyond which an expert is overloaded.
    pub const SHARE: f64 = 0.9;
    /// Size beyond which a balance bias is too large.
    pub const BIAS: f32 = 10.0;

    /// Those of all layers, given the routing sums of a window and the balance biases of a layer, in router order. An expert that is
    /// ramping in is no choice yet: of loads in its layer nothing is said.
    pub fn all(
        layout: &Layout,
        sums: &BTreeMap<LayerId, &LayerSums>,
        ramp_ins: &[RampIn],
        balance_biases: impl Fn(LayerId) -> Vec<f32>,
    ) -> Vec<Self> {
        let of_layer = |(layer, layout): (LayerId, &LayerLayout)| {
            let settled = ramp_ins.iter().all(|ramp_in| ramp_in.layer != layer);
            let sums = sums.get(&layer).filter(|_| settled);
            let overloads = sums.map(|sums| overloads(layer, layout, sums));
            let mut warnings = overloads.unwrap_or_default();
            warnings.extend(large_biases(layer, layout, &balance_biases(layer)));
            warnings
        };
        (0..).map(LayerId).zip(layout.layers()).flat_map(of_layer).collect()
    }
}

fn overloads(layer: LayerId, layout: &LayerLayout, sums: &LayerSums) -> Vec<RoutingWarning> {
    let LayerKind::TopK { k } = layout.kind else { return Vec::new() };
    if k >= layout.n_experts() {
        return Vec::new();
    }
    let overload = |(expert, tokens): (&ExpertId, &f64)| {
        let share = tokens / sums.tokens;
        (share > RoutingWarning::SHARE).then_some(RoutingWarning::Overload { layer, expert: *expert, share })
    };
    layout.experts.iter().zip(&sums.tokens_per_expert).filter_map(overload).collect()
}

fn large_biases(layer: LayerId, layout: &LayerLayout, biases: &[f32]) -> Vec<RoutingWarning> {
    let large = |(expert, bias): (&ExpertId, &f32)| {
        let warning = RoutingWarning::BalanceBias { layer, expert: *expert, bias: *bias };
        (bias.abs() > RoutingWarning::BIAS).then_some(warning)
    };
    layout.experts.iter().zip(biases).filter_map(large).collect()
}

impl fmt::Display for RoutingWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overload { layer, expert, share } => {
                write!(f, "expert {} of layer {} got {:.1} % of its tokens", expert.0, layer.0, 100.0 * share)
            }
            Self::BalanceBias { layer, expert, bias } => {
                let most = Self::BIAS;
                write!(
                    f,
                    "the balance bias of expert {} of layer {} is {bias:.2}, beyond ±{most}",
                    expert.0, layer.0
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(k: usize, tokens: [f64; 3], bias: f32, ramp_ins: &[RampIn]) -> Vec<String> {
        let layout = Layout::uniform(1, LayerKind::TopK { k }, 3);
        let sums = LayerSums { tokens: 100.0, tokens_per_expert: tokens.to_vec(), ..LayerSums::zeros(3) };
        let sums = BTreeMap::from([(LayerId(0), &sums)]);
        let all = RoutingWarning::all(&layout, &sums, ramp_ins, |_| vec![-bias, 0.0, bias]);
        all.iter().map(RoutingWarning::to_string).collect()
    }

    #[test]
    fn what_is_too_much_is_named_by_expert() {
        assert_eq!(warnings(1, [9.0, 90.0, 1.0], 10.0, &[]), [""; 0]);
        assert_eq!(warnings(1, [8.0, 91.0, 1.0], 0.0, &[]), ["expert 1 of layer 0 got 91.0 % of its tokens"]);
        // Two choices per token: both may be the same for all.
        assert_eq!(warnings(2, [95.0, 95.0, 10.0], 0.0, &[]).len(), 2);
        assert_eq!(warnings(3, [100.0; 3], 0.0, &[]), [""; 0], "there is no choice");
        let large = warnings(1, [40.0, 30.0, 30.0], 10.5, &[]);
        assert_eq!(large[0], "the balance bias of expert 0 of layer 0 is -10.50, beyond ±10");
        assert_eq!(large.len(), 2);
    }

    #[test]
    fn an_expert_that_ramps_in_is_no_choice_yet() {
        let ramp_in = RampIn { layer: LayerId(0), expert: ExpertId(2), since: 0, bias: 0.0 };
        assert_eq!(warnings(1, [0.0, 100.0, 0.0], 0.0, &[ramp_in]), [""; 0]);
    }
}
