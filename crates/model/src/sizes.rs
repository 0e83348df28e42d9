//! How large a model is going to be, known before any of it exists.

use moelt_schema::{Activation, LayerId, LayerKind, LayerLayout, Pooling};

use crate::ClassifierConfig;

impl ClassifierConfig {
    /// Path and shape of every parameter of the model that [`Self::init`] makes, without making it. The config may
    /// be of any size: an axis that would not fit is as long as an axis can be.
    pub fn parameters(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let model = &self.model;
        let (d_model, pooled) = (model.d_model, model.pooled_width());
        let layers = self.layout.layers().iter().enumerate().flat_map(move |(at, layer)| {
            let (prefix, width) = (format!("layers.{at}"), model.routed_width());
            let layer_id = LayerId(at as u32);
            let (d_ff, shared) = (model.expert_width(layer_id), model.shared_width(layer_id));
            let feed_forward =
                |part, n, d_ff| feed_forward(&format!("{prefix}.{part}"), [n, width, d_ff], model.activation);
            let shared = (shared > 0).then(|| feed_forward("shared", 1, shared));
            norm(&format!("{prefix}.norm"), width, model.layer_norm)
                .chain(router_parameters(&prefix, layer, width))
                .chain(feed_forward("experts", layer.n_experts(), d_ff))
                .chain(shared.into_iter().flatten())
        });
        let positions = self.n_positions().map(|n| named("positions.table", vec![n, d_model]));
        std::iter::once(named("embedding.table", vec![self.n_rows, d_model]))
            .chain(positions)
            .chain(norm("input_norm", d_model, model.layer_norm))
            .chain(self.encoder_parameters())
            .chain(layers)
            .chain((model.pooling == Pooling::Attention).then(|| named("pool.query", vec![d_model])))
            .chain(norm("output_norm", pooled, self.has_output_norm()))
            .chain([
                named("head.weight", vec![pooled, self.n_classes]),
                named("head.bias", vec![self.n_classes]),
            ])
    }

    fn encoder_parameters(&self) -> impl Iterator<Item = (String, Vec<usize>)> + use<> {
        let d_model = self.model.d_model;
        let conv = self.model.encoder.conv().map(|conv| {
            let fan_in = conv.width.saturating_mul(d_model);
            [named("conv.weight", vec![fan_in, d_model]), named("conv.bias", vec![d_model])]
        });
        let blocks = if self.model.encoder.transformer().is_some() { self.model.n_layers } else { 0 };
        let attention = (0..blocks).flat_map(move |block| {
            let thrice = d_model.saturating_mul(3);
            let parts = [
                ("w_in", vec![d_model, thrice]),
                ("b_in", vec![thrice]),
                ("w_out", vec![d_model, d_model]),
                ("b_out", vec![d_model]),
            ];
            let placed =
                move |(part, shape): (&str, Vec<usize>)| (format!("attention.{block}.{part}"), shape);
            norm(&format!("attention.{block}.norm"), d_model, true).chain(parts.into_iter().map(placed))
        });
        conv.into_iter().flatten().chain(attention)
    }

    /// Values that the parameters hold, biases of routers included. It never overflows: what is too large to be
    /// counted counts as the largest number.
    pub fn n_values(&self) -> u128 {
        self.parameters().map(|(_, shape)| volume(&shape)).fold(0, u128::saturating_add)
    }

    /// Path and shape of the parameter with the most values.
    pub fn largest_parameter(&self) -> (String, Vec<usize>) {
        let largest = self.parameters().max_by_key(|(_, shape)| volume(shape));
        largest.expect("every model has an embedding table")
    }
}

fn named(path: &str, shape: Vec<usize>) -> (String, Vec<usize>) {
    (path.to_owned(), shape)
}

/// A norm of vectors of this width, if there is one.
fn norm(path: &str, width: usize, is_there: bool) -> impl Iterator<Item = (String, Vec<usize>)> + use<> {
    let parts = ["gamma", "beta"].map(|part| (format!("{path}.{part}"), vec![width]));
    parts.into_iter().filter(move |_| is_there)
}

/// The router of one layer whose tokens are `width` wide.
fn router_parameters(
    prefix: &str,
    layer: &LayerLayout,
    width: usize,
) -> impl Iterator<Item = (String, Vec<usize>)> + use<> {
    let n = layer.n_experts();
    let vectors: &[&str] = match layer.kind {
        LayerKind::Dense | LayerKind::Assigned => &[],
        LayerKind::TopK { .. } => &["bias", "balance_bias"],
        LayerKind::TopAny => &["threshold"],
    };
    let weight = (!vectors.is_empty()).then(|| ("weight", vec![n, width]));
    let parts = weight.into_iter().chain(vectors.iter().map(move |vector| (*vector, vec![n])));
    let prefix = prefix.to_owned();
    parts.map(move |(part, shape)| (format!("{prefix}.router.{part}"), shape))
}

/// `n` feed-forward networks of tokens that are `width` wide.
fn feed_forward(
    path: &str,
    [n, width, d_ff]: [usize; 3],
    activation: Activation,
) -> impl Iterator<Item = (String, Vec<usize>)> + use<> {
    let parts = [
        ("w_in", vec![n, width, d_ff]),
        ("b_in", vec![n, d_ff]),
        ("w_out", vec![n, d_ff, width]),
        ("b_out", vec![n, width]),
    ];
    let gate = [("w_gate", vec![n, width, d_ff]), ("b_gate", vec![n, d_ff])];
    let path = path.to_owned();
    let gate = gate.into_iter().filter(move |_| activation.is_gated());
    parts.into_iter().chain(gate).map(move |(part, shape)| (format!("{path}.{part}"), shape))
}

fn volume(shape: &[usize]) -> u128 {
    shape.iter().fold(1, |volume: u128, n| volume.saturating_mul(*n as u128))
}

#[cfg(test)]
mod tests {
    use moelt_schema::ModelConfig;

    use super::*;

    fn config(model: ModelConfig) -> ClassifierConfig {
        ClassifierConfig { layout: model.initial_layout(), model, n_rows: 7, n_classes: 3 }
    }

    #[test]
    fn sizes_beyond_every_memory_are_counted_without_overflow() {
        let model = ModelConfig { d_model: usize::MAX, d_ff: usize::MAX, ..ModelConfig::default() };
        assert_eq!(config(model).n_values(), u128::MAX);
        let model = ModelConfig { d_model: 1_000_000_000, ..ModelConfig::default() };
        let config = config(model);
        // Per expert 2 · 10⁹ · 64 + 64 + 10⁹, four of them, and 4 · (10⁹ + 2) for the router.
        let experts = 4 * (128_000_000_000 + 64 + 1_000_000_000) + 4 * 1_000_000_002;
        // 7 rows, 6 vectors of norms, 3 classes.
        assert_eq!(config.n_values(), experts + 7_000_000_000 + 6_000_000_000 + 3_000_000_003);
        assert_eq!(config.largest_parameter().0, "layers.0.experts.w_out");
    }
}
