//! A state as a checkpoint.

use std::collections::BTreeMap;

use burn::module::Module;
use moelt_optim::export;
use moelt_schema::{
    CHECKPOINT_FORMAT, Digest, EventsPosition, ExpertAxes, Manifest, Metrics, Probe, RunConfig,
};

use crate::{
    Checkpoint, ExpertNames, Prepared, TrainError, TrainState,
    checkpoint::{make_probe, probe_inputs},
};

/// What a checkpoint holds that no step and no edit changes.
pub(crate) struct Origin {
    pub(crate) config: RunConfig,
    config_digest: Digest,
    data: Digest,
    classes: Vec<String>,
    /// As JSON.
    vocabulary: String,
    vocabulary_digest: Digest,
    /// What is probed, as tokens.
    inputs: Vec<Vec<Vec<u32>>>,
}

impl Origin {
    fn of_run(config: &RunConfig, prepared: &Prepared) -> Self {
        Self {
            config: config.clone(),
            config_digest: config.digest(),
            data: prepared.digest,
            classes: prepared.classes.clone(),
            vocabulary: prepared.vocabulary.to_json(),
            vocabulary_digest: prepared.vocabulary.digest(),
            inputs: probe_inputs(&prepared.validation.texts),
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
            vocabulary: checkpoint.vocabulary.clone(),
            vocabulary_digest: manifest.vocabulary,
            inputs: manifest.probe.inputs.clone(),
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
        let names = ExpertNames::new(&self.model.expert_axes(), &self.layout);
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
            layout: self.layout.clone(),
            edits: self.edits.clone(),
            state: self.progress.clone(),
            validation,
            events,
            probe,
            optimized: self.optimizer.state().keys().cloned().collect(),
            files: BTreeMap::new(),
        };
        Ok(Checkpoint {
            manifest,
            config: origin.config,
            vocabulary: origin.vocabulary,
            model: names.split(&export(&self.model)),
            average: self.average.as_ref().map(|average| names.split_average(average.state())),
            optimizer: names.split_state(self.optimizer.state()),
        })
    }

    /// What trained and averaged weights say of the probe's inputs.
    pub(crate) fn probe(&self, origin: &Origin) -> Result<Probe, TrainError> {
        let averaged = self.average.is_some().then(|| self.evaluated()).transpose()?;
        Ok(make_probe(origin.inputs.clone(), &self.model.valid(), averaged.as_ref()))
    }
}
