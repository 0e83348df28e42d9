//! A state as a checkpoint.

use std::collections::BTreeMap;

use burn::module::Module;
use moelt_data::Encoded;
use moelt_optim::export;
use moelt_schema::{
    CHECKPOINT_FORMAT, Digest, EventsPosition, ExpertAxes, Manifest, Metrics, Probe, RunConfig,
};

use crate::{
    Checkpoint, ExpertNames, Grouping, Prepared, TrainError, TrainState,
    checkpoint::{inputs_of, make_probe, probe_inputs},
};

/// What a checkpoint holds that no step and no edit changes.
pub(crate) struct Origin {
    pub(crate) config: RunConfig,
    config_digest: Digest,
    data: Digest,
    classes: Vec<String>,
    domains: Vec<String>,
    /// As JSON.
    vocabulary: String,
    vocabulary_digest: Digest,
    /// As JSON, where experts are assigned by groups.
    groups: Option<String>,
    /// What is probed.
    inputs: Vec<Encoded>,
}

impl Origin {
    fn of_run(config: &RunConfig, prepared: &Prepared) -> Self {
        let (trained, _) = prepared.train.examples();
        let held_out = &prepared.validation.texts[..];
        Self {
            config: config.clone(),
            config_digest: config.digest(),
            data: prepared.digest,
            classes: prepared.classes.clone(),
            domains: prepared.domains.clone(),
            groups: prepared.grouping.as_ref().map(Grouping::to_json),
            vocabulary: prepared.vocabulary.to_json(),
            vocabulary_digest: prepared.vocabulary.digest(),
            inputs: probe_inputs(if held_out.is_empty() { trained } else { held_out }),
        }
    }

    /// That of a checkpoint that was written before.
    pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Self {
        let manifest = &checkpoint.manifest;
        Self {
            config: checkpoint.config.clone(),
            config_digest: manifest.config,
            data: manifest.data,
            classes: manifest.classes.clone(),
            domains: manifest.domains.clone(),
            groups: checkpoint.groups.clone(),
            vocabulary: checkpoint.vocabulary.clone(),
            vocabulary_digest: manifest.vocabulary,
            inputs: inputs_of(&manifest.probe),
        }
    }
}

impl TrainState {
    /// Everything as a checkpoint.
    ///
    /// # Errors
    /// When the average does not fit the model.
    pub fn checkpoint(
        &self,
        config: &RunConfig,
        prepared: &Prepared,
        validation: Option<Metrics>,
        events: EventsPosition,
    ) -> Result<Checkpoint, TrainError> {
        self.snapshot(Origin::of_run(config, prepared), validation, events)
    }

    pub(crate) fn snapshot(
        &self,
        origin: Origin,
        validation: Option<Metrics>,
        events: EventsPosition,
    ) -> Result<Checkpoint, TrainError> {
        let names = ExpertNames::new(&self.model().expert_axes(), &self.layout);
        let probe = self.probe(&origin)?;
        let manifest = Manifest {
            format: CHECKPOINT_FORMAT,
            moelt: env!("CARGO_PKG_VERSION").to_owned(),
            arm: origin.config.arm.clone(),
            seed: origin.config.seed,
            step: self.step,
            config: origin.config_digest,
            data: origin.data,
            vocabulary: origin.vocabulary_digest,
            classes: origin.classes,
            domains: origin.domains,
            layout: self.layout.clone(),
            edits: self.edits.clone(),
            state: self.progress.clone(),
            validation,
            events,
            probe,
            optimized: self.trainable.optimizer.state().keys().cloned().collect(),
            files: BTreeMap::new(),
        };
        Ok(Checkpoint {
            manifest,
            config: origin.config,
            vocabulary: origin.vocabulary,
            groups: origin.groups,
            model: names.split(&export(self.model())),
            average: self.trainable.average.as_ref().map(|average| names.split_average(average.state())),
            optimizer: names.split_state(self.trainable.optimizer.state()),
        })
    }

    /// What trained and averaged weights say of the probe's inputs.
    pub(crate) fn probe(&self, origin: &Origin) -> Result<Probe, TrainError> {
        let averaged = self.trainable.average.is_some().then(|| self.evaluated()).transpose()?;
        Ok(make_probe(&origin.inputs, &self.model().valid(), averaged.as_ref()))
    }
}
