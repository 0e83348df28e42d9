//! Trials: what they leave as it was, see, count and refuse.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use moelt_control::{Action, Given, OwnPolicies, StatsWindow, policy};
use moelt_data::Dataset;
use moelt_optim::{export, import};
use moelt_schema::{Budget, LayerId, LookaheadConfig, PolicyConfig, PolicyState, RoutingConfig};
use tempfile::TempDir;

use super::{waiting::Waiting, *};
use crate::effect::Outputs;

const CONFIG: &str = "
    [data.planted]
    train = 320
    validation = 40
    test = 40
    [model]
    d_model = 8
    d_ff = 4
    [model.routing.top_k]
    n_experts = 3
    [train]
    batch_size = 16
    [control.edits]
    every = 3
    warmup = 0.0
    until = 1.0
    [control.policy.lookahead]
    confidence = 0.0
    race_every = 1
";
const TOTAL: u64 = 40;

/// A run after three steps, and the trial that look-ahead asks for then.
struct Run {
    config: RunConfig,
    prepared: Prepared,
    state: TrainState,
    folder: TempDir,
    interrupt: AtomicBool,
}

impl Run {
    fn new(change: impl Fn(&mut RunConfig)) -> Self {
        let mut config = RunConfig::from_toml(CONFIG).unwrap();
        change(&mut config);
        let mut prepared = Prepared::new(&config).unwrap();
        let mut state = TrainState::new(&config, &prepared, &Device::flex());
        for step in 0..3 {
            state = state.train_step(&prepared.train.at(step), &config, TOTAL).0;
        }
        let (folder, interrupt) = (TempDir::new().unwrap(), AtomicBool::new(false));
        Self { config, prepared, state, folder, interrupt }
    }

    /// That the experts at these places of the layer go, one after another.
    fn prune(&self, places: &[usize]) -> Vec<Vec<Edit>> {
        let layer = &self.state.layout.layers()[0];
        let prune = |at: &usize| vec![Edit::Prune { layer: LayerId(0), expert: layer.experts[*at] }];
        places.iter().map(prune).collect()
    }

    fn arena(&self) -> Arena<'_> {
        let validation = &self.prepared.validation;
        Arena {
            config: &self.config,
            prepared: &self.prepared,
            validation,
            total_steps: TOTAL,
            folder: self.folder.path(),
            interrupt: Interrupt::new(&self.interrupt),
        }
    }

    /// Lets the policy ask, spoils these candidates, measures, and lets the policy answer.
    fn decide(&self, steps: u64, spoilt: &[usize]) -> (Vec<Seen>, moelt_control::Decision) {
        let (state, control) = (&self.state, &self.config.control);
        let mut policy =
            policy(control, 0, TOTAL, Given::default(), PolicyState::default(), &OwnPolicies::default())
                .unwrap();
        let seen = &state.progress.decision_window;
        let (sums, loss) = (&seen.layers[..], seen.mean_loss());
        let window = StatsWindow { step: state.step, total_steps: TOTAL, sums, loss, ramping_in: &[] };
        let Action::Measure(asked) = policy.decide(&window, &state.layout).action else { panic!() };
        let trial = Trial { steps, ..asked };
        let arena = self.arena();
        let mut race = race_of(&arena, state, &trial);
        for at in spoilt {
            spoil(&race.track, &mut race.racers[*at].fork);
        }
        let (seen, _) = race.run(steps).unwrap();
        let decision = policy.observe(&window, &state.layout, &effects(&trial, seen.clone(), None));
        (seen, decision)
    }
}

/// What look-ahead is to do.
fn lookahead(config: &mut RunConfig) -> &mut LookaheadConfig {
    match &mut config.control.policy {
        PolicyConfig::Lookahead(lookahead) => lookahead,
        other => panic!("{other:?}"),
    }
}

/// A trial that is measured twice, and looked at after every step.
fn replicated_race(candidates: Vec<Vec<Edit>>, steps: u64) -> Trial {
    let stop = StopRule::Clear { expert_cost: 1e-3, confidence: 0.0, training_luck: 0.0 };
    let race = Race { every: 1, stop };
    Trial { race: Some(race), replicate: true, ..Trial::new(candidates, steps) }
}

fn race_of<'a>(arena: &'a Arena<'a>, state: &'a TrainState, trial: &Trial) -> Forks<'a> {
    Forks::of(Track::new(arena, state, state.step, arena.validation, trial), trial)
}

/// A fork of which every weight is no number.
fn spoil(track: &Track<'_>, fork: &mut Fork) {
    let mut state = track.begin(&fork.edits).unwrap();
    let mut weights = export(state.model());
    weights.values_mut().for_each(|tensor| tensor.data.fill(f32::NAN));
    state.trainable.module = import(state.model().clone(), weights).unwrap();
    fork.waiting = Some(Waiting::new(&state, track.arena.folder).unwrap());
}

/// Bits of what was seen.
fn bits(seen: &Seen) -> (u64, [u64; 4]) {
    let Seen { steps, loss_keep, loss, difference, .. } = *seen;
    (steps, [loss_keep, loss, difference.mean, difference.standard_error].map(f64::to_bits))
}

#[test]
fn a_candidate_that_diverges_is_no_number_never_chosen_and_no_bother_to_others() {
    // Pruning is worth ever so much, so that it would be chosen.
    for (race_every, steps, stopped_at) in [(1, 5, 1), (0, 5, 1), (0, 1, 1), (0, 0, 0)] {
        let run = Run::new(|config| {
            let lookahead = lookahead(config);
            (lookahead.expert_cost, lookahead.race_every) = (9.0, race_every);
        });
        let (whole, chosen) = run.decide(steps, &[]);
        let Action::Apply(best) = chosen.action else { panic!("{chosen:?}") };
        assert!(matches!(best[..], [Edit::Prune { .. }, ..]), "{best:?}");
        assert_eq!(chosen.evidence.numbers["not_finite"], 0.0);
        let n = whole.len();
        let spoilt: Vec<usize> = (0..n).filter(|at| *at >= 2).collect();
        let (seen, decision) = run.decide(steps, &spoilt);
        for at in &spoilt {
            assert!(
                !seen[*at].loss.is_finite() && !seen[*at].difference.mean.is_finite(),
                "{:?}",
                bits(&seen[*at])
            );
            assert_eq!(seen[*at].steps, stopped_at);
        }
        assert_eq!(decision.evidence.numbers["not_finite"], spoilt.len() as f64);
        assert_eq!(decision.action, Action::Keep, "{}", decision.reason);
        // Those that grow lose at once either way.
        assert!([0, 1].iter().all(|at| bits(&seen[*at]) == bits(&whole[*at])));
        let all: Vec<usize> = (0..n).collect();
        let (_, decision) = run.decide(steps, &all);
        assert_eq!(decision.action, Action::Keep);
        assert!(decision.reason.contains("none gave a number"), "{}", decision.reason);
    }
}

#[test]
fn of_candidates_that_win_the_one_that_diverges_is_passed_over() {
    let run = Run::new(|config| {
        let lookahead = lookahead(config);
        (lookahead.expert_cost, lookahead.race_every) = (9.0, 0);
        config.model.routing = RoutingConfig::TopK { n_experts: 4 };
    });
    let (whole, chosen) = run.decide(4, &[]);
    // Halving saves two experts, pruning one.
    let Action::Apply(halve) = chosen.action else { panic!("{chosen:?}") };
    let (seen, chosen) = run.decide(4, &[3]);
    let Action::Apply(prune) = chosen.action else { panic!("{chosen:?}") };
    assert_eq!((halve.len(), prune.len()), (2, 1));
    assert!((0..3).all(|at| bits(&seen[at]) == bits(&whole[at])));
}

#[test]
fn where_keeping_diverges_there_is_nothing_to_compare_with() {
    let run = Run::new(|_| {});
    let (arena, state) = (run.arena(), &run.state);
    let trial = Trial::new(run.prune(&[0, 1]), 5);
    let mut race = race_of(&arena, state, &trial);
    spoil(&race.track, &mut race.keep);
    let (seen, _) = race.run(5).unwrap();
    assert!(seen.iter().all(|seen| seen.steps == 1 && seen.loss.is_nan() && seen.difference.mean.is_nan()));
}

#[test]
fn forks_see_nothing_of_a_domain_that_has_yet_to_come() {
    // Domain 2 comes after 20 of 40 steps, domain 0 goes after 30.
    let run = Run::new(|config| {
        let planted = config.data.planted_mut().unwrap();
        (planted.domains, planted.times) = (3, 4);
        planted.live = vec![[0.0, 0.75], [0.0, 1.0], [0.5, 1.0]];
        config.train.budget = Budget::Epochs(2.0);
    });
    assert_eq!(run.prepared.total_steps, TOTAL);
    let train = run.config.data.splits(&run.config.text).unwrap().train;
    let arena = run.arena();
    let trial = Trial::new(Vec::new(), 30);
    for (now, domains) in [(20, vec![0, 1]), (21, vec![0, 1, 2]), (31, vec![1, 2])] {
        let state = TrainState { step: now, ..run.state.clone() };
        let mut track = race_of(&arena, &state, &trial).track;
        let batches = (0..trial.steps).map(|step| track.batches.at(now + step));
        let mut seen: Vec<u32> =
            batches.flat_map(|batch| batch.examples).map(|at| train[at].domain.unwrap()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, domains, "after {now} steps");
    }
}

#[test]
fn a_fork_is_judged_by_the_average_since_it_is_one() {
    // The run averages, or the trial asks for it.
    for (of_run, averaged_over) in [(0.9, 0), (0.0, 10), (0.999, 10)] {
        let run = Run::new(|config| (config.optim.ema_decay, config.optim.ema_every) = (of_run, 10));
        judged_by_the_average_since(&run, averaged_over);
    }
}

fn judged_by_the_average_since(run: &Run, averaged_over: u64) {
    let arena = run.arena();
    let expert = run.state.layout.layers()[0].experts[0];
    let edits = vec![Edit::Prune { layer: LayerId(0), expert }];
    let trial = Trial { averaged_over, ..Trial::new(Vec::new(), 0) };
    let mut track = Track::new(&arena, &run.state, run.state.step, arena.validation, &trial);
    for edits in [vec![], edits] {
        let mut fork = track.begin(&edits).unwrap();
        let judged = |fork: &TrainState| export(&fork.evaluated().unwrap());
        assert_eq!(judged(&fork), export(fork.model()));
        for (step, is_its_own) in [(1, true), (2, false)] {
            fork = track.step(fork, None, step).0;
            assert_eq!(judged(&fork) == export(fork.model()), is_its_own, "step {step}");
        }
    }
}

#[test]
fn what_a_fork_spent_before_it_diverged_is_counted() {
    let run = Run::new(|_| {});
    let (arena, state) = (run.arena(), &run.state);
    let cost = |places: &[usize], spoilt: bool| {
        let mut race = race_of(&arena, state, &Trial::new(run.prune(places), 5));
        if spoilt {
            spoil(&race.track, &mut race.racers[1].fork);
        }
        race.run(5).unwrap().1.computed
    };
    let [one, spoilt, both] = [cost(&[0], false), cost(&[0, 1], true), cost(&[0, 1], false)];
    assert!(one < spoilt && spoilt < both, "{one} {spoilt} {both}");
}

#[test]
fn measuring_leaves_everything_but_the_cost_as_it_was() {
    let mut run = Run::new(|_| {});
    let (weights, progress) = (export(run.state.model()), run.state.progress.clone());
    let trial = replicated_race(run.prune(&[0, 1]), 100);
    let (mut state, arena) = (run.state.clone(), run.arena());
    let one = arena.measure(&mut state, &trial).unwrap();
    let other = arena.measure(&mut state, &trial).unwrap();
    assert_eq!(one, other, "nothing is left of the first measurement");
    assert!(one.iter().all(|effect| effect.steps <= TOTAL - 3), "no step after the last one");
    run.state = state;
    assert_eq!(export(run.state.model()), weights);
    let paid = run.state.progress.measuring_flops;
    assert!(paid.unpadded > 0, "{paid:?}");
    assert_eq!(run.state.progress.flops, progress.flops + paid);
    (run.state.progress.flops, run.state.progress.measuring_flops) = (progress.flops, Flops::default());
    assert_eq!(run.state.progress, progress);
}

#[test]
fn legs_end_at_every_look_and_at_the_end() {
    let ends =
        |steps, every| Leg::all(steps, every).map(|leg| (leg.from, leg.to, leg.goes_on)).collect::<Vec<_>>();
    assert_eq!(ends(5, 2), [(0, 2, true), (2, 4, true), (4, 5, false)]);
    assert_eq!(ends(4, 2), [(0, 2, true), (2, 4, false)]);
    assert_eq!(ends(4, 0), [(0, 4, false)]);
    assert_eq!(ends(4, 9), [(0, 4, false)]);
    assert_eq!(ends(0, 0), [(0, 0, false)]);
    assert_eq!(ends(0, 3), [(0, 0, false)]);
}

#[test]
fn a_fork_that_waits_is_taken_up_bit_by_bit() {
    for (of_run, averaged_over) in [(0.9, 0), (0.0, 10)] {
        let run = Run::new(|config| {
            (config.optim.ema_decay, config.control.edits.ramp_in) = (of_run, 4);
        });
        waits_and_is_taken_up(&run, averaged_over);
    }
}

fn waits_and_is_taken_up(run: &Run, averaged_over: u64) {
    let arena = run.arena();
    let expert = run.state.layout.layers()[0].experts[0];
    let edits = [Edit::Prune { layer: LayerId(0), expert }];
    let trial = Trial { averaged_over, ..Trial::new(Vec::new(), 3) };
    let mut track = Track::new(&arena, &run.state, run.state.step, arena.validation, &trial);
    let mut fork = track.begin(&edits).unwrap();
    for step in 1..=3 {
        fork = track.step(fork, None, step).0;
    }
    let waiting = Waiting::new(&fork, arena.folder).unwrap();
    assert_eq!(std::fs::read_dir(arena.folder).unwrap().count(), 0, "the file has no name");
    let again = waiting.resume(track.begin(&edits).unwrap()).unwrap();
    let averages = |state: &TrainState| state.trainable.average.as_ref().unwrap().state().clone();
    for (fork, again) in
        [(fork.clone(), again.clone()), (track.step(fork, None, 4).0, track.step(again, None, 4).0)]
    {
        assert_eq!(export(again.model()), export(fork.model()));
        assert_eq!(again.trainable.optimizer.state(), fork.trainable.optimizer.state());
        assert_eq!(averages(&again), averages(&fork));
        assert_eq!((again.step, again.layout, again.progress), (fork.step, fork.layout, fork.progress));
    }
}

#[test]
fn a_race_that_is_interrupted_is_given_up_at_once() {
    let run = Run::new(|_| {});
    let arena = run.arena();
    let trial = replicated_race(run.prune(&[0, 1]), 20);
    let mut state = run.state.clone();
    run.interrupt.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(arena.measure(&mut state, &trial), Err(TrainError::Interrupted(_))));
    assert_eq!(state.progress, run.state.progress);
}

/// Forks are counted by what their steps take, with the experts that each of them has.
#[test]
fn a_race_costs_what_its_forks_computed() {
    const STEPS: u64 = 4;
    let run = Run::new(|_| {});
    let (arena, prune) = (run.arena(), run.prune(&[0]).remove(0));
    let trial = Trial::new(vec![prune.clone()], STEPS);
    let race = race_of(&arena, &run.state, &trial);
    let mut batches = race.track.batches.clone();
    let mut expected = Flops::default();
    for edits in [vec![], prune] {
        let mut fork = race.track.begin(&edits).unwrap();
        for step in run.state.step..run.state.step + STEPS {
            let batch = batches.at(step);
            fork = fork.train_step(&batch, &run.config, TOTAL).0;
            let forward = fork.model().unpadded_forward_flops(&crate::evaluate::model_input(&batch));
            expected += Flops::unpadded(forward) * 3;
        }
        expected += Outputs::of(&fork.evaluated().unwrap(), arena.validation, arena.interrupt).unwrap().flops;
    }
    assert_eq!(race.run(STEPS).unwrap().1, expected);
}
