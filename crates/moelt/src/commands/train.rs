//! `moelt train`

use std::{
    io::{Write, stdout},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use moelt_schema::{CellResult, RunDir, load_config};
use moelt_train::{Observer, Outcome, train};

use crate::{
    cli::{BadRowsArg, TrainArgs},
    progress::Bar,
};

/// Exit code of a run that was interrupted and can go on: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<ExitCode> {
    let sets: Vec<String> = args.set.iter().cloned().chain(args.bad_rows.map(BadRowsArg::set)).collect();
    let config = load_config(&args.configs, &sets)?;
    let device = args.device.open()?;
    let run = RunDir::new(&args.out);
    let interrupt = on_interrupt()?;
    let mut bar;
    let mut silent = ();
    let observer: &mut dyn Observer = if args.quiet {
        &mut silent
    } else {
        bar = Bar::new();
        &mut bar
    };
    match train(&config, &run, &device, &interrupt, observer)? {
        Outcome::Finished(result) => {
            if !args.quiet {
                stdout().write_all(summary(&result, &run).as_bytes())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Interrupted { step } => {
            eprintln!("interrupted after step {step}; checkpoint written; the same command goes on from it");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// A flag that Ctrl-C and SIGTERM set. A second Ctrl-C ends the program at once.
fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    })
    .context("Ctrl-C cannot be caught")?;
    Ok(flag)
}

/// What was chosen by first; what was judged by last, so that nobody tunes on it by habit.
fn summary(result: &CellResult, run: &RunDir) -> String {
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
