//! What a run says it computed, compared with a run that is counted here: from the log of every step, which tells how
//! many rows each expert got, and the sizes of the config. Nothing of the model's own count is used.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use moelt_schema::{
    Activation, Budget, Event, Flops, Pooling, RoutingConfig, RoutingStats, RunConfig, RunDir, RunRef,
    StartConfig, Unit,
};
use moelt_train::Prepared;
use tempfile::TempDir;

use support::{FROZEN, Finished, LABEL_HEAD, LOOKAHEAD, STEPS, config, finish};

/// Experts that get unlike numbers of tokens: nothing asks for an even load.
fn logged_step_by_step(control: &str, change: impl Fn(&mut RunConfig)) -> RunConfig {
    config(control, |config| {
        (config.train.log_every, config.train.load_balancing_coef) = (1, 0.0);
        config.model.pooling = Pooling::Mean;
        config.model.routing = RoutingConfig::TopK { n_experts: 5 };
        change(config);
    })
}

/// Routing of each layer, step by step.
fn routing(run: &Finished) -> Vec<Vec<RoutingStats>> {
    let window = |event: &Event| match event {
        Event::Window { steps: 1, routing, .. } => Some(routing.clone()),
        _ => None,
    };
    run.events.iter().filter_map(|record| window(&record.event)).collect()
}

/// A forward pass on `tokens` tokens in `sequences` sequences: 2 operations for each multiplication.
fn forward(config: &RunConfig, routing: &[RoutingStats], tokens: u64, sequences: u64) -> Flops {
    let model = &config.model;
    let (d, d_ff) = (model.d_model as u64, model.d_ff as u64);
    // A convolution of the tokens, if there is one, and two classes for each sequence.
    let conv_width = model.encoder.conv().map_or(0, |conv| conv.width as u64);
    let shared = 2 * (tokens * conv_width * d * d + sequences * d * 2);
    let layer = |stats: &RoutingStats| {
        let rows = if model.unit == Unit::Token { tokens } else { sequences };
        assert_eq!(stats.tokens, rows as f64);
        let n_experts = stats.tokens_per_expert.len() as u64;
        let routed = stats.tokens_per_expert.iter().sum::<f64>() as u64;
        let is_top_any = matches!(model.routing, RoutingConfig::TopAny { .. });
        let computed = if is_top_any { n_experts * rows } else { routed };
        let gate = if model.activation == Activation::Swiglu { d * d_ff } else { 0 };
        let (router, one_row) = (2 * rows * d * n_experts, 2 * (d * d_ff + d_ff * d + gate));
        Flops { computed: router + one_row * computed, unpadded: router + one_row * routed }
    };
    Flops::unpadded(shared) + routing.iter().map(layer).sum()
}

/// The whole run, a step being three forward passes.
fn counted(config: &RunConfig, run: &Finished) -> Flops {
    let mut batches = Prepared::new(config).unwrap().train;
    let routing = routing(run);
    assert_eq!(routing.len() as u64, STEPS);
    let step = |(step, routing): (u64, &Vec<RoutingStats>)| {
        let batch = batches.at(step);
        let tokens = batch.lengths.iter().map(|n| *n as u64).sum();
        forward(config, routing, tokens, batch.lengths.len() as u64) * 3
    };
    (0..).zip(&routing).map(step).sum()
}

fn run_of(config: &RunConfig) -> Finished {
    let folder = TempDir::new().unwrap();
    finish(config, &RunDir::new(folder.path().join("run")))
}

/// A name, and what makes the arm.
type Arm = (&'static str, fn(&mut RunConfig));

#[test]
fn a_run_counts_what_it_computed_and_what_of_it_was_asked_for() {
    let arms: [Arm; 5] = [
        ("top-1 of tokens", |c| c.model.top_k = 1),
        ("top-2 of tokens", |c| c.model.top_k = 2),
        ("top-1 of sequences", |c| (c.model.unit, c.model.top_k) = (Unit::Sequence, 1)),
        ("gated", |c| c.model.activation = Activation::Swiglu),
        ("top-any of tokens", |c| c.model.routing = RoutingConfig::TopAny { n_experts: 5 }),
    ];
    for (name, change) in arms {
        let config = logged_step_by_step(FROZEN, change);
        let run = run_of(&config);
        assert_eq!(run.result.flops, counted(&config, &run), "{name}");
        let Flops { computed, unpadded } = run.result.flops;
        let is_top_any = matches!(config.model.routing, RoutingConfig::TopAny { .. });
        assert_eq!(computed > unpadded, is_top_any, "{name}: {computed} {unpadded}");
        assert_eq!(run.manifest.state.flops, run.result.flops, "{name}");
    }
}

#[test]
fn experts_that_come_and_go_are_counted_as_they_are() {
    let lines = "confidence = 0.0\nhorizon = 2\nrace_every = 1\nexpert_cost = 0.0";
    let config = logged_step_by_step(&format!("{LOOKAHEAD}{lines}"), |_| {});
    let run = run_of(&config);
    assert!(run.edit_steps().len() > 1);
    let measuring = run.result.measuring_flops;
    assert_eq!(run.result.flops, counted(&config, &run) + measuring);
    assert!(measuring.unpadded > 0, "{measuring:?}");
}

/// Experts that are closed for a step compute nothing, unless a token asks for more than are open.
#[test]
fn steps_with_closed_experts_are_counted_as_they_are_computed() {
    let nested = "[control.policy.nested]\nsizes = [1, 2]\ntexts = 40";
    let gates = "[control.policy.l0_gates]\ninit = 0.0";
    for (policy, top_k, looks) in [(nested, 1, true), (nested, 2, true), (gates, 1, false)] {
        let config = logged_step_by_step(policy, |config| config.model.top_k = top_k);
        let run = run_of(&config);
        let looking = run.result.measuring_flops;
        assert_eq!(looking.computed > 0, looks);
        assert_eq!(run.result.flops, counted(&config, &run) + looking, "{policy}, top-{top_k}");
    }
}

/// A joint head asks for a second pass.
#[test]
fn a_second_pass_is_counted_like_the_first() {
    let head = format!("{LABEL_HEAD}labels = {{ entropy = {{ joint = 0.5 }} }}");
    let config = logged_step_by_step(&head, |config| config.control.edits.warmup = 0.95);
    let run = run_of(&config);
    let head = run.manifest.state.policy.head.as_ref().unwrap().flops;
    assert_eq!(run.result.flops, counted(&config, &run) * 2 + Flops::unpadded(head));
    assert_eq!(run.result.measuring_flops, Flops::unpadded(head));
}

#[test]
fn weights_that_a_run_starts_from_are_told_with_what_went_into_them() {
    let folder = TempDir::new().unwrap();
    let run = |name: &str| RunDir::new(folder.path().join(name));
    let named = |name: &str| RunRef::Folder(run(name).path().display().to_string());
    let first = finish(&config(FROZEN, |_| {}), &run("first"));
    let from = |start: StartConfig| config(FROZEN, |config| config.start = start.clone());
    assert_eq!(first.result.inherited.steps, 0);
    // The checkpoint that is started from is the best one.
    let warm = finish(&from(StartConfig::Weights { run: named("first") }), &run("warm"));
    let inherited = warm.result.inherited;
    assert_eq!(inherited.steps, first.result.best_step);
    assert!(inherited.flops.unpadded > 0 && inherited.flops.unpadded <= first.result.flops.unpadded);
    let warmer = finish(&from(StartConfig::Weights { run: named("warm") }), &run("warmer")).result.inherited;
    assert_eq!(warmer.steps, inherited.steps + warm.result.best_step);
    assert!(warmer.flops.unpadded > inherited.flops.unpadded);
    let size = finish(&from(StartConfig::Size { run: named("first") }), &run("size"));
    assert_eq!(size.result.inherited, first.result.inherited);
    // Who is to spend as much spends what was inherited, too.
    let matched = config(FROZEN, |config| config.train.budget = Budget::FlopsOf(named("warm")));
    let matched = finish(&matched, &run("matched")).result;
    assert_eq!(matched.steps, warm.result.steps + inherited.steps);
}

#[test]
fn the_last_checkpoint_is_told_beside_the_best() {
    // At this rate every few steps forget what those before had learnt.
    let restless = config(FROZEN, |config| (config.optim.lr, config.optim.ema_decay) = (0.3, 0.0));
    let run = run_of(&restless);
    let result = &run.result;
    assert!(result.best_step < STEPS, "the last step is the best one: nothing is shown");
    assert_eq!(result.last.step, STEPS);
    assert_eq!(result.last.validation, run.manifest.validation.as_ref().unwrap().accuracy);
    assert!(result.last.validation <= result.validation.accuracy);
    let short = config(FROZEN, |config| config.train.budget = Budget::Epochs(0.3));
    let result = run_of(&short).result;
    assert_eq!(result.best_step, result.last.step);
    let judged = (result.validation.accuracy, result.test.accuracy);
    assert_eq!((result.last.validation, result.last.test), judged);
}
