//! Which parameter is updated how.

use moelt_optim::{ParamGroup, ParamGroups};
use moelt_schema::{EmbeddingUpdate, OptimConfig};

/// Biases, norms, queries and thresholds: one vector or number per expert, layer or model.
const VECTORS: [&str; 9] =
    ["bias", "b_in", "b_out", "b_gate", "gamma", "beta", "query", "threshold", "balance_bias"];

/// The path of the embedding table.
pub(crate) const EMBEDDING: &str = "embedding.table";

/// The group of every parameter of a [`Classifier`](moelt_model::Classifier): the embedding table has its own
/// learning rate and decay and is not clipped; vectors and router rows do not decay. Which parameters count steps per
/// expert is not said here: the model's expert axes say it.
pub fn param_groups(optim: &OptimConfig, n_layers: usize) -> ParamGroups {
    let matrix = ParamGroup { weight_decay: optim.weight_decay, ..ParamGroup::default() };
    let embedding = ParamGroup {
        lr_scale: optim.embedding_lr_scale,
        weight_decay: optim.embedding_weight_decay,
        clip: false,
        row_axis: match optim.embedding_update {
            EmbeddingUpdate::Dense => None,
            EmbeddingUpdate::Lazy => Some(0),
        },
    };
    let groups = ParamGroups::new(matrix)
        .with(VECTORS.into_iter().chain(["router.weight"]), ParamGroup { weight_decay: 0.0, ..matrix })
        .with([EMBEDDING], embedding);
    by_depth(groups, optim.layer_lr_decay, n_layers)
}

/// Learning rates that fall from the classifier down to the embeddings.
fn by_depth(groups: ParamGroups, decay: f64, n_layers: usize) -> ParamGroups {
    if decay == 1.0 {
        return groups;
    }
    let below = |paths: Vec<String>, depth: usize| {
        paths.into_iter().map(move |path| (path, decay.powf(depth as f64)))
    };
    let layers = (0..n_layers).flat_map(|layer| {
        below(vec![format!("layers.{layer}"), format!("attention.{layer}")], n_layers - layer)
    });
    let input = ["embedding", "positions", "input_norm", "conv"].map(str::to_owned).to_vec();
    let scales = layers.chain(below(input, n_layers + 1));
    scales.fold(groups, |groups, (path, scale)| groups.scaled(path, scale))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::{Device, Tensor};
    use moelt_model::{Classifier, ClassifierConfig, Mode, ModelInput};
    use moelt_optim::{AdamW, HostTensor, Optimizer, export, import};
    use moelt_schema::{Activation, ConvConfig, EncoderConfig, Layout, ModelConfig, Pooling, Streams};
    use moelt_surgery::Trainable;

    use super::*;

    fn optim() -> OptimConfig {
        OptimConfig {
            embedding_lr_scale: 10.0,
            weight_decay: 0.5,
            embedding_weight_decay: 0.25,
            ..OptimConfig::default()
        }
    }

    fn trainable(model: Classifier) -> Trainable<Classifier> {
        Trainable::new(model, Optimizer::new(AdamW::default(), param_groups(&optim(), 2)))
    }

    /// A layer of two experts that are both used, and a dense layer.
    fn model(activation: Activation) -> Classifier {
        let layout: Layout = serde_json::from_value(serde_json::json!({
            "layers": [{"kind": {"top_k": {"k": 2}}, "experts": [0, 1]}, {"kind": "dense", "experts": [0]}],
            "next_id": 2,
        }))
        .unwrap();
        let encoder = EncoderConfig::Conv(ConvConfig { width: 3 });
        let pooling = Pooling::Attention;
        let model = ModelConfig {
            d_model: 4,
            d_ff: 3,
            activation,
            shared_d_ff: 5,
            encoder,
            pooling,
            ..ModelConfig::default()
        };
        let config = ClassifierConfig { model, layout, n_rows: 9, n_classes: 2 };
        config.init(&Streams::new(3), &Device::flex().autodiff())
    }

    #[test]
    fn every_parameter_has_the_group_of_its_kind() {
        let own =
            |lr_scale, weight_decay, clip, row_axis| ParamGroup { lr_scale, weight_decay, clip, row_axis };
        let embedding = own(10.0, 0.25, false, None);
        let (matrix, vector) = (own(1.0, 0.5, true, None), own(1.0, 0.0, true, None));
        let (expert_matrix, expert_vector) = (own(1.0, 0.5, true, Some(0)), own(1.0, 0.0, true, Some(0)));
        let expected = [
            ("conv.bias", vector),
            ("conv.weight", matrix),
            ("embedding.table", embedding),
            ("head.bias", vector),
            ("head.weight", matrix),
            ("input_norm.beta", vector),
            ("input_norm.gamma", vector),
            ("layers.0.experts.b_gate", expert_vector),
            ("layers.0.experts.b_in", expert_vector),
            ("layers.0.experts.b_out", expert_vector),
            ("layers.0.experts.w_gate", expert_matrix),
            ("layers.0.experts.w_in", expert_matrix),
            ("layers.0.experts.w_out", expert_matrix),
            ("layers.0.norm.beta", vector),
            ("layers.0.norm.gamma", vector),
            ("layers.0.router.balance_bias", expert_vector),
            ("layers.0.router.bias", expert_vector),
            ("layers.0.router.weight", expert_vector),
            ("layers.0.shared.b_gate", vector),
            ("layers.0.shared.b_in", vector),
            ("layers.0.shared.b_out", vector),
            ("layers.0.shared.w_gate", matrix),
            ("layers.0.shared.w_in", matrix),
            ("layers.0.shared.w_out", matrix),
            ("layers.1.experts.b_gate", expert_vector),
            ("layers.1.experts.b_in", expert_vector),
            ("layers.1.experts.b_out", expert_vector),
            ("layers.1.experts.w_gate", expert_matrix),
            ("layers.1.experts.w_in", expert_matrix),
            ("layers.1.experts.w_out", expert_matrix),
            ("layers.1.norm.beta", vector),
            ("layers.1.norm.gamma", vector),
            ("layers.1.shared.b_gate", vector),
            ("layers.1.shared.b_in", vector),
            ("layers.1.shared.b_out", vector),
            ("layers.1.shared.w_gate", matrix),
            ("layers.1.shared.w_in", matrix),
            ("layers.1.shared.w_out", matrix),
            ("output_norm.beta", vector),
            ("output_norm.gamma", vector),
            ("pool.query", vector),
        ];
        let trainable = trainable(model(Activation::Swiglu));
        let groups = trainable.optimizer.groups();
        let groups: Vec<_> =
            export(&trainable.module).into_keys().map(|path| (groups.of(&path), path)).collect();
        assert_eq!(groups, expected.map(|(path, group)| (group, path.to_owned())));
    }

    #[test]
    fn learning_rates_fall_by_depth() {
        let optim = OptimConfig { layer_lr_decay: 0.5, embedding_lr_scale: 2.0, ..OptimConfig::default() };
        let groups = param_groups(&optim, 2);
        let paths = [
            "head.weight",
            "output_norm.beta",
            "layers.1.experts.w_in",
            "attention.0.w_in",
            "embedding.table",
        ];
        assert_eq!(paths.map(|path| groups.of(path).lr_scale), [1.0, 1.0, 0.5, 0.25, 0.25]);
        assert_eq!(param_groups(&optim, 2).of("input_norm.gamma").lr_scale, 0.125);
    }

    /// A row is skipped when *its* gradient is exactly zero, which is not the same as an expert without
    /// tokens: an expert whose hidden units are all off still passes its output bias on.
    #[test]
    fn of_an_expert_with_tokens_and_no_active_unit_only_the_output_bias_steps() {
        let mut weights = export(&model(Activation::Relu));
        weights.get_mut("layers.0.experts.b_in").unwrap().data[..3].fill(-100.0);
        let model = import(model(Activation::Relu), weights.clone()).unwrap();
        let output = model.forward(&ModelInput::new(&[1, 2, 3, 4, 5, 6], 3, 1, &[3, 3]), Mode::Eval);
        assert_eq!(output.routing[0].tokens_per_expert, [6.0, 6.0]);
        let task = Tensor::<2>::from_data([[1.0, -2.0], [-3.0, 5.0]], &output.logits.device());
        let trainable = trainable(model);
        let gradients = trainable.gradients((output.logits * task).sum());
        let trained = trainable.step(&gradients, 0.01, 1);
        let after = export(&trained.module);
        let halves = |tensors: &BTreeMap<String, HostTensor>, path: &str| {
            let data = &tensors[path].data;
            [&data[..data.len() / 2], &data[data.len() / 2..]].map(<[f32]>::to_vec)
        };
        for (name, steps) in [("w_in", [0, 1]), ("b_in", [0, 1]), ("w_out", [0, 1]), ("b_out", [1, 1])] {
            let path = format!("layers.0.experts.{name}");
            assert_eq!(trained.optimizer.state()[&path].steps, steps, "{name}");
            let (before, after) = (halves(&weights, &path), halves(&after, &path));
            assert_eq!([0, 1].map(|row| u64::from(before[row] != after[row])), steps, "{name}");
        }
    }
}
