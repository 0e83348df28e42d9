//! `moelt train`

use std::{
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::ensure;
use burn::tensor::Device;
use moelt_ablate::{INTERRUPTED, on_stop};
use moelt_control::OwnPolicies;
use moelt_schema::{Cell, CellResult, ConfigFiles, RunConfig, RunDir};
use moelt_train::{Observer, Outcome, Trainer};

use super::{minutes::shorten, recipe::layered};
use crate::{
    cli::{RunArgs, TrainArgs},
    progress::Bar,
};

pub(crate) fn run(files: &ConfigFiles, policies: &OwnPolicies, args: &TrainArgs) -> anyhow::Result<ExitCode> {
    let device = args.run.device.open()?;
    let (config, out) = config(files, args, &device)?;
    let Some((result, run)) = finish(config, out, policies, &args.run, &device)? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if !args.run.quiet {
        stdout().write_all(summary(&result, &run).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs, or goes on, to the end; none when it was interrupted.
pub(super) fn finish(
    config: RunConfig,
    out: PathBuf,
    policies: &OwnPolicies,
    args: &RunArgs,
    device: &Device,
) -> anyhow::Result<Option<(CellResult, RunDir)>> {
    let run = RunDir::new(out);
    let interrupt = on_interrupt()?;
    let mut bar;
    let mut silent = ();
    let observer: &mut dyn Observer = if args.quiet {
        &mut silent
    } else {
        bar = Bar::new();
        &mut bar
    };
    let trainer = Trainer::new(config).policies(policies).interrupt(&interrupt).observer(observer);
    match trainer.share_texts(args.texts.as_deref()).run(run.path(), device)? {
        Outcome::Finished(result) => Ok(Some((*result, run))),
        Outcome::Interrupted { step } => {
            moelt_ablate::tell!(
                "interrupted after step {step}; checkpoint written; the same command goes on from it"
            );
            Ok(None)
        }
    }
}

/// What is trained, and where the run lies.
fn config(files: &ConfigFiles, args: &TrainArgs, device: &Device) -> anyhow::Result<(RunConfig, PathBuf)> {
    ensure!(
        args.data.is_some() || !args.layers.is_empty(),
        "nothing to train on: give --data FILE, or a CONFIG (`moelt config list` shows the built-in ones)"
    );
    let mut config = layered(files, &args.layers, args.data.as_deref(), &args.columns, &args.run)?;
    let out = folder(&config, &args.run);
    if let Some(minutes) = args.minutes {
        shorten(&mut config, minutes, 1.0, &out, device)?;
    }
    Ok((config, out))
}

/// Where a run lies. One that is given no folder finds its unfinished run again by its config, before `--minutes` shortens that.
pub(super) fn folder(config: &RunConfig, args: &RunArgs) -> PathBuf {
    args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(Cell::new(config.clone()).id))
}

/// A flag that Ctrl-C and SIGTERM set. Asked a second time, the program ends at once.
fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    on_stop(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })?;
    Ok(flag)
}

/// What was chosen by first; what was judged by last, so that nobody tunes on it by habit.
pub(super) fn summary(result: &CellResult, run: &RunDir) -> String {
    format!(
        "{} seed {}: validation {:.2} % (n = {}), {} parameters ({} active), {:.0} s → {}\n\
         test {:.2} % (n = {}), judged once, at the end: do not choose or tune by it\n",
        result.arm,
        result.seed,
        100.0 * result.validation.accuracy,
        result.validation.n,
        result.n_params,
        result.n_active_params,
        result.seconds,
        run.path().display(),
        100.0 * result.test.accuracy,
        result.test.n,
    )
}
