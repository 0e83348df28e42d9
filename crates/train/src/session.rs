//! A run under way: from its first or its latest checkpoint to its last step.

mod open;

use std::{path::PathBuf, time::Instant};

use burn::tensor::Device;
use moelt_control::OwnPolicies;
use moelt_eval::metrics;
use moelt_schema::{
    BestSoFar, Event, EventsPosition, LayerKind, Metrics, RoutingStats, RunConfig, RunDir, StopReason,
    WindowState,
};

use self::open::{Opened, resume, start_anew};
use crate::{
    CheckpointStore, EventLog, Observer, Prepared, TrainError, TrainState, decide::Control,
    interrupt::Interrupt, joint::Joint, predict, state::schedule, trial::Arena,
};

/// Why the loop was left.
pub(crate) enum End {
    Trained,
    Interrupted,
}

/// A run under way.
pub(crate) struct Session<'a> {
    config: &'a RunConfig,
    pub(crate) prepared: Prepared,
    /// Of the run.
    folder: PathBuf,
    pub(crate) store: CheckpointStore,
    events: EventLog,
    pub(crate) state: TrainState,
    control: Control,
    total: u64,
    /// Step of the checkpoint that `latest` points at.
    saved: Option<u64>,
    /// Up to when seconds are counted.
    clock: Instant,
    observer: &'a mut dyn Observer,
}

impl<'a> Session<'a> {
    /// Opens the run at its latest checkpoint, or anew.
    pub(crate) fn open(
        config: &'a RunConfig,
        run: &RunDir,
        prepared: Prepared,
        store: CheckpointStore,
        device: &Device,
        policies: &OwnPolicies,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let (opened, note) = match store.newest()? {
            None => start_anew(config, run, &prepared, device, policies)?,
            Some(path) => (resume(config, run, &prepared, &store, &path, device, policies)?, None),
        };
        let Opened { state, control, events, saved } = opened;
        let (total, folder) = (state.progress.total_steps, run.path().to_owned());
        let clock = Instant::now();
        let mut session =
            Self { config, prepared, folder, store, events, state, control, total, saved, clock, observer };
        if saved.is_none() {
            session.log_start(note)?;
        }
        session.observer.started(&session.prepared, session.state.step, total);
        Ok(session)
    }

    /// Trains until the end or an interrupt; says which. A checkpoint stands between two steps, and before the
    /// decision that the second of them begins with.
    pub(crate) fn run(mut self, interrupt: Interrupt<'_>) -> Result<(Self, End), TrainError> {
        let reason = loop {
            if self.state.step >= self.total {
                break StopReason::Completed;
            }
            if self.out_of_patience() {
                break StopReason::EarlyStopping;
            }
            match self.open_step(interrupt) {
                Err(TrainError::Interrupted(_)) => return Ok((self, End::Interrupted)),
                decided => decided?,
            }
            let batch = self.prepared.train.at(self.state.step);
            let report;
            let joint = Joint::of(self.config);
            let added = self.control.step_biases(&self.state);
            (self.state, report) = self.state.train_step_with(
                &batch,
                self.config,
                self.total,
                joint.as_ref().map(|joint| joint as _),
                &added,
            );
            if !report.is_finite() {
                let (what, value) = report.not_finite();
                return Err(self.not_finite(self.state.step + 1, what, value)?);
            }
            self.control.learn_biases(&mut self.state, &report);
            self.control.learn(&mut self.state, &self.config.control, &report);
            self.observer.stepped(self.state.step, report.loss);
            self.count_seconds();
            self.after_step()?;
        };
        let best_step = self.state.progress.best.map_or(self.state.step, |best| best.step);
        self.log(Event::Stop { reason, best_step })?;
        self.events.sync()?;
        Ok((self, End::Trained))
    }

    /// What opens a step: a decision, if one is due.
    ///
    /// # Errors
    /// When the run is asked to stop. It has then been saved as it was before the decision, whose lines in the log
    /// a resumed run writes anew.
    fn open_step(&mut self, interrupt: Interrupt<'_>) -> Result<(), TrainError> {
        let position = self.events.position();
        let decided = interrupt.check().map_err(TrainError::from).and_then(|()| self.decide(interrupt));
        if let Err(TrainError::Interrupted(_)) = decided
            && self.saved != Some(self.state.step)
        {
            self.events.sync()?;
            self.save_at(position, None, false)?;
        }
        decided
    }

    fn decide(&mut self, interrupt: Interrupt<'_>) -> Result<(), TrainError> {
        let Self { config, prepared, folder, state, control, total, clock, events, observer, .. } = self;
        if !control.is_due(&config.control, state.step) {
            return Ok(());
        }
        let validation = &*prepared.validation_at(state.step, *total);
        let arena = Arena { config, prepared, validation, total_steps: *total, folder, interrupt };
        let (step, seconds) = (state.step, state.progress.seconds);
        control.decide(state, &arena, &mut |event| {
            let record = events.append(step, seconds + clock.elapsed().as_secs_f64(), event)?;
            observer.logged(&record);
            Ok(())
        })
    }

    /// Whatever is due after a step: window, evaluation, checkpoint.
    fn after_step(&mut self) -> Result<(), TrainError> {
        let (step, train) = (self.state.step, &self.config.train);
        let last = step == self.total;
        let due = |every: u64| every > 0 && step.is_multiple_of(every);
        let eval_every =
            if train.eval_every > 0 { train.eval_every } else { self.prepared.train.per_epoch() };
        if due(train.log_every) || last {
            self.log_window()?;
        }
        let judged = self.prepared.judged_after().any(|judged| judged == step);
        let evaluates = !self.prepared.validation.texts.is_empty() && (due(eval_every) || judged || last);
        let evaluated = if evaluates { Some(self.evaluate()?) } else { None };
        let (validation, best) = evaluated.map_or((None, false), |(metrics, best)| (Some(metrics), best));
        if best || judged || last || due(train.checkpoint_every) || self.out_of_patience() {
            self.log(Event::Checkpoint { name: CheckpointStore::name(step) })?;
            self.save(validation, best)?;
        }
        Ok(())
    }

    fn out_of_patience(&self) -> bool {
        let patience = self.config.train.patience;
        patience > 0 && self.state.progress.evaluations_since_best >= patience
    }

    /// Evaluates on validation, and says whether it is the best so far; higher accuracy is better, lower loss decides a tie. Where the data drifts every
    /// evaluation is of other texts, and none is better than another. As long as a policy has not settled, only the last evaluation of
    /// all can be the best.
    fn evaluate(&mut self) -> Result<(Metrics, bool), TrainError> {
        let validation = self.prepared.validation_at(self.state.step, self.total);
        let predictions = predict(&self.state.evaluated()?, &validation);
        let metrics = metrics(&predictions, self.prepared.classes.len());
        let progress = &mut self.state.progress;
        let key = |accuracy: f64, loss: f64| (accuracy, -loss);
        let now = key(metrics.accuracy, metrics.loss);
        let better = progress.best.is_none_or(|best| now > key(best.accuracy, best.loss));
        let counts = self.control.is_settled() || (self.state.step == self.total && progress.best.is_none());
        let best = better && counts && self.prepared.drift.is_none();
        if best {
            let (accuracy, loss) = (metrics.accuracy, metrics.loss);
            progress.best = Some(BestSoFar { step: self.state.step, accuracy, loss });
            progress.evaluations_since_best = 0;
        } else if counts {
            progress.evaluations_since_best += 1;
        }
        self.log(Event::Validation { accuracy: metrics.accuracy, loss: metrics.loss, best })?;
        Ok((metrics, best))
    }

    /// Adds what has passed since the last time.
    fn count_seconds(&mut self) {
        self.state.progress.seconds += self.clock.elapsed().as_secs_f64();
        self.clock = Instant::now();
    }

    fn save(&mut self, validation: Option<Metrics>, best: bool) -> Result<(), TrainError> {
        let position = self.events.sync()?;
        self.save_at(position, validation, best)
    }

    /// Saves with the event log as it was at `position`.
    fn save_at(
        &mut self,
        position: EventsPosition,
        validation: Option<Metrics>,
        best: bool,
    ) -> Result<(), TrainError> {
        self.count_seconds();
        let mut checkpoint = self.state.checkpoint(self.config, &self.prepared, validation, position)?;
        if let Some((what, value)) = checkpoint.not_finite() {
            return Err(self.not_finite(self.state.step, what, value)?);
        }
        self.store.save(&mut checkpoint, best)?;
        self.saved = Some(self.state.step);
        Ok(())
    }

    fn log(&mut self, event: Event) -> Result<(), TrainError> {
        let record = self.events.append(self.state.step, self.state.progress.seconds, event)?;
        self.observer.logged(&record);
        Ok(())
    }

    fn log_start(&mut self, note: Option<String>) -> Result<(), TrainError> {
        let (config, prepared, state) = (self.config, &self.prepared, &self.state);
        self.log(Event::Start {
            arm: config.arm.clone(),
            seed: config.seed,
            config: config.digest(),
            data: prepared.digest,
            vocabulary: prepared.vocabulary.digest(),
            layout: state.layout.clone(),
            n_params: state.model().n_params(),
            n_active_params: state.model().n_active_params(&state.layout),
            total_steps: self.total,
            notes: prepared.notes.iter().cloned().chain(note).collect(),
        })
    }

    fn log_window(&mut self) -> Result<(), TrainError> {
        let window: WindowState = std::mem::take(&mut self.state.progress.window);
        let mean = |sum: f64| sum / window.steps.max(1) as f64;
        let kinds: Vec<LayerKind> = self.state.layout.layers().iter().map(|layer| layer.kind).collect();
        let top_k = kinds.iter().any(|kind| matches!(kind, LayerKind::TopK { .. }));
        let top_any = kinds.contains(&LayerKind::TopAny);
        self.log(Event::Window {
            steps: window.steps,
            loss: mean(window.loss),
            load_balancing_loss: top_k.then(|| mean(window.load_balancing_loss)),
            router_z_loss: top_k.then(|| mean(window.router_z_loss)),
            diversity_loss: top_any.then(|| mean(window.diversity_loss)),
            simplicity_loss: top_any.then(|| mean(window.simplicity_loss)),
            grad_norm: mean(window.grad_norm),
            lr: schedule(self.config, self.total).at(self.state.step),
            routing: window.layers.iter().map(RoutingStats::from_sums).collect(),
            control: window.control.map(|sums| sums.mean(window.steps)),
        })?;
        self.state.progress.last_window = window.layers;
        let routing = self.state.routing_warnings();
        if routing.is_empty() {
            return Ok(());
        }
        routing.iter().for_each(|warning| tracing::warn!("step {}: {warning}", self.state.step));
        self.log(Event::Warning { routing })
    }

    fn not_finite(&self, step: u64, what: &'static str, value: f64) -> Result<TrainError, TrainError> {
        Ok(TrainError::NotFinite {
            arm: self.config.arm.clone(),
            seed: self.config.seed,
            step,
            what,
            value,
            checkpoint: self.store.pointed("latest")?,
        })
    }
}
