//! A run that starts from no other run: weights are drawn, or those of a pretrained encoder, and dense layers may become experts.

use std::path::Path;

use burn::tensor::Device;
use moelt_model::{PretrainedEncoder, WordVectors};
use moelt_schema::{
    CheckedPlan, Digest, Edit, Evidence, ExpertId, LayerId, Layout, Limits, Plan, PretrainedFiles, RunConfig,
    UpcycleConfig, VectorFiles, other_files,
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
    let (mut state, note) = drawn(config, prepared, dense, device)?;
    let mut notes: Vec<String> = note.into_iter().collect();
    if let Some(plan) = upcycled {
        state.edit(&plan, 0)?;
        notes.push(plan.plan().reason.clone());
        config.control.check_layout(&state.layout)?;
    }
    Ok((state, (!notes.is_empty()).then(|| notes.join("; "))))
}

/// The experts of `layout`, their weights drawn, in a network that has from files what its config names; and what that is.
pub(crate) fn drawn(
    config: &RunConfig,
    prepared: &Prepared,
    layout: Layout,
    device: &Device,
) -> Result<(TrainState, Option<String>), TrainError> {
    let state = TrainState::with_layout(config, prepared, layout.clone(), device);
    let model = state.model().clone();
    let (model, note) = match (&config.model.pretrained, &config.model.vectors) {
        (Some(folder), _) => {
            let encoder = PretrainedEncoder::read(&files(config, folder)?.weights())?;
            (model.with_pretrained(&encoder)?, format!("weights of the pretrained encoder in {folder}"))
        }
        (None, Some(path)) => {
            let (vectors, note) = vectors(config, path, prepared)?;
            (model.with_vectors(&vectors), note)
        }
        (None, None) => return Ok((state, None)),
    };
    Ok((TrainState::from_model(config, layout, model), Some(note)))
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
    same_files("model.pretrained", folder, config.model.pretrained_digest, files.digest())?;
    Ok(files)
}

/// Word vectors for the words that have a row, and what share of words and of training tokens that is.
fn vectors(config: &RunConfig, path: &str, prepared: &Prepared) -> Result<(WordVectors, String), TrainError> {
    let files = VectorFiles::at(Path::new(path));
    same_files("model.vectors", path, config.model.vectors_digest, files.digest())?;
    let row_of = |word: &str| prepared.vocabulary.row_of_word(word);
    let vectors = WordVectors::read(&files, config.model.d_model, row_of)?;
    let (texts, _) = prepared.train.examples();
    let tokens = texts.iter().flat_map(|text| (0..text.n_tokens()).map(|at| text.token(at)));
    let (mut covered, mut all) = (0_u64, 0_u64);
    for rows in tokens {
        all += 1;
        // A word's own row comes before those of its parts.
        covered += u64::from(rows.first().is_some_and(|row| vectors.has(*row)));
    }
    let note = format!(
        "vectors of {} words in {path}: {:.1} % of the tokens of training texts",
        vectors.n_rows(),
        100.0 * covered as f64 / all.max(1) as f64
    );
    Ok((vectors, note))
}

/// Refuses files at a path other than those that the config was loaded with.
fn same_files(
    key: &'static str,
    path: &str,
    expected: Option<Digest>,
    found: Result<Digest, String>,
) -> Result<(), TrainError> {
    let refused = |message: String| Err(TrainError::Start { key, path: Path::new(path).into(), message });
    match (found, expected) {
        (Err(message), _) => refused(format!("cannot be read: {message}")),
        (Ok(found), Some(expected)) if expected != found => refused(other_files(found, expected)),
        _ => Ok(()),
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
