//! Which parameter is updated how.

use std::collections::BTreeMap;

use moelt_model::Classifier;
use moelt_optim::{ParamGroup, export};
use moelt_schema::{ExpertAxes, ExpertRole, OptimConfig};

/// The group of every parameter, by path: the embedding table has its own learning rate and decay and
/// is not clipped; vectors (biases, norms) and router rows do not decay; expert-axis parameters count
/// steps per expert.
pub fn param_groups(model: &Classifier, optim: &OptimConfig) -> BTreeMap<String, ParamGroup> {
    let axes = model.expert_axes();
    let group = |path: &str| {
        let expert = axes.iter().find(|axis| axis.param == path);
        let router = expert.is_some_and(|axis| axis.role == ExpertRole::Router);
        let row_axis = expert.map(|axis| axis.axis);
        let weight_decay = if router || is_vector(path) { 0.0 } else { optim.weight_decay };
        ParamGroup { lr_scale: 1.0, weight_decay, clip: true, row_axis }
    };
    let embedding = ParamGroup {
        lr_scale: optim.embedding_lr_scale,
        weight_decay: optim.embedding_weight_decay,
        clip: false,
        row_axis: None,
    };
    let with_group = |path: String| {
        let group = if path == "embedding.table" { embedding } else { group(&path) };
        (path, group)
    };
    export(model).into_keys().map(with_group).collect()
}

/// Whether a parameter is one vector or number an expert, layer or model: biases, norms, thresholds.
fn is_vector(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    matches!(name, "bias" | "b_in" | "b_out" | "gamma" | "beta" | "threshold" | "offset")
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use moelt_model::{ClassifierConfig, Mode, ModelInput};
    use moelt_optim::{AdamW, HostTensor, Optimizer, import, take_gradients};
    use moelt_schema::{Layout, ModelConfig, Streams};

    use super::*;

    fn optim() -> OptimConfig {
        OptimConfig {
            embedding_lr_scale: 10.0,
            weight_decay: 0.5,
            embedding_weight_decay: 0.25,
            ..OptimConfig::default()
        }
    }

    /// A layer of two experts that are both used, and a dense layer.
    fn model() -> Classifier {
        let layout: Layout = serde_json::from_value(serde_json::json!({
            "layers": [{"kind": {"moe": {"top_k": 2}}, "experts": [0, 1]}, {"kind": "dense", "experts": [0]}],
            "next_id": 2,
        }))
        .unwrap();
        let model = ModelConfig { d_model: 4, d_ff: 3, conv_width: 3, ..ModelConfig::default() };
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
            ("layers.0.experts.b_in", expert_vector),
            ("layers.0.experts.b_out", expert_vector),
            ("layers.0.experts.w_in", expert_matrix),
            ("layers.0.experts.w_out", expert_matrix),
            ("layers.0.norm.beta", vector),
            ("layers.0.norm.gamma", vector),
            ("layers.0.router.offset", expert_vector),
            ("layers.0.router.weight", expert_vector),
            ("layers.1.experts.b_in", expert_vector),
            ("layers.1.experts.b_out", expert_vector),
            ("layers.1.experts.w_in", expert_matrix),
            ("layers.1.experts.w_out", expert_matrix),
            ("layers.1.norm.beta", vector),
            ("layers.1.norm.gamma", vector),
            ("output_norm.beta", vector),
            ("output_norm.gamma", vector),
        ];
        let groups = param_groups(&model(), &optim());
        assert_eq!(groups, expected.map(|(path, group)| (path.to_owned(), group)).into());
    }

    /// A row is skipped when *its* gradient is exactly zero, which is not the same as an expert without
    /// tokens: an expert whose hidden units are all off still passes its output bias on.
    #[test]
    fn of_an_expert_with_tokens_and_no_active_unit_only_the_output_bias_steps() {
        let mut weights = export(&model());
        weights.get_mut("layers.0.experts.b_in").unwrap().data[..3].fill(-100.0);
        let model = import(model(), weights.clone()).unwrap();
        let output = model.forward(&ModelInput::new(&[1, 2, 3, 4, 5, 6], 3, 1, &[3, 3]), Mode::Eval);
        assert_eq!(output.routing[0].tokens, [6.0, 6.0]);
        let task = Tensor::<2>::from_data([[1.0, -2.0], [-3.0, 5.0]], &output.logits.device());
        let gradients = take_gradients(&model, (output.logits * task).sum().backward());
        let groups = param_groups(&model, &optim());
        let mut optimizer = Optimizer::new(AdamW::default(), 0.0);
        let model = optimizer.step(model, &gradients, 0.01, 1.0, |path| groups[path]);
        let after = export(&model);
        let halves = |tensors: &BTreeMap<String, HostTensor>, path: &str| {
            let data = &tensors[path].data;
            [&data[..data.len() / 2], &data[data.len() / 2..]].map(<[f32]>::to_vec)
        };
        for (name, steps) in [("w_in", [0, 1]), ("b_in", [0, 1]), ("w_out", [0, 1]), ("b_out", [1, 1])] {
            let path = format!("layers.0.experts.{name}");
            assert_eq!(optimizer.state()[&path].steps, steps, "{name}");
            let (before, after) = (halves(&weights, &path), halves(&after, &path));
            assert_eq!([0, 1].map(|row| u64::from(before[row] != after[row])), steps, "{name}");
        }
    }
}
