//! Forks, and how one is taken through a part of a race.

use moelt_control::Trial;
use moelt_data::Batches;
use moelt_schema::{Edit, Evidence, Flops, OptimConfig, Plan};

use super::{Arena, waiting::Waiting};
use crate::{Split, TrainError, TrainState, effect::Outputs};

/// A copy of the run with edited experts.
pub(super) struct Fork {
    /// None: it keeps the experts as they are.
    pub(super) edits: Vec<Edit>,
    /// In which order of batches it trains; 0: that of the fork that keeps.
    order: u64,
    /// What has become of it between two legs; none before the first.
    pub(super) waiting: Option<Waiting>,
}

/// Steps of a race between two looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Leg {
    /// Steps done before.
    pub(super) from: u64,
    /// Steps done after.
    pub(super) to: u64,
    /// Whether another one follows.
    pub(super) goes_on: bool,
}

/// How a fork came through a leg.
pub(super) struct Came {
    /// Steps it has done since it began, the one in which it diverged included.
    pub(super) steps: u64,
    /// What it says of the texts; none when its loss was no number.
    pub(super) outputs: Option<Outputs>,
}

/// What all forks of a race have in common.
pub(super) struct Track<'a> {
    pub(super) arena: &'a Arena<'a>,
    /// From where they begin.
    start: &'a TrainState,
    pub(super) batches: Batches,
    /// The batch of the first step.
    first_batch: u64,
    texts: &'a Split,
    /// Steps over which a new expert's share rises.
    ramping_in: u64,
    /// How weights are averaged.
    optim: OptimConfig,
    /// Of all that was done.
    pub(super) flops: Flops,
}

impl Fork {
    pub(super) fn new(edits: Vec<Edit>, order: u64) -> Self {
        Self { edits, order, waiting: None }
    }
}

impl Leg {
    /// The stretches of `steps` steps with a look every `every` steps; 0: only at the end.
    pub(super) fn all(steps: u64, every: u64) -> impl Iterator<Item = Self> {
        let every = if every == 0 { steps.max(1) } else { every };
        let ends = (1..=steps.div_ceil(every).max(1)).map(move |n| (n * every).min(steps));
        ends.scan(0, move |from, to| {
            let leg = Self { from: *from, to, goes_on: to < steps };
            *from = to;
            Some(leg)
        })
    }
}

impl<'a> Track<'a> {
    pub(super) fn new(
        arena: &'a Arena<'a>,
        start: &'a TrainState,
        first_batch: u64,
        texts: &'a Split,
        trial: &Trial,
    ) -> Self {
        let batches = arena.prepared.train.clone().rehearsal(start.step);
        // Without training an expert whose share rises gradually would do nothing at all.
        let ramping_in = if trial.steps == 0 { 0 } else { arena.config.control.edits.ramp_in };
        let optim = averaging(&arena.config.optim, trial.averaged_over);
        Self { arena, start, batches, first_batch, texts, ramping_in, optim, flops: Flops::default() }
    }

    /// Takes a fork through a leg and asks it about the texts. If another leg follows it waits in a file:
    /// only one is in memory at a time.
    ///
    /// # Errors
    /// When its edits do not fit, it cannot be put aside, or the run is asked to stop.
    pub(super) fn run(&mut self, fork: &mut Fork, leg: Leg) -> Result<Came, TrainError> {
        let mut state = self.begin(&fork.edits)?;
        let mut own = (fork.order > 0).then(|| self.batches.clone().reordered(fork.order));
        if own.is_some() {
            state.streams = state.streams.rehearsal(fork.order);
        }
        if let Some(waiting) = fork.waiting.take() {
            state = waiting.resume(state).map_err(TrainError::io(self.arena.folder))?;
        }
        for step in leg.from + 1..=leg.to {
            self.arena.interrupt.check()?;
            let finite;
            (state, finite) = self.step(state, own.as_mut(), step);
            if !finite {
                return Ok(Came { steps: step, outputs: None });
            }
        }
        let outputs = Outputs::of(&state.evaluated()?, self.texts, self.arena.interrupt)?;
        self.flops += outputs.flops;
        if leg.goes_on {
            let waiting = Waiting::new(&state, self.arena.folder).map_err(TrainError::io(self.arena.folder));
            fork.waiting = Some(waiting?);
        }
        Ok(Came { steps: leg.to, outputs: Some(outputs) })
    }

    /// A fork before its first step.
    pub(super) fn begin(&self, edits: &[Edit]) -> Result<TrainState, TrainError> {
        let config = self.arena.config;
        let mut fork = self.start.without_average();
        if !edits.is_empty() {
            let (step, edits) = (fork.step, edits.to_vec());
            let plan = Plan { step, edits, reason: String::new(), evidence: Evidence::default() };
            let plan = plan.check(&fork.layout, config.control.edits.limits())?;
            fork.edit(&plan, self.ramping_in)?;
        }
        // An edit is made with the run's own chance; what follows is a rehearsal with another.
        fork.streams = fork.streams.rehearsal(self.start.step);
        Ok(fork.with_new_average(&self.optim))
    }

    /// One step, the `step`-th since the fork began, on batches of its `own` where it has some; false when its loss was no
    /// number.
    pub(super) fn step(
        &mut self,
        fork: TrainState,
        own: Option<&mut Batches>,
        step: u64,
    ) -> (TrainState, bool) {
        let batch = own.unwrap_or(&mut self.batches).at(self.first_batch + step - 1);
        let before = fork.progress.flops;
        let (fork, report) = fork.train_step(&batch, self.arena.config, self.arena.total_steps);
        self.flops += fork.progress.flops.since(before);
        (fork, report.is_finite())
    }
}

/// Averages as the run does, and where `steps` are asked for over no more than these.
fn averaging(optim: &OptimConfig, steps: u64) -> OptimConfig {
    let of_run = if optim.ema_decay > 0.0 { optim.ema_decay } else { 1.0 };
    let ema_decay = if steps == 0 { optim.ema_decay } else { of_run.min(1.0 - 1.0 / steps as f64) };
    OptimConfig { ema_decay, ..optim.clone() }
}
