//! Floating-point operations of a forward pass: those that a pass did, and those that sizes alone foretell.
//!
//! Operations of matrix products are counted, `2 m k n` for a product of `[m, k]` and `[k, n]`. With `t` tokens, `s`
//! sequences and `r` routed tokens (`t` or `s`, by `model.unit`):
//!
//! - convolution of width `w`: `2 t · w d · d`
//! - router: `2 r · d · n_experts`
//! - experts: `4 d · d_ff` for each token of an expert's batch. *Computed* are `n_experts` queues as long as the longest
//!   with top-k routing, `n_experts · r` tokens with top-any routing, `r` in a dense layer. *Unpadded* are the
//!   (token, expert) pairs of the routing: `r · min(top_k, n_experts)`, those above their thresholds, `r`.
//! - classifier: `2 s · width · n_classes`
//!
//! Look-ups, norms, softmax, pooling and activations are left out. A training step counts as three forward passes:
//! the backward pass has two products for each of the forward pass (Kaplan et al. 2020); the optimizer is left out.

use moelt_schema::{Flops, Unit};

use crate::{
    Classifier, ModelInput, MoeLayer,
    layer::{ExpertTokens, product},
};

impl Classifier {
    /// What everything that is no expert layer takes of a forward pass on `input`.
    pub(crate) fn shared_flops(&self, input: &ModelInput) -> Flops {
        self.conv_flops(input) + self.head_flops(input)
    }

    /// What comes before the expert layers.
    pub(crate) fn conv_flops(&self, input: &ModelInput) -> Flops {
        let per_token = self.conv.as_ref().map_or(0, |conv| product(&conv.weight.dims()));
        Flops::unpadded(2 * input.n_tokens() as u64 * per_token)
    }

    /// What comes after them.
    pub(crate) fn head_flops(&self, input: &ModelInput) -> Flops {
        Flops::unpadded(2 * input.batch() as u64 * product(&self.head.weight.dims()))
    }

    /// Operations of a forward pass on `input` without any padding, from sizes alone: for budgets that are made
    /// before anything is routed. With top-k and dense layers it is exactly [`Flops::unpadded`] of the pass. How many
    /// experts top-any routing will choose cannot be known: all are counted, the most that a pass can need.
    pub fn unpadded_forward_flops(&self, input: &ModelInput) -> u64 {
        let tokens = match self.rates.unit {
            Unit::Token => input.n_tokens(),
            Unit::Sequence => input.batch(),
        };
        let of_layer = |layer: &MoeLayer| {
            let expert_tokens = ExpertTokens::unpadded(tokens * layer.experts_per_token());
            layer.flops(tokens, expert_tokens).unpadded
        };
        self.shared_flops(input).unpadded + self.layers.iter().map(of_layer).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use moelt_schema::{LayerKind, Layout, ModelConfig, Pooling, Streams};

    use super::*;
    use crate::{ClassifierConfig, Mode};

    /// Tokens of two sequences: 3 and 1.
    fn input() -> ModelInput {
        ModelInput::new(&[1, 2, 3, 4, 0, 0], 3, 1, &[3, 1])
    }

    fn classifier(unit: Unit, kind: LayerKind) -> Classifier {
        let model = ModelConfig {
            d_model: 4,
            d_ff: 3,
            top_k: 2,
            conv_width: 3,
            unit,
            pooling: Pooling::Mean,
            ..ModelConfig::default()
        };
        let layout = Layout::uniform(1, kind, 5);
        let classifier = ClassifierConfig { model, layout, n_rows: 9, n_classes: 2 };
        classifier.init(&Streams::new(1), &Device::flex())
    }

    // Convolution 2 · 4 · 12 · 4 = 384, classifier 2 · 2 · 4 · 2 = 32. Per token: router 2 · 4 · 5 = 40,
    // one expert 4 · 4 · 3 = 48.
    #[test]
    fn hand_counted_operations_of_sizes() {
        let flops = |unit, kind| classifier(unit, kind).unpadded_forward_flops(&input());
        let top_2 = LayerKind::TopK { k: 2 };
        assert_eq!(flops(Unit::Token, top_2), 384 + 32 + 4 * (40 + 2 * 48));
        assert_eq!(flops(Unit::Sequence, top_2), 384 + 32 + 2 * (40 + 2 * 48));
        assert_eq!(flops(Unit::Token, LayerKind::TopK { k: 9 }), 384 + 32 + 4 * (40 + 5 * 48));
        assert_eq!(flops(Unit::Token, LayerKind::TopAny), 384 + 32 + 4 * (40 + 5 * 48));
        assert_eq!(flops(Unit::Token, LayerKind::Dense), 384 + 32 + 4 * 48);
    }

    /// A pass counts its own queues: five as long as the longest, however short the others are.
    #[test]
    fn hand_counted_operations_of_a_pass() {
        for (unit, tokens) in [(Unit::Token, 4), (Unit::Sequence, 2)] {
            let shared = 384 + 32 + tokens * 40;
            let pass = |kind| {
                let output = classifier(unit, kind).forward(&input(), Mode::Eval);
                let tokens = output.routing.first().map_or(&[][..], |sums| &sums.tokens_per_expert);
                let longest = tokens.iter().copied().fold(0.0, f64::max) as u64;
                let pairs = tokens.iter().sum::<f64>() as u64;
                (output.flops, longest, pairs)
            };
            let (flops, longest, _) = pass(LayerKind::TopK { k: 2 });
            assert!(longest > 1 && longest <= tokens, "{longest}");
            assert_eq!(
                flops,
                Flops { computed: shared + 5 * longest * 48, unpadded: shared + 2 * tokens * 48 }
            );
            let (flops, _, pairs) = pass(LayerKind::TopAny);
            assert!(tokens <= pairs && pairs < 5 * tokens, "{pairs}");
            assert_eq!(flops, Flops { computed: shared + 5 * tokens * 48, unpadded: shared + pairs * 48 });
            let (flops, ..) = pass(LayerKind::Dense);
            assert_eq!(flops, Flops::unpadded(384 + 32 + tokens * 48));
        }
    }
}
