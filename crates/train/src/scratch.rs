//! A run that starts from no other run: weights are drawn, or those of a pretrained encoder, and dense layers may become experts.

use std::path::Path;

use burn::tensor::Device;
use moelt_model::PretrainedEncoder;
use moelt_schema::{
    CheckedPlan, Edit, Evidence, ExpertId, LayerId, Layout, Limits, Plan, PretrainedFiles, RunConfig,
    UpcycleConfig,
};

use crate::{Prepared, TrainError, TrainState, memory};

/// The state before the first step, and what is to be said about it.
pub(crate) fn from_scratch(
    config: &RunConfig,
    prepared: &Prepared,
    device: &Device,
) -> Result<(TrainState, Option<String>), TrainError> {
    let dense = config.model.initial_layout();
    let upcycled = config.model.upcycle.as_ref().map(|upcycle| plan(upcycle, &dense)).transpose()?;
    check_size(config, prepared, upcycled.as_ref().map(CheckedPlan::after))?;
    let mut state = TrainState::new(config, prepared, device);
    let mut notes = Vec::new();
    if let Some(folder) = &config.model.pretrained {
        let encoder = PretrainedEncoder::read(&files(config, folder)?.weights())?;
        state = TrainState::from_model(config, dense, state.model().clone().with_pretrained(&encoder)?);
        notes.push(format!("weights of the pretrained encoder in {folder}"));
    }
    if let Some(plan) = upcycled {
        state.edit(&plan, 0)?;
        notes.push(plan.plan().reason.clone());
        config.control.check_layout(&state.layout)?;
    }
    Ok((state, (!notes.is_empty()).then(|| notes.join("; "))))
}

/// Refuses a model that this machine cannot train, with the experts of `layout` or with the config's own.
pub(crate) fn check_size(
    config: &RunConfig,
    prepared: &Prepared,
    layout: Option<&Layout>,
) -> Result<(), TrainError> {
    let (n_rows, n_classes) = (prepared.vocabulary.n_rows(), prepared.classes.len());
    memory::check_model(config, layout, n_rows, n_classes, memory::of_machine())
}

/// The files of a pretrained encoder, which must be those that the config was loaded with.
pub(crate) fn files(config: &RunConfig, folder: &str) -> Result<PretrainedFiles, TrainError> {
    let files = PretrainedFiles::new(folder);
    let refused = |message: String| TrainError::Start {
        key: "model.pretrained",
        path: Path::new(folder).into(),
        message,
    };
    let found = files.digest().map_err(|message| refused(format!("cannot be read: {message}")))?;
    match config.model.pretrained_digest {
        Some(expected) if expected != found => {
            Err(refused(format!("holds other files than those of the config: {found}, not {expected}")))
        }
        _ => Ok(files),
    }
}

/// Dense layers become experts: the dense one and copies of it.
fn plan(upcycle: &UpcycleConfig, layout: &Layout) -> Result<CheckedPlan, TrainError> {
    let UpcycleConfig { layers, n_experts, top_k, reinit } = upcycle;
    let mut new_ids = (layout.next_id().0..).map(ExpertId);
    let chosen = layout.layers().iter().enumerate().filter(|(at, _)| layers.contains(*at));
    let edits = chosen.map(|(at, layer)| Edit::Upcycle {
        layer: LayerId(at as u32),
        into: layer.experts.iter().copied().chain(new_ids.by_ref().take(n_experts - 1)).collect(),
        top_k: *top_k,
        reinit: *reinit,
    });
    let plan = Plan {
        step: 0,
        edits: edits.collect(),
        reason: format!("upcycled into {n_experts} experts, {top_k} per token"),
        evidence: Evidence::default(),
    };
    Ok(plan.check(layout, Limits { min: 1, max: *n_experts })?)
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use moelt_model::Mode;
    use moelt_schema::{Activation, EncoderConfig, RoutingConfig, TransformerConfig};

    use super::*;
    use crate::evaluate::{host, model_input};

    /// What the network says of the first batch.
    fn logits(change: impl Fn(&mut RunConfig)) -> Vec<f32> {
        let mut config = RunConfig::default();
        let planted = config.data.planted_mut().unwrap();
        (planted.train, planted.validation, planted.test) = (64, 16, 16);
        config.model.routing = RoutingConfig::Dense {};
        (config.model.n_layers, config.model.activation) = (2, Activation::Gelu);
        config.model.encoder = EncoderConfig::Transformer(TransformerConfig::default());
        change(&mut config);
        config.check().unwrap();
        let mut prepared = Prepared::new(&config).unwrap();
        let (state, _) = from_scratch(&config, &prepared, &Device::flex()).unwrap();
        let has_experts = state.layout.layers().iter().any(|layer| layer.n_experts() > 1);
        assert_eq!(has_experts, config.model.upcycle.is_some());
        host(state.model().valid().forward(&model_input(&prepared.train.at(0)), Mode::Eval).logits)
    }

    fn farthest(one: &[f32], other: &[f32]) -> f32 {
        one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn copies_compute_what_the_dense_layer_did_where_two_share_a_token() {
        let dense = logits(|_| {});
        let upcycled = |upcycle: UpcycleConfig| logits(|config| config.model.upcycle = Some(upcycle.clone()));
        let two = UpcycleConfig::default();
        assert!(farthest(&dense, &upcycled(two.clone())) < 1e-5);
        // One expert is weighted by its probability, and redrawn units are others.
        assert!(farthest(&dense, &upcycled(UpcycleConfig { top_k: 1, ..two.clone() })) > 1e-3);
        assert!(farthest(&dense, &upcycled(UpcycleConfig { reinit: 0.5, ..two })) > 1e-3);
    }
}
