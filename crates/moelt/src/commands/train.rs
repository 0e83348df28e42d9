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
use moelt_train::{LoadedModel, Observer, Outcome, Trainer};

use super::{
    minutes::shorten,
    recipe::layered,
    refit,
    words::{accuracy, judged},
};
use crate::{
    cli::{RunArgs, TrainArgs},
    progress::Bar,
};

pub(crate) fn run(files: &ConfigFiles, policies: &OwnPolicies, args: &TrainArgs) -> anyhow::Result<ExitCode> {
    let device = args.run.device.open()?;
    let (config, run) = config(files, args, &device)?;
    let interrupt = on_interrupt()?;
    let to_the_end =
        |config: &RunConfig, run: &RunDir| finish(config, run, policies, &args.run, &device, &interrupt);
    let note = |note: &str| {
        if !args.run.quiet {
            moelt_ablate::tell!("note: {note}")
        }
    };
    let say = |text: String| if args.run.quiet { Ok(()) } else { stdout().write_all(text.as_bytes()) };
    let Some(result) = to_the_end(&config, &run)? else { return Ok(ExitCode::from(INTERRUPTED)) };
    say(summary(&result, &run))?;
    if !args.refits() {
        if LoadedModel::answering(run.path()) != run.path() {
            note(&format!("{} is of before, and still answers", run.refit().path().display()));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let refit = match refit::config(&config, &result) {
        Ok(refit) => refit,
        Err(reason) => {
            note(&format!("not trained again on all texts: {reason}"));
            return Ok(ExitCode::SUCCESS);
        }
    };
    refit::check_texts(&config, result.data)?;
    let Some(again) = to_the_end(&refit, &run.refit())? else { return Ok(ExitCode::from(INTERRUPTED)) };
    say(refit::summary(&again, &result, &run.refit()))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs, or goes on, to the end; none when it was interrupted.
pub(super) fn finish(
    config: &RunConfig,
    run: &RunDir,
    policies: &OwnPolicies,
    args: &RunArgs,
    device: &Device,
    interrupt: &AtomicBool,
) -> anyhow::Result<Option<CellResult>> {
    let mut bar;
    let mut silent = ();
    let observer: &mut dyn Observer = if args.quiet {
        &mut silent
    } else {
        bar = Bar::new();
        &mut bar
    };
    let trainer = Trainer::new(config.clone()).policies(policies).interrupt(interrupt).observer(observer);
    match trainer.share_texts(args.texts.as_deref()).run(run.path(), device)? {
        Outcome::Finished(result) => Ok(Some(*result)),
        Outcome::Interrupted { step } => {
            moelt_ablate::tell!(
                "interrupted after step {step}; checkpoint written; the same command goes on from it"
            );
            Ok(None)
        }
    }
}

/// What is trained, and where the run lies.
fn config(files: &ConfigFiles, args: &TrainArgs, device: &Device) -> anyhow::Result<(RunConfig, RunDir)> {
    ensure!(
        args.data.is_some() || !args.layers.is_empty(),
        "nothing to train on: give --data FILE, or a CONFIG (`moelt config list` shows the built-in ones)"
    );
    let mut config = layered(files, &args.layers, args.data.as_deref(), &args.columns, &args.run)?;
    let run = folder(&config, &args.run);
    if let Some(minutes) = args.minutes {
        let overhead = if args.refits() { refit::overhead(&config) } else { 1.0 };
        shorten(&mut config, minutes, overhead, &run, device)?;
    }
    Ok((config, run))
}

/// Where a run lies. One that is given no folder finds its unfinished run again by its config, before `--minutes` shortens that.
pub(super) fn folder(config: &RunConfig, args: &RunArgs) -> RunDir {
    RunDir::new(args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(Cell::new(config.clone()).id)))
}

/// A flag that Ctrl-C and SIGTERM set. Asked a second time, the program ends at once.
pub(super) fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
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
    let test = match result.test.n {
        0 => String::new(),
        _ => {
            format!(
                "test {}, judged once, at the end: do not choose or tune by it\n",
                judged(result.test.accuracy, result.test.n)
            )
        }
    };
    format!(
        "{} seed {}: validation {}, {} parameters ({} active), {:.0} s → {}\n{test}",
        result.arm,
        result.seed,
        accuracy(&result.validation),
        result.n_params,
        result.n_active_params,
        result.seconds,
        run.path().display(),
    )
}
