//! Trains a config in a run folder, or goes on with the run that it finds there.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
    sync::atomic::AtomicBool,
};

use burn::tensor::Device;
use moelt_control::{OwnPolicies, Policy, PolicyStart};
use moelt_data::Dataset;
use moelt_schema::{
    CellResult, DataConfig, Digest, OwnConfig, PolicyConfig, RunConfig, RunDir, config_differences,
    create_folders,
};

use crate::{
    Checkpoint, CheckpointStore, Observer, Prepared, TrainError, finish,
    interrupt::Interrupt,
    session::{End, Session},
    shared_texts,
};

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

/// Trains a config in a run folder, or goes on with the run that it finds there.
///
/// Resuming is bit-exact: weights, optimizer state and event log (wall-clock fields aside) are those of
/// a run that was never stopped.
///
/// ```
/// use moelt_data::OwnTexts;
/// use moelt_schema::{Budget, RunConfig};
/// use moelt_train::{LoadedModel, Trainer};
/// # let device = burn::tensor::Device::flex();
/// # let folder = tempfile::tempdir()?;
/// let rain = (0..40).map(|i| (format!("rain and wind {i}"), "bad"));
/// let sun = (0..40).map(|i| (format!("sun all day {i}"), "good"));
/// let texts = OwnTexts::new(rain.chain(sun));
/// let mut config = RunConfig::default();
/// (config.train.budget, config.train.batch_size) = (Budget::Epochs(5.0), 8);
/// Trainer::new(config).dataset(&texts).run(folder.path(), &device)?;
/// let model = LoadedModel::open(folder.path(), &device)?;
/// assert_eq!(model.classify(&["wind and rain"])[0].class, "bad");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer<'a> {
    config: RunConfig,
    dataset: Option<&'a dyn Dataset>,
    policies: Option<&'a OwnPolicies>,
    /// Of [`Self::policy`].
    own: Option<OwnPolicies>,
    observer: Option<&'a mut dyn Observer>,
    interrupt: Option<&'a AtomicBool>,
    texts: Option<&'a Path>,
}

impl<'a> Trainer<'a> {
    /// Trains on the data set and with the policy that the config names.
    pub fn new(config: RunConfig) -> Self {
        let (dataset, policies, own, observer, interrupt, texts) = (None, None, None, None, None, None);
        Self { config, dataset, policies, own, observer, interrupt, texts }
    }

    /// Trains on this data set, and not on one that moelt reads: `data` is `own` in the run's config.
    #[must_use]
    pub fn dataset(mut self, dataset: &'a dyn Dataset) -> Self {
        self.config.data = DataConfig::Own {};
        Self { dataset: Some(dataset), ..self }
    }

    /// Decides by this policy, and not by one that the config names: `control.policy` is `own` in the run's config.
    /// `make` is called at the start and at every resume, with what the policy remembered.
    #[must_use]
    pub fn policy<P: Policy + 'static>(
        self,
        make: impl Fn(&PolicyStart) -> P + Send + Sync + 'static,
    ) -> Self {
        const NAME: &str = "own";
        let mut config = self.config;
        config.control.policy = PolicyConfig::Own(OwnConfig::new(NAME));
        let own = Some(OwnPolicies::default().with(NAME, make));
        Self { config, own, ..self }
    }

    /// Policies that `control.policy.own` can name.
    #[must_use]
    pub fn policies(self, policies: &'a OwnPolicies) -> Self {
        Self { policies: Some(policies), ..self }
    }

    /// Is told how the run goes.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Once this is set the run is saved and ends; the same call goes on from there.
    #[must_use]
    pub fn interrupt(self, interrupt: &'a AtomicBool) -> Self {
        Self { interrupt: Some(interrupt), ..self }
    }

    /// Shares the encoded texts with other runs on the data set that the config names: the first of them leaves them in this
    /// folder.
    #[must_use]
    pub fn share_texts(self, folder: Option<&'a Path>) -> Self {
        Self { texts: folder, ..self }
    }

    /// Trains in `folder` until the run ends or is interrupted. A finished run is returned as it is.
    ///
    /// # Errors
    /// When the config cannot work; when data, folder or checkpoints cannot be read, written or trusted; when the
    /// folder holds another run; when the loss stops being a number.
    pub fn run(self, folder: impl AsRef<Path>, device: &Device) -> Result<Outcome, TrainError> {
        let Self { config, dataset, policies, own, observer, interrupt, texts } = self;
        let (run, none, mut silent) = (RunDir::new(folder.as_ref()), OwnPolicies::default(), ());
        let interrupt = interrupt.map_or_else(Interrupt::never, Interrupt::new);
        config.check()?;
        check_folder(&config, &run)?;
        let dataset = dataset.unwrap_or(&config.data);
        if let Some(result) = CellResult::read(&run, config.digest())? {
            check_data(&run, &result, dataset.splits(&config.text)?.digest())?;
            return Ok(Outcome::Finished(Box::new(result)));
        }
        let prepared = match texts {
            Some(folder) => shared_texts::prepared(&config, dataset, folder)?,
            None => Prepared::of(&config, dataset)?,
        };
        prepared.check_validation(&config)?;
        let _lock = lock(&run)?;
        let store = CheckpointStore::open(run.checkpoints(), config.train.keep_last)?;
        let store = store.pin(prepared.judged_after());
        let policies = own.as_ref().or(policies).unwrap_or(&none);
        let observer = observer.unwrap_or(&mut silent);
        let session = Session::open(&config, &run, prepared, store, device, policies, observer)?;
        let (session, end) = session.run(interrupt)?;
        let Session { prepared, store, state, .. } = session;
        let interrupted = Outcome::Interrupted { step: state.step };
        match end {
            End::Interrupted => Ok(interrupted),
            End::Trained => match finish::finish(&config, &run, &prepared, &store, &state, device, interrupt)
            {
                Err(TrainError::Interrupted(_)) => Ok(interrupted),
                result => Ok(Outcome::Finished(Box::new(result?))),
            },
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

/// Makes sure that a finished run was one on these texts: a file, or what a program holds in memory, may have changed
/// under the same config.
fn check_data(run: &RunDir, result: &CellResult, data: Digest) -> Result<(), TrainError> {
    if result.data == data {
        return Ok(());
    }
    Err(TrainError::OtherData { path: run.path().into(), theirs: result.data, ours: data })
}

/// Makes sure that the folder does not hold the run of another config.
fn check_folder(config: &RunConfig, run: &RunDir) -> Result<(), TrainError> {
    const SHOWN: usize = 3;
    if Checkpoint::is_at(run.path()) {
        let message =
            "is a checkpoint; name another folder, and start from this one with --set start.weights.run=…";
        return Err(TrainError::Damaged { path: run.path().into(), message: message.to_owned() });
    }
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
