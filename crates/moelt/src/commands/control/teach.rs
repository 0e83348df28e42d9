//! `moelt control teach`

use std::{
    collections::BTreeMap,
    io::{Write, stdout},
    process::ExitCode,
};

use anyhow::{Context, anyhow, bail};
use moelt_ablate::{INTERRUPTED, TeachingRuns, TeachingTasks, run_teaching};
use moelt_control::head::{MeasuredMove, UPDATES, left_out, teach};
use moelt_schema::{
    ConfigFiles, Digest, EffectHeadConfig, EffectRecord, Flops, Move, TaughtFile, Teaching, TeachingRanges,
    write_atomically,
};

use super::{
    runs::{FinishedRun, finished_runs, measured_moves},
    taught::TaughtReport,
};
use crate::{cli::ControlTeachArgs, commands::ablate::here};

const UNSEEN: &str =
    "Every tenth task is left out at a time, and a head that knows the others alone is asked.";

pub(super) fn run(files: &ConfigFiles, args: &ControlTeachArgs) -> anyhow::Result<ExitCode> {
    let ranges = TeachingRanges::default();
    let asked = TeachingTasks {
        name: args.name.clone(),
        first_seed: args.first_seed.unwrap_or(ranges.data_seeds[0]),
        tasks: args.tasks,
        jobs: args.jobs,
        minutes: args.minutes,
    };
    let ended = here(files.clone(), "moelt control teach", |site| run_teaching(site, &ranges, &asked))?;
    let Some(ended) = ended else {
        moelt_ablate::tell!("interrupted; tasks that are finished are kept, and the same command goes on");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    note_missing(&ended, &asked);
    let names: Vec<String> = ended.folders.iter().map(|folder| folder.display().to_string()).collect();
    let runs = finished_runs(&names)?;
    let lessons = Lessons::of(&runs)?;
    moelt_ablate::tell!(
        "fitting the head to {} measured moves of {} tasks",
        lessons.measured.len(),
        lessons.tasks
    );
    let file = lessons.taught(ranges, asked.first_seed, ended.tasks)?;
    moelt_ablate::tell!("trying heads on tasks that they were not taught");
    let config = EffectHeadConfig::default();
    let told = left_out(&config, &lessons.measured, lessons.n_classes, UPDATES).map_err(too_few)?;
    write_atomically(&args.out, file.to_json().as_bytes()).with_context(|| args.out.display().to_string())?;
    moelt_ablate::tell!("{} is written; what it is worth:", args.out.display());
    let report = TaughtReport::new(&args.out.display().to_string(), &file, &config, UNSEEN, &told);
    let text = if args.json { serde_json::to_string_pretty(&report)? + "\n" } else { report.to_terminal() };
    stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Says when fewer tasks are there than were asked for, and how to have this head again.
fn note_missing(ended: &TeachingRuns, asked: &TeachingTasks) {
    if ended.tasks < asked.tasks {
        moelt_ablate::tell!(
            "note: {} of {} tasks have ended; the same command goes on with the others, and --tasks {} makes this head again",
            ended.tasks,
            asked.tasks,
            ended.tasks
        );
    }
}

fn too_few(message: String) -> anyhow::Error {
    anyhow!("--tasks: {message}; ask for more tasks")
}

/// What tasks measured.
struct Lessons {
    measured: Vec<MeasuredMove>,
    /// Tasks that measured something.
    tasks: u64,
    n_classes: usize,
    /// Hash of the hashes of their configs.
    configs: Digest,
    /// Of all tasks that ended well.
    flops: Flops,
}

impl Lessons {
    fn of(runs: &[FinishedRun]) -> anyhow::Result<Self> {
        let Some(first) = runs.first() else {
            bail!("--tasks: none came to its end; see the folder's *.log")
        };
        let measured: Vec<Vec<MeasuredMove>> = runs.iter().map(measured_moves).collect();
        let learnt: Vec<Digest> = runs
            .iter()
            .zip(&measured)
            .filter(|(_, moves)| !moves.is_empty())
            .map(|(run, _)| run.config.digest())
            .collect();
        Ok(Self {
            tasks: learnt.len() as u64,
            n_classes: first.decided.n_classes,
            configs: Digest::of_json(&learnt),
            flops: runs.iter().map(|run| run.decided.flops).sum(),
            measured: measured.concat(),
        })
    }

    /// A head that has learnt them, of so many tasks from that seed on.
    fn taught(&self, ranges: TeachingRanges, first_seed: u64, tasks: u64) -> anyhow::Result<TaughtFile> {
        let mut head = teach(&self.records(), self.n_classes, UPDATES).map_err(too_few)?;
        let teaching = Teaching {
            first_seed,
            tasks,
            left_out: tasks - self.tasks,
            configs: self.configs,
            records: self.by_move(),
            fitting: head.flops.computed,
        };
        head.flops += self.flops;
        Ok(TaughtFile::new(env!("CARGO_PKG_VERSION"), ranges, teaching, head))
    }

    fn records(&self) -> Vec<EffectRecord> {
        self.measured.iter().map(|one| one.record.clone()).collect()
    }

    fn by_move(&self) -> BTreeMap<Move, u64> {
        let mut counts = BTreeMap::new();
        for one in &self.measured {
            *counts.entry(one.record.candidate).or_default() += 1;
        }
        counts
    }
}
