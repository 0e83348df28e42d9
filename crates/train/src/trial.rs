//! Candidates tried on forks: trained on the batches that keeping trains on, and compared text by text.
//!
//! The state itself is not touched but for what it cost: forks are clones. All of them train on the same batches, of the
//! texts that the run may see, in an order of their own and with dropout of their own: a trial says what an edit does in
//! coming steps like the run's, and not what it does with the luck of the very steps to come. Where the data drifts, texts are
//! those that the run would see if it drifted no more. A fork is looked at as the run will be judged: by the average of
//! its weights, where the run averages or the trial asks for it. That is the average since the fork, so that what is older does not
//! blur what the edit does.
//!
//! One fork is in memory at a time. Between two legs of a race the others wait in files.

use std::path::Path;

use moelt_control::{Gain, MeasuredEffect, Race, Replicate, StopRule, Trial, better_half, race};
use moelt_schema::{Edit, Flops, RunConfig};

use crate::{Prepared, Split, TrainError, TrainState, effect::PairedLoss, interrupt::Interrupt};

mod fork;
mod waiting;

use fork::{Came, Fork, Leg, Track};

/// What forks train and are compared with.
pub(crate) struct Arena<'a> {
    pub(crate) config: &'a RunConfig,
    pub(crate) prepared: &'a Prepared,
    /// What a model may be judged by now.
    pub(crate) validation: &'a Split,
    pub(crate) total_steps: u64,
    /// Where forks wait for one another.
    pub(crate) folder: &'a Path,
    pub(crate) interrupt: Interrupt<'a>,
}

/// A candidate in a race.
struct Racer {
    fork: Fork,
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

/// All candidates of a trial, and the fork that keeps its experts.
struct Forks<'a> {
    track: Track<'a>,
    race: Option<Race>,
    keep: Fork,
    racers: Vec<Racer>,
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
        let start = &*state;
        let race = |first_batch, texts| {
            Forks::of(Track::new(self, start, first_batch, texts, trial), trial).run(steps)
        };
        if !trial.replicate {
            let (seen, flops) = race(state.step, self.validation)?;
            state.pay(flops);
            return Ok(effects(trial, seen, None));
        }
        let (even, odd) = (self.half(0), self.half(1));
        let (seen, flops) = race(state.step, &even)?;
        let (again, more) = race(state.step + steps, &odd)?;
        state.pay(flops + more);
        Ok(effects(trial, seen, Some(again)))
    }

    /// Every second text of validation, domain by domain: both halves have as much of each.
    fn half(&self, from: usize) -> Split {
        let mut by_domain: Vec<usize> = (0..self.validation.texts.len()).collect();
        by_domain.sort_by_key(|place| self.validation.domains[*place]);
        let mut places: Vec<usize> = by_domain.into_iter().skip(from).step_by(2).collect();
        places.sort_unstable();
        self.validation.part(&places).into_owned()
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

    /// How a fork compares with the one that keeps; a fork that diverged, or is to be compared with one, gave no
    /// number.
    fn of(came: &Came, keep: &Came) -> Self {
        let steps = came.steps.min(keep.steps);
        match (&came.outputs, &keep.outputs) {
            (Some(outputs), Some(keep)) => {
                let difference = outputs.against(keep);
                let (loss_keep, loss) = (keep.loss(), outputs.loss());
                Self { steps, loss_keep, loss, difference }
            }
            _ => Self { steps, ..Self::NOTHING },
        }
    }

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

impl<'a> Forks<'a> {
    fn of(track: Track<'a>, trial: &Trial) -> Self {
        let racer = |(number, edits): (u64, &Vec<Edit>)| {
            let order = if trial.own_orders { number } else { 0 };
            Racer { fork: Fork::new(edits.clone(), order), seen: Seen::NOTHING, runs: true }
        };
        let racers = (1..).zip(&trial.candidates).map(racer).collect();
        Self { track, race: trial.race, keep: Fork::new(Vec::new(), 0), racers }
    }

    /// Trains all forks for `steps` steps, but for those that are clear before, and gives what was seen of each
    /// and what all of it cost.
    fn run(mut self, steps: u64) -> Result<(Vec<Seen>, Flops), TrainError> {
        for leg in Leg::all(steps, self.race.map_or(0, |race| race.every)) {
            if self.racers.iter().all(|racer| !racer.runs) {
                break;
            }
            self.run_leg(leg)?;
            if leg.goes_on {
                self.stop_losers();
            }
        }
        Ok((self.racers.into_iter().map(|racer| racer.seen).collect(), self.track.flops))
    }

    /// Takes every fork that runs through a leg and compares it with the one that keeps.
    fn run_leg(&mut self, leg: Leg) -> Result<(), TrainError> {
        let keep = self.track.run(&mut self.keep, leg)?;
        for racer in self.racers.iter_mut().filter(|racer| racer.runs) {
            let came = match keep.outputs {
                Some(_) => self.track.run(&mut racer.fork, leg)?,
                None => Came { steps: keep.steps, outputs: None },
            };
            racer.runs = came.outputs.is_some();
            racer.seen = Seen::of(&came, &keep);
        }
        Ok(())
    }

    fn stop_losers(&mut self) {
        let goes_on = match self.race.map(|race| race.stop) {
            None => return,
            Some(StopRule::Clear { expert_cost, confidence, training_luck }) => {
                let gain = |racer: &Racer| {
                    Gain::of(&racer.seen.effect(&racer.fork.edits), expert_cost).with_luck(training_luck)
                };
                race(&self.racers.iter().map(gain).collect::<Vec<Gain>>(), confidence)
            }
            Some(StopRule::WorseHalf) => {
                let (losses, runs): (Vec<f64>, Vec<bool>) =
                    self.racers.iter().map(|racer| (racer.seen.loss, racer.runs)).unzip();
                better_half(&losses, &runs)
            }
        };
        self.racers.iter_mut().zip(goes_on).for_each(|(racer, goes_on)| racer.runs &= goes_on);
    }
}

#[cfg(test)]
mod tests;
