//! Runs of a few steps, stopped and killed, and what is compared of them.

#![allow(dead_code, clippy::unwrap_used)] // not every test needs all of it; one that cannot go on should stop

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use burn::tensor::Device;
use moelt_schema::{
    CellResult, DecisionKind, Digest, Event, EventRecord, EventsPosition, Evidence, LayerId, Manifest, Move,
    RunConfig, RunDir, TrialEvidence, Wall,
};
use moelt_train::{Checkpoint, CheckpointStore, Observer, Outcome, Trainer};

/// 60 steps of two layers of three experts, with noise in every step; something is decided after every fifth.
const CONFIG: &str = "
[data.planted]
domains = 3
train = 320
validation = 60
test = 60
[model]
d_model = 8
d_ff = 4
n_layers = 2
row_dropout = 0.1
[model.routing.top_k]
n_experts = 3
[optim]
lr = 0.02
schedule = 'constant'
ema_decay = 0.8
[train]
budget = { epochs = 3 }
batch_size = 16
log_every = 4
eval_every = 7
checkpoint_every = 4
keep_last = 1
[control.edits]
every = 5
warmup = 0.0
until = 1.0
ramp_in = 3
max_experts = 8
";

/// The steps of such a run.
pub(crate) const STEPS: u64 = 60;

const TENSORS: [&str; 3] = ["model.safetensors", "average.safetensors", "optimizer.safetensors"];

/// The experts stay.
pub(crate) const FROZEN: &str = "[control.policy.frozen]";

/// Look-ahead and a head that learns entropies; either takes more lines of its own.
pub(crate) const LOOKAHEAD: &str = "[control.policy.lookahead]\ncooldown = 0\n";
pub(crate) const LABEL_HEAD: &str = "[control.policy.label_head]\ncooldown = 0\n";

/// A config of this policy, a table, and what `change` does to the rest.
pub(crate) fn config(policy: &str, change: impl Fn(&mut RunConfig)) -> RunConfig {
    let mut config = RunConfig::from_toml(&format!("{CONFIG}{policy}\n")).unwrap();
    change(&mut config);
    config.check().unwrap();
    config
}

const KILLED: &str = "killed";

/// Notes the losses, raises the flag after some step, and dies when a line is logged that `dies` names.
struct Watch<'a> {
    losses: Vec<(u64, u64)>,
    stop_after: u64,
    flag: Arc<AtomicBool>,
    dies: &'a dyn Fn(&EventRecord) -> bool,
}

impl Observer for Watch<'_> {
    fn stepped(&mut self, step: u64, loss: f64) {
        self.losses.push((step, loss.to_bits()));
        self.flag.store(step == self.stop_after, Ordering::Relaxed);
    }

    fn logged(&mut self, record: &EventRecord) {
        if (self.dies)(record) {
            // No panic, so that nothing is printed; everything is dropped just the same.
            resume_unwind(Box::new(KILLED));
        }
    }
}

fn watched(
    config: &RunConfig,
    run: &RunDir,
    stop_after: u64,
    dies: &dyn Fn(&EventRecord) -> bool,
) -> (Outcome, Vec<(u64, u64)>) {
    let flag = Arc::new(AtomicBool::new(false));
    let mut watch = Watch { losses: Vec::new(), stop_after, flag: flag.clone(), dies };
    let outcome = Trainer::new(config.clone())
        .interrupt(&flag)
        .observer(&mut watch)
        .run(run.path(), &Device::flex())
        .unwrap();
    (outcome, watch.losses)
}

/// Trains until after `step` and interrupts.
#[track_caller]
pub(crate) fn interrupt(config: &RunConfig, run: &RunDir, step: u64) {
    let (outcome, _) = watched(config, run, step, &|_| false);
    assert!(matches!(outcome, Outcome::Interrupted { step: at } if at == step), "{outcome:?}");
}

/// Trains until a line is logged that `dies` names, and dies there: what was not saved is lost.
#[track_caller]
pub(crate) fn kill(config: &RunConfig, run: &RunDir, dies: &dyn Fn(&EventRecord) -> bool) {
    let killed = catch_unwind(AssertUnwindSafe(|| watched(config, run, u64::MAX, dies)));
    let payload = killed.map(drop).expect_err("no such line was logged");
    assert_eq!(payload.downcast_ref::<&str>(), Some(&KILLED), "it died of something else");
}

/// A run that came to its end.
pub(crate) struct Finished {
    pub(crate) result: CellResult,
    /// Bits of the loss of each step that was taken just now.
    pub(crate) losses: Vec<(u64, u64)>,
    /// The log without what may differ between a run and its repetition.
    pub(crate) events: Vec<EventRecord>,
    /// The last checkpoint, likewise.
    pub(crate) manifest: Manifest,
    /// Weights, averaged weights and optimizer of the last checkpoint.
    pub(crate) tensors: BTreeMap<&'static str, Digest>,
}

/// Trains to the end.
pub(crate) fn finish(config: &RunConfig, run: &RunDir) -> Finished {
    let (outcome, losses) = watched(config, run, u64::MAX, &|_| false);
    let Outcome::Finished(result) = outcome else { panic!("{outcome:?}") };
    let last = CheckpointStore::at(run.checkpoints()).newest().unwrap().unwrap();
    let mut manifest = Checkpoint::read(&last).unwrap().manifest;
    // The log's length depends on how long seconds are when they are written down.
    manifest.events = EventsPosition { bytes: 0, ..manifest.events };
    manifest.state.seconds = 0.0;
    let result = CellResult { seconds: 0.0, machine: None, ..*result };
    Finished { result, losses, events: events(run), manifest, tensors: tensors(&last) }
}

/// Weights, averaged weights and optimizer of a checkpoint.
pub(crate) fn tensors(checkpoint: &Path) -> BTreeMap<&'static str, Digest> {
    // Without averaging there is no average.
    let there = TENSORS.into_iter().filter(|name| checkpoint.join(name).exists());
    there.map(|name| (name, Digest::of_file(&checkpoint.join(name)).unwrap())).collect()
}

fn events(run: &RunDir) -> Vec<EventRecord> {
    let wall = Wall { unix: 0.0, seconds: 0.0 };
    let text = fs::read_to_string(run.events()).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<EventRecord>(line).unwrap());
    records.map(|record| EventRecord { wall, ..record }).collect()
}

impl Finished {
    /// Lines of the log that every policy writes alike as long as the experts stay.
    pub(crate) fn unmoved_events(&self) -> Vec<&EventRecord> {
        let own = |event: &Event| matches!(event, Event::Start { .. } | Event::Decision { .. });
        self.events.iter().filter(|record| !own(&record.event)).collect()
    }

    /// Step and action of every decision.
    pub(crate) fn actions(&self) -> Vec<(u64, DecisionKind)> {
        let action = |record: &EventRecord| match record.event {
            Event::Decision { action, .. } => Some((record.step, action)),
            _ => None,
        };
        self.events.iter().filter_map(action).collect()
    }

    fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.events.iter().filter_map(|record| match &record.event {
            Event::Decision { evidence, .. } => Some(evidence),
            _ => None,
        })
    }

    /// Numbers with this name in the evidence of decisions.
    pub(crate) fn numbers(&self, name: &str) -> Vec<f64> {
        self.evidence().filter_map(|evidence| evidence.numbers.get(name).copied()).collect()
    }

    /// What decisions knew of a move in a layer, where they knew something.
    pub(crate) fn trials(&self, layer: u32, candidate: Move) -> Vec<&TrialEvidence> {
        let layers = self.evidence().filter_map(|evidence| evidence.layer(LayerId(layer)));
        let trials = layers.flat_map(|layer| &layer.trials);
        trials.filter(|trial| trial.candidate == candidate).collect()
    }

    pub(crate) fn edit_steps(&self) -> Vec<u64> {
        self.result.edits.plans.iter().map(|plan| plan.step).collect()
    }

    /// Makes sure that nothing that trains differs from a run whose experts stay: weights, optimizer, averages,
    /// losses, gradient norms, evaluations, experts.
    #[track_caller]
    pub(crate) fn assert_trained_like(&self, frozen: &Self, what: &str) {
        assert_eq!(self.losses, frozen.losses, "{what}");
        assert_eq!(self.tensors, frozen.tensors, "{what}");
        assert_eq!(self.unmoved_events(), frozen.unmoved_events(), "{what}");
        let (mine, theirs) = (&self.manifest, &frozen.manifest);
        assert_eq!(
            (&mine.layout, &mine.edits, &mine.probe),
            (&theirs.layout, &theirs.edits, &theirs.probe),
            "{what}"
        );
        assert_eq!(mine.validation, theirs.validation, "{what}");
        let mut state = mine.state.clone();
        state.policy = theirs.state.policy.clone();
        (state.flops, state.measuring_flops) = (theirs.state.flops, theirs.state.measuring_flops);
        assert_eq!(state, theirs.state, "{what}");
        assert_eq!(
            (&self.result.validation, &self.result.test),
            (&frozen.result.validation, &frozen.result.test)
        );
        assert_eq!(self.result.files, frozen.result.files, "{what}");
    }

    /// Makes sure that another run is this one to the last bit.
    #[track_caller]
    pub(crate) fn assert_repeated_by(&self, other: &Self, what: &str) {
        assert_eq!(other.events, self.events, "{what}");
        assert_eq!(other.manifest.state, self.manifest.state, "{what}");
        assert_eq!(other.manifest, self.manifest, "{what}");
        assert_eq!(other.tensors, self.tensors, "{what}");
        assert_eq!(other.result, self.result, "{what}");
    }
}
