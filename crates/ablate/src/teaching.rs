//! Teaching tasks: small planted runs, drawn at random, that measure what moves do. They teach a head once that decides
//! on other data later.
//!
//! All tasks that can be drawn are the cells of one plan; how many of them are run is another question. So whoever wants
//! more tasks later keeps those that are there.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use moelt_schema::{
    AblationPlan, Cell, CollapseRule, PLAN_FORMAT, RunConfig, Stream, Streams, TeachingRanges,
};
use rand::RngExt;

use crate::{AblationFolder, Site, engine::How, plan_file, run_cells};

/// What tasks are made of, before what is drawn.
const LAYERS: [&str; 2] = ["datasets/planted", "phases/teach"];

const BATCH_SIZE: u64 = 64;

/// A decision follows every 16th of a run, as in the arm `lookahead` on planted data …
const DECISIONS: u64 = 16;

/// … and candidates train an eighth of it.
const HORIZONS: u64 = 8;

/// Of the draws.
const SEED: u64 = 0;

/// Which teaching tasks are to be run, and how.
#[derive(Clone, Debug)]
pub struct TeachingTasks {
    /// Folder below `runs/`.
    pub name: String,
    /// Seed of the first task's data.
    pub first_seed: u64,
    /// How many.
    pub tasks: u64,
    /// Tasks that run at the same time, one thread each.
    pub jobs: NonZeroUsize,
    /// No task is started later than so many minutes from now.
    pub minutes: Option<f64>,
}

/// Teaching tasks that have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeachingRuns {
    /// Run folders of the tasks that came to their end, in the order of their seeds, up to the first one that has not
    /// been run yet: what a head learns does not depend on which of several at a time was faster.
    pub folders: Vec<PathBuf>,
    /// Tasks before that one, those that failed included.
    pub tasks: u64,
}

/// Runs teaching tasks that are not finished yet. None after Ctrl-C.
///
/// # Errors
/// When there are no such tasks, the folder holds others, or a file cannot be written.
pub fn run_teaching(
    site: &Site,
    ranges: &TeachingRanges,
    asked: &TeachingTasks,
) -> Result<Option<TeachingRuns>> {
    let places = places(ranges, asked)?;
    let until = asked.minutes.map(time_in).transpose()?;
    let plan = plan(site, ranges, &asked.name)?;
    let folder = AblationFolder::named(site, &asked.name)?;
    plan_file::settle(site, &folder, &plan)?;
    let cells: Vec<&Cell> = plan.cells[places].iter().collect();
    if run_cells(site, &folder, &plan, &cells, &How { until, ..How::new(asked.jobs) })?.is_none() {
        return Ok(None);
    }
    Ok(Some(ended(&folder, &cells)))
}

/// The places of the tasks among all that can be drawn.
fn places(ranges: &TeachingRanges, asked: &TeachingTasks) -> Result<std::ops::Range<usize>> {
    let [first, last] = ranges.data_seeds;
    let end = asked.first_seed.checked_add(asked.tasks).context("--tasks: seeds are 64-bit numbers")?;
    ensure!(
        asked.tasks > 0 && asked.first_seed >= first && end <= last + 1,
        "--first-seed {} --tasks {}: the data of teaching tasks have seeds {first} to {last}, one each, which no run \
         that is judged uses",
        asked.first_seed,
        asked.tasks
    );
    Ok((asked.first_seed - first) as usize..(end - first) as usize)
}

fn time_in(minutes: f64) -> Result<Instant> {
    ensure!(minutes.is_finite() && minutes > 0.0, "--minutes must be above 0, not {minutes}");
    let time =
        Duration::try_from_secs_f64(60.0 * minutes).ok().and_then(|wait| Instant::now().checked_add(wait));
    time.with_context(|| format!("--minutes {minutes}: is longer than any clock runs"))
}

/// All tasks that can be drawn.
fn plan(site: &Site, ranges: &TeachingRanges, name: &str) -> Result<AblationPlan> {
    let [first, last] = ranges.data_seeds;
    let cell = |data_seed| Ok(Cell::new(task(site, ranges, data_seed)?));
    Ok(AblationPlan {
        format: PLAN_FORMAT,
        name: name.to_owned(),
        moelt: env!("CARGO_PKG_VERSION").to_owned(),
        code: site.code()?,
        data: Default::default(),
        // Nothing is judged.
        resamples: 1,
        collapse: CollapseRule::default(),
        comparisons: Vec::new(),
        cells: (first..=last).map(cell).collect::<Result<_>>()?,
    })
}

/// The task whose data have this seed.
fn task(site: &Site, ranges: &TeachingRanges, data_seed: u64) -> Result<RunConfig> {
    let layers = LAYERS.map(|name| site.config(name)).into_iter().collect::<Result<_>>()?;
    Ok(site.configs().load_texts(layers, &sets(ranges, data_seed))?)
}

/// What is drawn for a task, as one would type it.
fn sets(ranges: &TeachingRanges, data_seed: u64) -> Vec<String> {
    let mut rng = Streams::new(SEED).rng(Stream::TeachingTasks, data_seed);
    let mut draw = |[from, to]: [u64; 2]| rng.random_range(from..=to);
    let (train, steps) = (draw(ranges.train), draw(ranges.steps));
    let [first_data, _] = ranges.data_seeds;
    let [first_run, last_run] = ranges.run_seeds;
    let run_seed = first_run + (data_seed - first_data) % (last_run + 1 - first_run);
    let epochs = steps as f64 / train.div_ceil(BATCH_SIZE) as f64;
    vec![
        format!("seed={run_seed}"),
        format!("data.planted.seed={data_seed}"),
        format!("data.planted.train={train}"),
        format!("data.planted.domains={}", draw(ranges.domains)),
        format!("data.planted.polar_agreement={}", draw(ranges.polar_agreement) as f64 / 1000.0),
        format!("data.planted.label_noise={}", draw(ranges.label_noise) as f64 / 1000.0),
        format!("model.d_model={}", draw(ranges.d_model)),
        format!("model.d_ff={}", draw(ranges.d_ff)),
        format!("model.routing.top_k.n_experts={}", draw(ranges.n_experts)),
        format!("train.batch_size={BATCH_SIZE}"),
        format!("train.budget.epochs={epochs}"),
        // Nothing is chosen by validation.
        format!("train.eval_every={steps}"),
        format!("control.edits.every={}", steps / DECISIONS),
        format!("control.policy.lookahead.horizon={}", steps / HORIZONS),
    ]
}

/// See [`TeachingRuns`].
fn ended(folder: &AblationFolder, cells: &[&Cell]) -> TeachingRuns {
    let mut ended = TeachingRuns { folders: Vec::new(), tasks: 0 };
    for cell in cells {
        let files = folder.cell(&cell.id);
        match files.result(cell) {
            Ok(Some(_)) if !files.failed.exists() => ended.folders.push(files.run.path().to_owned()),
            _ if files.failed.exists() => {}
            _ => break,
        }
        ended.tasks += 1;
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use moelt_schema::Digest;

    use super::*;
    use crate::{Program, config_files};

    struct NoProgram;

    impl Program for NoProgram {
        fn code(&self) -> Result<Digest> {
            Ok(Digest::of_bytes(b"code"))
        }

        fn binary(&self) -> Result<PathBuf> {
            anyhow::bail!("nothing runs here")
        }

        fn command(&self) -> &str {
            "moelt control teach"
        }

        fn root(&self) -> &str {
            "here"
        }
    }

    fn in_a_folder<T>(work: impl FnOnce(&Site) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let files = config_files(folder.path().join("configs"));
        work(&Site::new(folder.path(), files, &NoProgram).unwrap())
    }

    #[test]
    fn tasks_lie_within_their_ranges_and_are_all_different() {
        let ranges = TeachingRanges { data_seeds: [5000, 5059], ..TeachingRanges::default() };
        let plan = in_a_folder(|site| plan(site, &ranges, "teach").unwrap());
        assert_eq!((plan.cells.len(), plan.check()), (60, Ok(())));
        let mut sizes = BTreeSet::new();
        for (at, cell) in (0..).zip(&plan.cells) {
            let config = &cell.config;
            let planted = config.data.planted().unwrap();
            assert_eq!((planted.seed, config.seed, config.arm.as_str()), (5000 + at, 500 + at, "teach"));
            let steps =
                (planted.train.div_ceil(64) as f64 * config.train.budget.epochs().unwrap()).round() as u64;
            let lookahead = config.control.policy.lookahead().unwrap();
            assert_eq!((config.control.edits.every, lookahead.horizon), (steps / 16, steps / 8));
            let n_experts = config.model.routing.n_experts();
            for (value, [from, to]) in [
                (planted.domains as u64, ranges.domains),
                (planted.train as u64, ranges.train),
                (steps, ranges.steps),
                (config.model.d_model as u64, ranges.d_model),
                (config.model.d_ff as u64, ranges.d_ff),
                (n_experts as u64, ranges.n_experts),
                ((1000.0 * planted.label_noise).round() as u64, ranges.label_noise),
                ((1000.0 * planted.polar_agreement).round() as u64, ranges.polar_agreement),
            ] {
                assert!((from..=to).contains(&value), "{value} {from} {to}");
            }
            sizes.insert(n_experts);
        }
        assert!(sizes.len() > 10, "{sizes:?}");
    }

    #[test]
    fn a_task_does_not_depend_on_how_many_there_are() {
        let more = TeachingRanges::default();
        let fewer = TeachingRanges { data_seeds: [5000, 5003], ..TeachingRanges::default() };
        assert_eq!(sets(&more, 5003), sets(&fewer, 5003));
        assert_ne!(sets(&more, 5003)[3..], sets(&more, 5002)[3..]);
    }

    #[test]
    fn tasks_that_are_not_there_are_refused() {
        let asked = |first_seed, tasks| TeachingTasks {
            name: "teach".to_owned(),
            first_seed,
            tasks,
            jobs: NonZeroUsize::MIN,
            minutes: None,
        };
        let places = |first_seed, tasks| places(&TeachingRanges::default(), &asked(first_seed, tasks));
        assert_eq!(places(5000, 2000).unwrap(), 0..2000);
        assert_eq!(places(6990, 10).unwrap(), 1990..2000);
        for (first_seed, tasks) in [(4999, 1), (5000, 2001), (6999, 2), (5000, 0), (u64::MAX, 1)] {
            let message = places(first_seed, tasks).unwrap_err().to_string();
            assert!(message.starts_with("--"), "{message}");
        }
        assert!(time_in(0.0).is_err() && time_in(f64::NAN).is_err() && time_in(1e300).is_err());
    }
}
