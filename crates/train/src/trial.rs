//! Candidates tried on forks: trained on the batches that keeping trains on, and compared text by text.
//!
//! The state itself is not touched but for what it cost: forks are clones, and batches are those that the run is
//! going to see, drawn from a copy of their order; where the data drifts, those that it would see if it drifted no
//! more. A fork is looked at as the run will be judged: by the average of its weights, where the run averages.
//! That is the average since the fork, so that what is older does not blur what the edit does.

use moelt_control::{Gain, MeasuredEffect, Replicate, Trial, race};
use moelt_data::Batches;
use moelt_schema::{Edit, Evidence, Flops, Plan, RunConfig};

use crate::{
    Prepared, Split, TrainError, TrainState,
    effect::{Outputs, PairedLoss},
};

/// What forks train and are compared with.
pub(crate) struct Arena<'a> {
    pub(crate) config: &'a RunConfig,
    pub(crate) prepared: &'a Prepared,
    /// What a model may be judged by now.
    pub(crate) selection: &'a Split,
    pub(crate) total_steps: u64,
}

/// A fork that trains.
struct Fork {
    edits: Vec<Edit>,
    /// None once its loss was not a number.
    state: Option<TrainState>,
    /// How it compared with keeping when it was looked at last.
    seen: Seen,
    runs: bool,
}

/// A comparison with the fork that keeps its experts.
#[derive(Clone, Copy)]
struct Seen {
    steps: u64,
    loss_keep: f64,
    loss: f64,
    difference: PairedLoss,
}

/// One race of all candidates.
struct Race<'a> {
    arena: &'a Arena<'a>,
    batches: Batches,
    /// The batch of the first step.
    first_batch: u64,
    texts: &'a Split,
    keep: TrainState,
    forks: Vec<Fork>,
    /// Of all that was done.
    flops: Flops,
}

impl Arena<'_> {
    /// Tries every candidate of a trial; in their order. It is part of what the run costs.
    ///
    /// # Errors
    /// When a candidate does not fit the experts.
    pub(crate) fn measure(
        &self,
        state: &mut TrainState,
        trial: &Trial,
    ) -> Result<Vec<MeasuredEffect>, TrainError> {
        // After the last step of the run there is nothing to be gained.
        let steps = trial.steps.min(self.total_steps.saturating_sub(state.step));
        if !self.config.control.replicate {
            let (seen, flops) = Race::of(self, state, trial, state.step, self.selection)?.run(steps)?;
            state.pay(flops);
            return Ok(effects(trial, seen, None));
        }
        let (even, odd) = (self.half(0), self.half(1));
        let (seen, flops) = Race::of(self, state, trial, state.step, &even)?.run(steps)?;
        let (again, more) = Race::of(self, state, trial, state.step + steps, &odd)?.run(steps)?;
        state.pay(flops + more);
        Ok(effects(trial, seen, Some(again)))
    }

    /// Every second text of selection, domain by domain: both halves have as much of each.
    fn half(&self, from: usize) -> Split {
        let mut by_domain: Vec<usize> = (0..self.selection.texts.len()).collect();
        by_domain.sort_by_key(|place| self.selection.domains[*place]);
        let mut places: Vec<usize> = by_domain.into_iter().skip(from).step_by(2).collect();
        places.sort_unstable();
        self.selection.part(&places).into_owned()
    }
}

impl TrainState {
    /// Adds what measuring, or learning from it, cost.
    pub(crate) fn pay(&mut self, flops: Flops) {
        self.progress.flops += flops;
        self.progress.measuring_flops += flops;
    }
}

fn effects(trial: &Trial, seen: Vec<Seen>, again: Option<Vec<Seen>>) -> Vec<MeasuredEffect> {
    let effect = |(at, seen): (usize, Seen)| MeasuredEffect {
        replicate: again.as_ref().map(|again| {
            let PairedLoss { mean, standard_error } = again[at].difference;
            Replicate { difference: mean, standard_error }
        }),
        ..seen.effect(&trial.candidates[at])
    };
    seen.into_iter().enumerate().map(effect).collect()
}

impl Seen {
    const NOTHING: Self = Self {
        steps: 0,
        loss_keep: f64::NAN,
        loss: f64::NAN,
        difference: PairedLoss { mean: f64::NAN, standard_error: f64::NAN },
    };

    fn effect(&self, edits: &[Edit]) -> MeasuredEffect {
        MeasuredEffect {
            edits: edits.to_vec(),
            steps: self.steps,
            loss_keep: self.loss_keep,
            loss: self.loss,
            standard_error: self.difference.standard_error,
            replicate: None,
        }
    }
}

impl<'a> Race<'a> {
    fn of(
        arena: &'a Arena<'a>,
        state: &TrainState,
        trial: &Trial,
        first_batch: u64,
        texts: &'a Split,
    ) -> Result<Self, TrainError> {
        let config = arena.config;
        // Without training an expert that is let in gradually would do nothing at all.
        let opening = if trial.steps == 0 { 0 } else { config.control.opening };
        let fork = |edits: &Vec<Edit>| {
            let mut fork = state.clone();
            let plan = Plan {
                step: state.step,
                edits: edits.clone(),
                reason: String::new(),
                evidence: Evidence::default(),
            };
            fork.edit(&plan.check(&state.layout, &config.control.limits())?, &config.optim, opening)?;
            fork.restart_average(&config.optim);
            Ok(Fork { edits: edits.clone(), state: Some(fork), seen: Seen::NOTHING, runs: true })
        };
        let forks = trial.candidates.iter().map(fork).collect::<Result<_, TrainError>>()?;
        let batches = arena.prepared.train.clone().known_after(state.step);
        let mut keep = state.clone();
        keep.restart_average(&config.optim);
        Ok(Self { arena, batches, first_batch, texts, keep, forks, flops: Flops::default() })
    }

    /// Trains all forks for `steps` steps, but for those that are clear before, and gives what was seen of each
    /// and what all of it cost.
    fn run(mut self, steps: u64) -> Result<(Vec<Seen>, Flops), TrainError> {
        let every = self.arena.config.control.race_every;
        for step in 1..=steps {
            if !self.train(step) {
                break;
            }
            if every > 0 && step.is_multiple_of(every) && step < steps {
                self.look(step)?;
                self.stop_the_clear();
            }
        }
        self.look(steps)?;
        Ok((self.forks.into_iter().map(|fork| fork.seen).collect(), self.flops))
    }

    /// One step of every fork that runs; false when none does.
    fn train(&mut self, step: u64) -> bool {
        let mut running = self.forks.iter_mut().filter(|fork| fork.runs).peekable();
        if running.peek().is_none() {
            return false;
        }
        let (config, total) = (self.arena.config, self.arena.total_steps);
        let batch = self.batches.at(self.first_batch + step - 1);
        let mut train = |state: TrainState| {
            let before = state.progress.flops;
            let (state, report) = state.train_step(&batch, config, total);
            self.flops += state.progress.flops.since(before);
            (state, report.is_finite())
        };
        for fork in running {
            fork.state = fork.state.take().map(&mut train).filter(|(_, finite)| *finite).map(|(s, _)| s);
            if fork.state.is_none() {
                (fork.runs, fork.seen) = (false, Seen { steps: step, ..Seen::NOTHING });
            }
        }
        let (keep, finite) = train(self.keep.clone());
        self.keep = keep;
        if !finite {
            // It is a step behind: there is nothing that the others could be compared with.
            for fork in self.forks.iter_mut().filter(|fork| fork.runs) {
                (fork.runs, fork.seen) = (false, Seen { steps: step, ..Seen::NOTHING });
            }
        }
        finite
    }

    /// Compares every fork that runs with keeping.
    fn look(&mut self, steps: u64) -> Result<(), TrainError> {
        if self.forks.iter().all(|fork| !fork.runs) {
            return Ok(());
        }
        let keep = Outputs::of(&self.keep.evaluated()?, self.texts);
        self.flops += keep.flops;
        for fork in self.forks.iter_mut().filter(|fork| fork.runs) {
            let Some(state) = &fork.state else { continue };
            let outputs = Outputs::of(&state.evaluated()?, self.texts);
            self.flops += outputs.flops;
            let difference = outputs.against(&keep);
            fork.seen = Seen { steps, loss_keep: keep.loss(), loss: outputs.loss(), difference };
        }
        Ok(())
    }

    fn stop_the_clear(&mut self) {
        let control = &self.arena.config.control;
        let gain = |fork: &Fork| Gain::of(&fork.seen.effect(&fork.edits), control.expert_cost);
        let gains: Vec<Gain> = self.forks.iter().map(gain).collect();
        let goes_on = race(&gains, control.confidence);
        self.forks.iter_mut().zip(goes_on).for_each(|(fork, goes_on)| fork.runs &= goes_on);
    }
}

#[cfg(test)]
mod tests;
