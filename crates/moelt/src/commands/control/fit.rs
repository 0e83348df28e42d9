//! `moelt control fit`

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use moelt_control::head::{HeldOut, LEAST_TEACHERS, MeasuredMove, asked, held_out};
use moelt_schema::{EffectHeadConfig, LookaheadConfig, RunConfig, RunDir, load_config};
use moelt_train::taught_file;

use super::{
    held_out::HeldOutReport,
    runs::{FinishedRun, finished_runs, measured_moves},
    taught::TaughtReport,
};
use crate::cli::ControlFitArgs;

/// What a head can be asked with other values of. What was measured stays as the runs measured it.
const CAN_BE_SET: &[&str] = &[
    "control.policy.lookahead.head.act_above",
    "control.policy.lookahead.head.ask_above",
    "control.policy.lookahead.head.hidden",
    "control.policy.lookahead.head.lr",
];

pub(super) fn run(args: &ControlFitArgs) -> anyhow::Result<String> {
    let runs = finished_runs(&args.runs)?;
    same_cost(&runs)?;
    let config = config(&args.runs[0], &args.set)?;
    // Runs that looked ahead without a head are asked with the default one.
    let head = lookahead(&config).and_then(|lookahead| lookahead.head.clone()).unwrap_or_default();
    if let Some(name) = &args.taught {
        return ask(name, &runs, &head, args.json);
    }
    let told = told(&runs, &head, config.seed)?;
    let cost = expert_cost(&config);
    let report = HeldOutReport::new(&args.runs, unused_seed(&runs), &head, cost, &told);
    Ok(if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_terminal() })
}

/// What a head that was taught before says of the runs.
fn ask(name: &str, runs: &[FinishedRun], config: &EffectHeadConfig, json: bool) -> anyhow::Result<String> {
    let file = taught_file("--taught", name)?;
    let mut told = Vec::new();
    for run in runs {
        told.extend(asked(&file.head, config, &measured(run)?, run.decided.n_classes));
    }
    let unseen = "A head that was taught before is asked of what these runs measured.";
    let report = TaughtReport::new(name, &file, config, unseen, &told);
    Ok(if json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_terminal() })
}

/// That of the first run, with what is set.
fn config(first: &str, sets: &[String]) -> anyhow::Result<RunConfig> {
    for set in sets {
        let key = set.split_once('=').map_or(set.as_str(), |(key, _)| key).trim();
        if !CAN_BE_SET.contains(&key) {
            bail!(
                "--set {set}: `{key}` would change what was measured, or nothing; {} can be set",
                CAN_BE_SET.join(", ")
            );
        }
    }
    Ok(load_config(&[RunDir::new(first).config()], sets)?)
}

fn lookahead(config: &RunConfig) -> Option<&LookaheadConfig> {
    config.control.policy.lookahead()
}

/// λ, nats; none of a run that measured nothing.
fn expert_cost(config: &RunConfig) -> Option<f64> {
    lookahead(config).map(|lookahead| lookahead.expert_cost)
}

/// Gains are of one currency only when an expert costs the same everywhere.
fn same_cost(runs: &[FinishedRun]) -> anyhow::Result<()> {
    let mut costs = runs.iter().filter_map(|run| Some((run, expert_cost(&run.config)?)));
    let Some((first, cost)) = costs.next() else { return Ok(()) };
    match costs.find(|(_, other)| *other != cost) {
        None => Ok(()),
        Some((other, found)) => bail!(
            "{}: `control.policy.lookahead.expert_cost` is {found}, and {cost} in {}: their gains cannot be compared; \
             name runs with one cost",
            other.decided.name,
            first.decided.name
        ),
    }
}

fn told(runs: &[FinishedRun], head: &EffectHeadConfig, seed: u64) -> anyhow::Result<Vec<HeldOut>> {
    let measured: Vec<Vec<MeasuredMove>> = runs.iter().map(measured).collect::<anyhow::Result<_>>()?;
    let seeds = runs.iter().map(|run| run.decided.number).max().unwrap_or(0);
    if seeds <= LEAST_TEACHERS {
        bail!(
            "RUN: {seeds} seeds; a head knows nothing before it has learnt from {LEAST_TEACHERS} others: name runs \
             of {} seeds at least",
            LEAST_TEACHERS + 1
        );
    }
    let measured = measured.concat();
    held_out(head, seed, &measured).context("RUN")
}

/// A seed that none of the runs has: whoever learns from them must not be one of them.
fn unused_seed(runs: &[FinishedRun]) -> u64 {
    let seeds: BTreeSet<u64> = runs.iter().map(|run| run.decided.seed).collect();
    (0..).find(|seed| !seeds.contains(seed)).expect("there are more seeds than runs")
}

/// The moves that a run measured; one at least.
fn measured(run: &FinishedRun) -> anyhow::Result<Vec<MeasuredMove>> {
    let measured = measured_moves(run);
    if measured.is_empty() {
        bail!(
            "{}: no decision measured a move with the features that a head of this moelt sees; `control.policy` is {}: \
             train with \"lookahead\", as configs/phases/lookahead.toml does",
            run.decided.name,
            run.config.control.policy.name()
        );
    }
    Ok(measured)
}
