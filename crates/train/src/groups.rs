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

/// Whether a parameter is one vector an expert, layer or model: biases and norms.
fn is_vector(path: &str) -> bool {
    let name = path.rsplit('.').next().unwrap_or(path);
    matches!(name, "bias" | "b_in" | "b_out" | "gamma" | "beta")
}
