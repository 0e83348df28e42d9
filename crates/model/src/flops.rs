//! Floating-point operations of a forward pass, counted from the sizes of the tensors.

use moelt_schema::Unit;

use crate::{Classifier, ModelInput, MoeLayer};

impl Classifier {
    /// Operations of the matrix products of a forward pass on `input`: `2 m k n` for a product of `[m, k]`
    /// and `[k, n]`. With `t` tokens, `s` sequences and `r` routed rows (`t` or `s`, by `model.unit`):
    ///
    /// - convolution of width `w`: `2 t · w d · d`
    /// - router: `2 r · d · n_experts`
    /// - experts: `4 r k · d · d_ff`, with `k = min(top_k, n_experts)`; `k = 1` in a dense layer; with top-any
    ///   routing `k = n_experts`, which is what is computed
    /// - classifier: `2 s · width · n_classes`
    ///
    /// Look-ups, norms, softmax, pooling, activations and places of a queue that stay empty are left out. A
    /// training step counts as three forward passes: the backward pass has two products for each of the
    /// forward pass (Kaplan et al. 2020); the optimizer is left out.
    pub fn forward_flops(&self, input: &ModelInput) -> u64 {
        let (tokens, sequences) = (input.n_tokens() as u64, input.batch() as u64);
        let rows = match self.rates.unit {
            Unit::Token => tokens,
            Unit::Sequence => sequences,
        };
        let conv = self.conv.as_ref().map_or(0, |conv| tokens * product(&conv.weight.dims()));
        let layers: u64 = self.layers.iter().map(|layer| rows * row_products(layer)).sum();
        let head = sequences * product(&self.head.weight.dims());
        2 * (conv + layers + head)
    }
}

/// Multiplications for one row of a layer.
fn row_products(layer: &MoeLayer) -> u64 {
    let [n_experts, d_model, d_ff] = layer.experts.w_in.dims();
    let (router, chosen) = match (&layer.router, &layer.top_any) {
        (Some(router), _) => (product(&router.weight.dims()), router.top_k.min(n_experts)),
        (None, Some(router)) => (product(&router.weight.dims()), n_experts),
        (None, None) => (0, 1),
    };
    router + 2 * (chosen * d_model * d_ff) as u64
}

fn product(shape: &[usize]) -> u64 {
    shape.iter().map(|n| *n as u64).product()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use moelt_schema::{LayerKind, Layout, ModelConfig, Pooling, Streams};

    use super::*;
    use crate::ClassifierConfig;

    fn flops(unit: Unit, kind: LayerKind) -> u64 {
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
        let classifier = classifier.init(&Streams::new(1), &Device::flex());
        // Two sequences of 3 and 1 tokens.
        let input = ModelInput::new(&[1, 2, 3, 4, 0, 0], 3, 1, &[3, 1]);
        classifier.forward_flops(&input)
    }

    // Convolution 2 · 4 · 12 · 4 = 384, classifier 2 · 2 · 4 · 2 = 32. Per row: router 2 · 4 · 5 = 40,
    // one expert 4 · 4 · 3 = 48.
    #[test]
    fn hand_counted_operations() {
        let top_2 = LayerKind::Moe { top_k: 2 };
        assert_eq!(flops(Unit::Token, top_2), 384 + 32 + 4 * (40 + 2 * 48));
        assert_eq!(flops(Unit::Sequence, top_2), 384 + 32 + 2 * (40 + 2 * 48));
        assert_eq!(flops(Unit::Token, LayerKind::Moe { top_k: 9 }), 384 + 32 + 4 * (40 + 5 * 48));
        assert_eq!(flops(Unit::Token, LayerKind::TopAny), 384 + 32 + 4 * (40 + 5 * 48));
        assert_eq!(flops(Unit::Token, LayerKind::Dense), 384 + 32 + 4 * 48);
    }
}
