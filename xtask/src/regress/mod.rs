//! `regress`: fails when an accuracy has clearly fallen below its baseline, and only then.

mod baseline;

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use moelt_ablate::{Design, INTERRUPTED, JobsArgs, Settings, Site, run_afresh};
use moelt_eval::{BaselineComparison, RegressionVerdict, Report, Summary, compare_to_baseline};
use moelt_schema::AblationPlan;

use baseline::{Accuracy, Baseline, Entry};

use crate::{ablate::Built, workspace::Workspace};

/// Preset of configs/ablations/DATASET.toml that a new baseline is made with.
const PRESET: &str = "regress";

const HELP: &str = "\
The arms, seeds and settings that the baseline was made with run again, into runs/regress-DATASET.
Same seeds, so that unchanged code gives the very same numbers and never fails by chance. An arm fails
when the whole 95 % interval of its mean accuracy minus the baseline's lies below -margin; when only a
part of it does, that is a warning. The interval is that of paired seeds, or Welch's under other seeds.

Examples:
  cargo xtask regress
  cargo xtask regress --first-seed 100
  cargo xtask regress --set optim.lr=0.0005
  cargo xtask regress --update --reason \"wider experts\"";

/// Compare accuracies with configs/baselines/DATASET.json.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct RegressArgs {
    /// Data set.
    #[arg(long, default_value = "planted")]
    dataset: String,
    /// Make what is measured now the baseline, with the settings of the preset `regress`.
    #[arg(long, requires = "reason")]
    update: bool,
    /// Why the baseline changes.
    #[arg(long, requires = "update", value_name = "WHY")]
    reason: Option<String>,
    /// The first seed, when it shall not be the baseline's.
    #[arg(long, value_name = "SEED", conflicts_with = "update")]
    first_seed: Option<u64>,
    /// Set a config key in every cell: would a change like this be noticed? May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "update")]
    sets: Vec<String>,
    #[command(flatten)]
    jobs: JobsArgs,
}

pub(crate) fn run(workspace: &Workspace, args: RegressArgs) -> Result<ExitCode> {
    let built = Built(workspace);
    let site = built.site()?;
    let path = workspace.config(&format!("baselines/{}.json", args.dataset));
    let old = Baseline::read(&path)?;
    let settings = match (&old, args.update) {
        (_, true) => Settings::of_preset(&site, &args.dataset, PRESET)?,
        (Some(baseline), false) => asked(&baseline.current.settings, &args),
        (None, false) => bail!(
            "there is no {}; make one with: cargo xtask regress --dataset {} --update --reason \"first\"",
            workspace.shown(&path),
            args.dataset
        ),
    };
    let Some((plan, report)) = measure(&site, &args, &settings)? else {
        eprintln!("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    match (old, args.reason) {
        (old, Some(reason)) => {
            Baseline::replacing(old, entry(&plan, &report, settings, reason)?).write(&path)?;
            println!("Baseline: {}", workspace.shown(&path));
            Ok(ExitCode::SUCCESS)
        }
        (Some(baseline), None) => compare(&report, &baseline),
        (None, None) => bail!("no baseline to compare with"),
    }
}

/// What the baseline was made with, and what the command line changes.
fn asked(baseline: &Settings, args: &RegressArgs) -> Settings {
    Settings {
        first_seed: args.first_seed.unwrap_or(baseline.first_seed),
        sets: baseline.sets.iter().chain(&args.sets).cloned().collect(),
        ..baseline.clone()
    }
}

/// Runs every cell anew: results of an earlier version of the code say nothing of this one.
fn measure(site: &Site, args: &RegressArgs, settings: &Settings) -> Result<Option<(AblationPlan, Report)>> {
    ensure!(settings.seeds >= 2, "a comparison needs at least 2 seeds, not {}", settings.seeds);
    let name = format!("regress-{}", args.dataset);
    let (dataset, settings, typed) = (args.dataset.clone(), settings.clone(), args.sets.len());
    let design = Design { name, dataset, settings, typed };
    let plan = design.plan(site)?;
    let Some(report) = run_afresh(site, &plan, &args.jobs)? else {
        return Ok(None);
    };
    ensure!(report.unfinished.is_empty(), "{} cell(s) failed: nothing to compare", report.unfinished.len());
    Ok(Some((plan, report)))
}

fn entry(plan: &AblationPlan, report: &Report, settings: Settings, reason: String) -> Result<Entry> {
    let arms = settings.phases.iter().map(|arm| Ok((arm.clone(), accuracy(report, arm)?)));
    Ok(Entry {
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        moelt: plan.moelt.clone(),
        code: plan.code,
        reason,
        arms: arms.collect::<Result<_>>()?,
        settings,
    })
}

/// The test accuracy of an arm.
fn accuracy(report: &Report, arm: &str) -> Result<Accuracy> {
    let results = report.arms.iter().find(|line| line.arm == arm).and_then(|line| line.results.as_ref());
    let results = results.with_context(|| format!("arm {arm} has no result"))?;
    Ok(Accuracy { summary: results.test_accuracy, by_seed: results.test_by_seed.clone() })
}

/// Prints one line per arm; fails when one is clearly worse.
fn compare(report: &Report, baseline: &Baseline) -> Result<ExitCode> {
    let mut worse = Vec::new();
    for (arm, then) in &baseline.current.arms {
        let now = accuracy(report, arm)?;
        let comparison = compare_to_baseline(&now.by_seed, &then.by_seed, baseline.margin)?;
        println!("{arm}: {}", sentence(&now.summary, &then.summary, &comparison));
        if comparison.verdict == RegressionVerdict::Worse {
            worse.push(arm.as_str());
        }
    }
    if !worse.is_empty() {
        let (date, moelt) = (&baseline.current.date, &baseline.current.moelt);
        bail!("clearly worse than the baseline of {date} (moelt {moelt}): {}", worse.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn sentence(now: &Summary, then: &Summary, comparison: &BaselineComparison) -> String {
    let [difference, lower, upper, detectable] =
        [comparison.difference, comparison.lower, comparison.upper, comparison.detectable]
            .map(|fraction| 100.0 * fraction);
    let verdict = match comparison.verdict {
        RegressionVerdict::Worse => "CLEARLY WORSE".to_owned(),
        RegressionVerdict::Fine => "fine".to_owned(),
        RegressionVerdict::Inconclusive => format!(
            "WARNING: inconclusive; with these seeds a fall of {detectable:.2} pp would have been seen \
             with probability 0.8"
        ),
    };
    format!(
        "{} % now, {} % in the baseline: {difference:+.2} pp (95 % interval {lower:+.2} to {upper:+.2}): {verdict}",
        now.percent(),
        then.percent()
    )
}
