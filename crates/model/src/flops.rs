//! Floating-point operations of a forward pass: those that a pass did, and those that sizes alone foretell.
//!
//! Operations of matrix products are counted, `2 m k n` for a product of `[m, k]` and `[k, n]`. With `t` tokens, `s`
//! sequences and `r` routed tokens (`t` or `s`, by `model.unit`):
//!
//! - convolution of width `w`: `2 t · w d · d`
//! - attention: `8 t · d · d` for the maps to queries, keys, values and back, and `4 n² · d` for a sequence of `n` tokens
//! - router: `2 r · d · n_experts`
//! - shared expert: `4 r · d · shared_d_ff`
//! - experts: `4 d · d_ff` for each token of an expert. With top-k routing those are the (token, expert) pairs of the
//!   routing, `r · min(top_k, n_experts)`, or where experts choose `n_experts · ⌈r · top_k / n_experts⌉`; with assigned experts and in a dense layer `r`. With top-any routing all
//!   `n_experts · r` are *computed*, and those above their thresholds are *unpadded*.
//!   With gated hidden units it is `6 d · d_ff`, and of a shared expert `6 r · d · shared_d_ff`.
//! - attention pooling: `2 t · d`
//! - classifier: `2 s · width · n_classes`
//!
//! What a GPU backend pads queues with is not counted ([`moelt_kernels::composed`]): counts do not depend on where a run
//! was computed. Look-ups, norms, softmax, pooling and activations are left out. A training step counts as three forward passes:
//! the backward pass has two products for each of the forward pass (Kaplan et al. 2020); the optimizer is left out.

use moelt_schema::{Flops, Unit};

use crate::{
    Classifier, ModelInput, MoeLayer,
    layer::{ExpertTokens, product},
};

impl Classifier {
    /// What comes before and after the layers takes of a forward pass on `input`.
    pub(crate) fn shared_flops(&self, input: &ModelInput) -> Flops {
        self.flops_before(input) + self.flops_after(input)
    }

    /// What comes before the expert layers.
    pub(crate) fn flops_before(&self, input: &ModelInput) -> Flops {
        let per_token = self.conv.as_ref().map_or(0, |conv| product(&conv.weight.dims()));
        let conv = Flops::unpadded(2 * input.n_tokens() as u64 * per_token);
        match self.rates.unit {
            Unit::Token => conv,
            Unit::Sequence => conv + self.pool_flops(input),
        }
    }

    /// What comes after them.
    pub(crate) fn flops_after(&self, input: &ModelInput) -> Flops {
        let head = Flops::unpadded(2 * input.batch() as u64 * product(&self.head.weight.dims()));
        match self.rates.unit {
            Unit::Token => head + self.pool_flops(input),
            Unit::Sequence => head,
        }
    }

    fn pool_flops(&self, input: &ModelInput) -> Flops {
        let per_token = self.pool.query.as_ref().map_or(0, |query| product(&query.dims()));
        Flops::unpadded(2 * input.n_tokens() as u64 * per_token)
    }

    /// Operations of a forward pass of training on `input` that are asked for, from sizes alone: for budgets that are made
    /// before anything is routed. Without top-any layers it is exactly [`Flops::unpadded`] of the pass. How many
    /// experts top-any routing will choose cannot be known: all are counted, the most that a pass can need.
    pub fn unpadded_forward_flops(&self, input: &ModelInput) -> u64 {
        let tokens = match self.rates.unit {
            Unit::Token => input.n_tokens(),
            Unit::Sequence => input.batch(),
        };
        let of_layer = |layer: &MoeLayer| {
            let expert_tokens = ExpertTokens::unpadded(layer.pairs(tokens, self.choice(true)));
            layer.flops(tokens, expert_tokens).unpadded
        };
        let attention = self.attention.iter().map(|attention| attention.flops(input.lengths()).unpadded);
        let layers = self.layers.iter().map(of_layer).sum::<u64>();
        self.shared_flops(input).unpadded + attention.sum::<u64>() + layers
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use moelt_schema::{
        Activation, ConvConfig, EncoderConfig, ExpertBlocks, LayerKind, Layout, ModelConfig, Pooling,
        RoutingConfig, Streams, TransformerConfig,
    };

    use super::*;
    use crate::{ClassifierConfig, Mode};

    /// Tokens of two sequences: 3 and 1.
    fn input() -> ModelInput {
        ModelInput::new(&[1, 2, 3, 4, 0, 0], 3, 1, &[3, 1])
    }

    fn classifier(unit: Unit, kind: LayerKind) -> Classifier {
        with_shared(unit, kind, 0)
    }

    fn with_shared(unit: Unit, kind: LayerKind, shared_d_ff: usize) -> Classifier {
        with_activation(Activation::Relu, unit, kind, shared_d_ff)
    }

    fn with_activation(
        activation: Activation,
        unit: Unit,
        kind: LayerKind,
        shared_d_ff: usize,
    ) -> Classifier {
        let model = ModelConfig {
            activation,
            d_model: 4,
            d_ff: 3,
            top_k: 2,
            shared_d_ff,
            encoder: EncoderConfig::Conv(ConvConfig { width: 3 }),
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

    /// Attention of a block 8 · 4 · 16 + 4 · (9 + 1) · 4 = 672, the dense one 4 · 4 · 4 · 6 = 384, experts 4 · (40 + 2 · 48) = 544.
    #[test]
    fn hand_counted_operations_of_a_transformer() {
        let transformer = TransformerConfig {
            n_heads: 2,
            experts_in: ExpertBlocks::Listed(vec![1]),
            ..TransformerConfig::default()
        };
        let model = ModelConfig {
            d_model: 4,
            d_ff: 3,
            n_layers: 2,
            routing: RoutingConfig::TopK { n_experts: 5 },
            encoder: EncoderConfig::Transformer(transformer),
            ..ModelConfig::default()
        };
        let config = ClassifierConfig { layout: model.initial_layout(), model, n_rows: 9, n_classes: 2 };
        let classifier = config.init(&Streams::new(1), &Device::flex());
        let expected = 2 * 672 + 384 + 544 + 32;
        assert_eq!(classifier.unpadded_forward_flops(&input()), expected);
        assert_eq!(classifier.forward(&input(), Mode::Eval).flops, Flops::unpadded(expected));
    }

    /// 4 · 4 · 6 = 96 for each token, whatever its experts.
    #[test]
    fn every_token_goes_through_a_shared_expert() {
        for kind in [LayerKind::TopK { k: 2 }, LayerKind::TopAny] {
            let [with, without] = [6, 0].map(|units| with_shared(Unit::Token, kind, units));
            let more = with.unpadded_forward_flops(&input()) - without.unpadded_forward_flops(&input());
            assert_eq!(more, 4 * 96);
            let flops = |model: &Classifier| model.forward(&input(), Mode::Eval).flops.computed;
            assert_eq!(flops(&with) - flops(&without), 4 * 96);
        }
    }

    /// Three products in place of two: of an expert 6 · 4 · 3 = 72, of the shared one 6 · 4 · 6 = 144.
    #[test]
    fn gates_are_a_third_product() {
        let top_2 = LayerKind::TopK { k: 2 };
        let gated = with_activation(Activation::Swiglu, Unit::Token, top_2, 6);
        let expected = 384 + 32 + 4 * (40 + 2 * 72 + 144);
        assert_eq!(gated.unpadded_forward_flops(&input()), expected);
        assert_eq!(gated.forward(&input(), Mode::Eval).flops, Flops::unpadded(expected));
    }

    /// A pass counts the pairs of its routing. With top-any routing it computes more: all tokens for five experts.
    #[test]
    fn hand_counted_operations_of_a_pass() {
        for (unit, tokens) in [(Unit::Token, 4), (Unit::Sequence, 2)] {
            let shared = 384 + 32 + tokens * 40;
            let pass = |kind| {
                let output = classifier(unit, kind).forward(&input(), Mode::Eval);
                let tokens = output.routing.first().map_or(&[][..], |sums| &sums.tokens_per_expert);
                (output.flops, tokens.iter().sum::<f64>() as u64)
            };
            let (flops, pairs) = pass(LayerKind::TopK { k: 2 });
            assert_eq!((flops, pairs), (Flops::unpadded(shared + 2 * tokens * 48), 2 * tokens));
            let (flops, pairs) = pass(LayerKind::TopAny);
            assert!(tokens <= pairs && pairs < 5 * tokens, "{pairs}");
            assert_eq!(flops, Flops { computed: shared + 5 * tokens * 48, unpadded: shared + pairs * 48 });
            let (flops, _) = pass(LayerKind::Dense);
            assert_eq!(flops, Flops::unpadded(384 + 32 + tokens * 48));
        }
    }
}
