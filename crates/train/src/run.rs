//! One run from its config to its result, or on from where it stopped.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Instant,
};

use burn::tensor::Device;
use moelt_eval::metrics;
use moelt_schema::{
    BestSoFar, CellResult, Digest, Event, EventRecord, EventsPosition, LayerSums, Metrics, RoutingStats,
    RunConfig, RunDir, StopReason, WindowState, config_differences, create_folders, resolved_toml,
    write_atomically,
};

use crate::{
    CheckpointError, CheckpointStore, EventLog, LoadedModel, Prepared, TrainError, TrainState,
    budget::total_steps, decide::Control, finish, interrupt::Interrupt, predict, start::start,
    state::schedule, trial::Arena,
};

/// Is told how a run goes: a progress bar, a test, nothing (`()`).
pub trait Observer {
    /// The data is ready; `done` of `total` steps are taken already.
    fn started(&mut self, _prepared: &Prepared, _done: u64, _total: u64) {}
    /// A step was taken.
    fn stepped(&mut self, _step: u64, _loss: f64) {}
    /// A line was written to the event log.
    fn logged(&mut self, _record: &EventRecord) {}
}

impl Observer for () {}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// To the end; `result.json` is written.
    Finished(Box<CellResult>),
    /// By the interrupt flag, after this step; a checkpoint is written and the same call goes on from it.
    Interrupted {
        /// Steps done.
        step: u64,
    },
}

/// Runs `config` in the folder `run`, or continues the run it finds there, until it ends or
/// `interrupt` is set. A finished run is returned as it is.
///
/// Resuming is bit-exact: weights, optimizer state and event log (wall-clock fields aside) are those of
/// a run that was never stopped.
///
/// # Errors
/// When data, folder or checkpoints cannot be read, written or trusted, the folder holds another run,
/// or the loss stops being a number.
pub fn train(
    config: &RunConfig,
    run: &RunDir,
    device: &Device,
    interrupt: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    check_folder(config, run)?;
    if let Some(result) = CellResult::read(run, config.digest())? {
        return Ok(Outcome::Finished(Box::new(result)));
    }
    let prepared = Prepared::new(config)?;
    let _lock = lock(run)?;
    let store =
        CheckpointStore::open(run.checkpoints(), config.train.keep_last)?.pin(prepared.judged_after());
    let session = Session::open(config, run, prepared, store, device, observer)?;
    session.observer.started(&session.prepared, session.state.step, session.total);
    let (session, end) = session.run(Interrupt::new(interrupt))?;
    let Session { prepared, store, state, .. } = session;
    let interrupted = Outcome::Interrupted { step: state.step };
    match end {
        End::Interrupted => Ok(interrupted),
        End::Trained => {
            match finish::finish(config, run, &prepared, &store, &state, device, Interrupt::new(interrupt)) {
                Err(TrainError::Interrupted) => Ok(interrupted),
                result => Ok(Outcome::Finished(Box::new(result?))),
            }
        }
    }
}

/// Keeps every other process from training in the folder for as long as the file is open.
fn lock(run: &RunDir) -> Result<File, TrainError> {
    let path = run.lock();
    create_folders(run.path()).map_err(TrainError::io(run.path()))?;
    let file = File::create(&path).map_err(TrainError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::Locked { path: run.path().into() }),
        Err(TryLockError::Error(cause)) => Err(TrainError::Io { path, cause }),
    }
}

/// Makes sure that the folder does not hold the run of another config.
fn check_folder(config: &RunConfig, run: &RunDir) -> Result<(), TrainError> {
    const SHOWN: usize = 3;
    let path = run.config();
    if !path.exists() {
        return Ok(());
    }
    let theirs = fs::read(&path).map_err(TrainError::io(&path))?;
    let differences = config_differences(config, &String::from_utf8_lossy(&theirs))
        .map_err(|message| TrainError::Damaged { path, message })?;
    if differences.is_empty() {
        return Ok(());
    }
    let shown = differences[..differences.len().min(SHOWN)].join("; ");
    Err(TrainError::OtherConfig { path: run.path().into(), differences: shown })
}

/// Writes `config.toml` into a new folder. Not before data and start could be read: whoever mends a config
/// whose data, start or script could not has no run to keep.
fn claim_folder(config: &RunConfig, run: &RunDir) -> Result<(), TrainError> {
    let path = run.config();
    if path.exists() {
        return Ok(());
    }
    write_atomically(&path, resolved_toml(config).as_bytes()).map_err(TrainError::io(path))
}

/// A log without a checkpoint: the run was killed before its first one, or the checkpoints are gone.
fn warn_of_old_events(run: &RunDir) {
    let bytes = fs::metadata(run.events()).map_or(0, |file| file.len());
    if bytes > 0 {
        tracing::warn!("no checkpoint here: the event log of {bytes} bytes is started anew");
    }
}

/// Why the loop was left.
enum End {
    Trained,
    Interrupted,
}

/// A run under way.
struct Session<'a> {
    config: &'a RunConfig,
    prepared: Prepared,
    /// Of the run.
    folder: PathBuf,
    store: CheckpointStore,
    events: EventLog,
    state: TrainState,
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
    fn open(
        config: &'a RunConfig,
        run: &RunDir,
        prepared: Prepared,
        store: CheckpointStore,
        device: &Device,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let folder = run.path().to_owned();
        let Some(path) = store.newest()? else {
            let (mut state, note) = start(config, &prepared, device)?;
            let total = total_steps(config, &prepared, &state.model)?;
            state.progress.total_steps = total;
            let clock = Instant::now();
            let control = Control::new(config, &prepared, total, state.progress.policy.clone())?;
            control.remember(&mut state);
            claim_folder(config, run)?;
            warn_of_old_events(run);
            note.iter().for_each(|note| tracing::info!("{note}"));
            let events = EventLog::open(&run.events(), EventsPosition::default())?;
            let saved = None;
            let mut session = Self {
                config,
                prepared,
                folder,
                store,
                events,
                state,
                control,
                total,
                saved,
                clock,
                observer,
            };
            session.log_start(note)?;
            return Ok(session);
        };
        let loaded = LoadedModel::load(&path, &device.clone().autodiff())?;
        let manifest = &loaded.checkpoint.manifest;
        same_run("config", config.digest(), manifest.config, &path)?;
        same_run("data", prepared.digest, manifest.data, &path)?;
        same_run("vocabulary", prepared.vocabulary.digest(), manifest.vocabulary, &path)?;
        same_length(config, &prepared, manifest.state.total_steps, &path)?;
        if let Some(best) = manifest.state.best {
            check_best(&store, best.step, manifest.step, device)?;
        }
        let judged = prepared.judged_after().filter(|step| *step <= manifest.step);
        judged.into_iter().try_for_each(|step| store.pinned(step).map(drop))?;
        let total = manifest.state.total_steps;
        let control = Control::new(config, &prepared, total, manifest.state.policy.clone())?;
        let events = EventLog::open(&run.events(), manifest.events)?;
        tracing::info!("resuming at step {} of {total} from {}", manifest.step, path.display());
        let state = TrainState::restore(loaded);
        claim_folder(config, run)?;
        store.forget_after(state.step)?;
        let (saved, clock) = (Some(state.step), Instant::now());
        Ok(Self { config, prepared, folder, store, events, state, control, total, saved, clock, observer })
    }

    /// Trains until the end or an interrupt; says which. A checkpoint stands between two steps, and before the
    /// decision that the second of them begins with.
    fn run(mut self, interrupt: Interrupt<'_>) -> Result<(Self, End), TrainError> {
        let reason = loop {
            if self.state.step >= self.total {
                break StopReason::Completed;
            }
            if self.out_of_patience() {
                break StopReason::EarlyStopping;
            }
            match self.open_step(interrupt) {
                Err(TrainError::Interrupted) => return Ok((self, End::Interrupted)),
                decided => decided?,
            }
            let batch = self.prepared.train.at(self.state.step);
            let report;
            let live =
                |state: &TrainState, sums: &[LayerSums], loss| self.control.live_gradient(state, sums, loss);
            (self.state, report) = self.state.train_step_jointly(&batch, self.config, self.total, &live);
            if !report.is_finite() {
                let (what, value) = report.not_finite();
                return Err(self.not_finite(self.state.step + 1, what, value)?);
            }
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
        let decided = interrupt.check().and_then(|()| self.decide(interrupt));
        if let Err(TrainError::Interrupted) = decided
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
        let validation = if due(eval_every) || judged || last { Some(self.evaluate()?) } else { None };
        let best = validation.is_some() && self.state.progress.evaluations_since_best == 0;
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

    /// Evaluates on validation; higher accuracy is better, lower loss decides a tie. Where the data drifts every
    /// evaluation is of other texts, and none is better than another.
    fn evaluate(&mut self) -> Result<Metrics, TrainError> {
        let validation = self.prepared.validation_at(self.state.step, self.total);
        let predictions = predict(&self.state.evaluated()?, &validation);
        let metrics = metrics(&predictions, self.prepared.classes.len());
        let progress = &mut self.state.progress;
        let key = |accuracy: f64, loss: f64| (accuracy, -loss);
        let now = key(metrics.accuracy, metrics.loss);
        let better = progress.best.is_none_or(|best| now > key(best.accuracy, best.loss));
        let best = better && self.prepared.drift.is_none();
        if best {
            let (accuracy, loss) = (metrics.accuracy, metrics.loss);
            progress.best = Some(BestSoFar { step: self.state.step, accuracy, loss });
            progress.evaluations_since_best = 0;
        } else {
            progress.evaluations_since_best += 1;
        }
        self.log(Event::Validation { accuracy: metrics.accuracy, loss: metrics.loss, best })?;
        Ok(metrics)
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
            n_params: state.model.n_params(),
            n_active_params: state.model.n_active_params(&state.layout),
            total_steps: self.total,
            notes: prepared.notes.iter().cloned().chain(note).collect(),
        })
    }

    fn log_window(&mut self) -> Result<(), TrainError> {
        let window: WindowState = std::mem::take(&mut self.state.progress.window);
        let mean = |sum: f64| sum / window.steps.max(1) as f64;
        self.log(Event::Window {
            steps: window.steps,
            loss: mean(window.loss),
            load_balancing_loss: mean(window.load_balancing_loss),
            grad_norm: mean(window.grad_norm),
            lr: schedule(self.config, self.total).at(self.state.step),
            routing: window.layers.iter().map(RoutingStats::from_sums).collect(),
            control: window.control.map(|sums| sums.mean(window.steps)),
        })?;
        self.state.progress.last_window = window.layers;
        Ok(())
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

/// Makes sure that the best checkpoint so far, of step `best`, is whole and pointed at: the run at step
/// `latest` will end with its judgement.
fn check_best(store: &CheckpointStore, best: u64, latest: u64, device: &Device) -> Result<(), TrainError> {
    let pointed = store.pointed("best")?;
    if pointed.as_ref() == Some(&store.path(best)) {
        return Ok(LoadedModel::load(&store.path(best), device).map(drop)?);
    }
    if best == latest {
        // The run was killed between pointing `latest` and pointing `best` at it.
        return Ok(store.mark_best(best)?);
    }
    let message = format!("does not name {}, where the best evaluation was", CheckpointStore::name(best));
    Err(CheckpointError::Pointer { path: store.pointer("best"), message }.into())
}

/// A run is as long as its config and its data say, unless another run's operations decide.
fn same_length(
    config: &RunConfig,
    prepared: &Prepared,
    found: u64,
    path: &Path,
) -> Result<(), CheckpointError> {
    let expected = prepared.total_steps;
    if found == expected || !config.train.flops_of.is_empty() {
        return Ok(());
    }
    let message = format!("state.total_steps: is {found}, but this run has {expected} steps");
    Err(CheckpointError::Malformed { path: path.join("manifest.json"), message })
}

fn same_run(what: &'static str, expected: Digest, found: Digest, path: &Path) -> Result<(), CheckpointError> {
    if expected == found {
        Ok(())
    } else {
        Err(CheckpointError::OtherRun { path: path.into(), what, expected, found })
    }
}
