//! `collect --watch`: how far an ablation is, from its files alone, wherever its cells run.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;
use moelt_eval::Outcome;
use moelt_schema::{AblationPlan, Cell};

use super::{
    AblationFolder,
    collect::write_report,
    folder::CellFiles,
    progress::{CellBar, End, Progress},
    standing::Standing,
    tail::EventTail,
    told,
};
use crate::Site;

/// A cell that has written nothing for so long is not taken for one that runs. It is only a matter of what is shown.
const QUIET: Duration = Duration::from_secs(60);

/// Reports are written anew in at most this part of the time: the cells may run on this machine.
const REPORTING: u32 = 10;

/// Looks at the cells until every one has ended: shows what there is to show, and writes the reports anew when some have
/// ended. It takes nothing and locks nothing, so that it may come and go.
///
/// # Errors
/// When cells belong to another plan, or a report cannot be written.
pub(super) fn until_all_have_ended(
    site: &Site,
    folder: &AblationFolder,
    plan: &AblationPlan,
    every: Duration,
) -> Result<()> {
    folder.check_cells(plan)?;
    let mut cells = Cells::look(folder, plan);
    let progress = cells.progress(plan);
    let mut watch = Watch { site, folder, plan, progress: &progress, running: BTreeMap::new(), quiet: false };
    let mut next_report = Instant::now();
    let (mut news, mut settled) = (!cells.all_have_ended(plan), true);
    while !settled || !cells.all_have_ended(plan) {
        if news && Instant::now() >= next_report {
            let begun = Instant::now();
            write_report(site, folder, plan, &cells.outcomes)?;
            next_report = Instant::now() + REPORTING * begun.elapsed();
            news = false;
        }
        watch.show_running(&cells);
        thread::sleep(every);
        let changed = watch.show_ended(&mut cells) | watch.show_again(&mut cells);
        // What failed for want of a cell that has just ended may be about to run again.
        settled = !(changed && cells.any_has_failed());
        news |= changed;
    }
    watch.running.clear();
    progress.clear();
    Ok(())
}

/// What became of each cell, by id.
struct Cells {
    outcomes: BTreeMap<String, Outcome>,
}

impl Cells {
    fn look(folder: &AblationFolder, plan: &AblationPlan) -> Self {
        let outcome = |cell: &Cell| (cell.id.clone(), folder.cell(&cell.id).outcome(cell));
        Self { outcomes: plan.cells.iter().map(outcome).collect() }
    }

    fn has_ended(&self, cell: &Cell) -> bool {
        !matches!(self.outcomes.get(&cell.id), None | Some(Outcome::Missing))
    }

    fn all_have_ended(&self, plan: &AblationPlan) -> bool {
        plan.cells.iter().all(|cell| self.has_ended(cell))
    }

    fn has_failed(&self, cell: &Cell) -> bool {
        matches!(self.outcomes.get(&cell.id), Some(Outcome::Failed { .. }))
    }

    fn any_has_failed(&self) -> bool {
        self.outcomes.values().any(|outcome| matches!(outcome, Outcome::Failed { .. }))
    }

    /// The cells that had failed and by `now` have not: they have been started again. From here on they are on their way.
    fn started_again<'a>(&mut self, plan: &'a AblationPlan, now: impl Fn(&Cell) -> Outcome) -> Vec<&'a Cell> {
        let failed = plan.cells.iter().filter(|cell| self.has_failed(cell));
        let again: Vec<&Cell> = failed.filter(|cell| !matches!(now(cell), Outcome::Failed { .. })).collect();
        self.outcomes.extend(again.iter().map(|cell| (cell.id.clone(), Outcome::Missing)));
        again
    }

    /// Counts those without a result; the others are known.
    fn progress(&self, plan: &AblationPlan) -> Progress {
        let mut standing = Standing::new(&plan.cells);
        let mut without = Vec::new();
        for cell in &plan.cells {
            match self.outcomes.get(&cell.id) {
                Some(Outcome::Finished(result)) => {
                    standing.finished(cell, result.validation.accuracy, result.seconds);
                }
                Some(Outcome::Failed { .. } | Outcome::Missing) | None => without.push(cell),
            }
        }
        let progress = Progress::new(standing, without.iter().copied(), 1);
        without.into_iter().filter(|cell| self.has_failed(cell)).for_each(|cell| progress.had_failed(cell));
        progress
    }
}

struct Watch<'a> {
    site: &'a Site<'a>,
    folder: &'a AblationFolder,
    plan: &'a AblationPlan,
    progress: &'a Progress,
    /// By id.
    running: BTreeMap<&'a str, (CellBar<'a>, EventTail)>,
    /// Whether it has been said that nothing runs.
    quiet: bool,
}

impl<'a> Watch<'a> {
    /// Moves the bars of the cells that run, and says so when none does.
    fn show_running(&mut self, cells: &Cells) {
        let (folder, progress) = (self.folder, self.progress);
        for cell in self.plan.cells.iter().filter(|cell| !cells.has_ended(cell)) {
            let files = folder.cell(&cell.id);
            if !is_running(&files) {
                self.hide(&cell.id);
                continue;
            }
            let start = || (progress.cell(&cell.id), EventTail::new(files.run.events()));
            let (bar, tail) = self.running.entry(&cell.id).or_insert_with(start);
            bar.show(tail.poll());
        }
        progress.set_jobs(self.running.len());
        let quiet = self.running.is_empty() && !cells.all_have_ended(self.plan);
        if quiet && !self.quiet {
            let (command, name, seconds) = (self.site.command(), &self.plan.name, QUIET.as_secs());
            progress.say(&format!(
                "nothing is running: no cell has written anything for {seconds} s. Go on with: {command} run --name {name}"
            ));
        }
        self.quiet = quiet;
    }

    /// Tells of the cells that have ended since the last look; whether there are some.
    fn show_ended(&mut self, cells: &mut Cells) -> bool {
        let mut any = false;
        for cell in self.plan.cells.iter() {
            if cells.has_ended(cell) {
                continue;
            }
            let files = self.folder.cell(&cell.id);
            let outcome = files.outcome(cell);
            let (end, message) = match &outcome {
                Outcome::Missing => continue,
                Outcome::Finished(result) => {
                    (End::Finished(result.validation.accuracy, result.seconds), told::finished(cell, result))
                }
                Outcome::Failed { reason, .. } => {
                    (End::Failed, told::failed(self.site, cell, &files, reason))
                }
            };
            cells.outcomes.insert(cell.id.clone(), outcome);
            let bar = self.running.remove(cell.id.as_str()).map(|(bar, _)| bar);
            bar.unwrap_or_else(|| self.progress.cell(&cell.id)).end();
            self.progress.ended(cell, end, &message);
            any = true;
        }
        any
    }

    /// Tells of the cells that had failed and have been started again; whether there are some.
    fn show_again(&self, cells: &mut Cells) -> bool {
        let again = cells.started_again(self.plan, |cell| self.folder.cell(&cell.id).outcome(cell));
        again.iter().for_each(|cell| self.progress.again(cell));
        !again.is_empty()
    }

    /// Takes the bar of a cell that has gone quiet away; it has not ended.
    fn hide(&mut self, id: &str) {
        if let Some((bar, _)) = self.running.remove(id) {
            bar.hide();
        }
    }
}

/// Whether the cell has written something lately.
fn is_running(files: &CellFiles) -> bool {
    let fresh = |path: &Path| {
        let written = fs::metadata(path).and_then(|file| file.modified()).ok();
        // One from the future, by the clock of another machine, is fresh too.
        written.is_some_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() <= QUIET)
    };
    fresh(&files.run.events()) || fresh(&files.log)
}

#[cfg(test)]
mod tests {
    use moelt_schema::{CollapseRule, Digest, PLAN_FORMAT, RunConfig};

    use super::*;

    fn plan(seeds: u64) -> AblationPlan {
        AblationPlan {
            format: PLAN_FORMAT,
            name: "test".into(),
            moelt: "0.1.0".into(),
            code: Digest::of_bytes(b"code"),
            data: BTreeMap::new(),
            resamples: 100,
            collapse: CollapseRule::default(),
            comparisons: Vec::new(),
            cells: (0..seeds).map(|seed| Cell::new(RunConfig { seed, ..RunConfig::default() })).collect(),
        }
    }

    fn failed() -> Outcome {
        Outcome::Failed { reason: "exit status: 1".into(), log_tail: Vec::new() }
    }

    /// Of three cells two have failed; the second one of them has been started again since.
    #[test]
    fn a_failed_cell_is_on_its_way_once_it_has_been_started_again() {
        let plan = plan(3);
        let outcomes = plan.cells.iter().zip([failed(), Outcome::Missing, failed()]);
        let mut cells = Cells { outcomes: outcomes.map(|(cell, now)| (cell.id.clone(), now)).collect() };
        let now = |cell: &Cell| if cell.seed == 0 { failed() } else { Outcome::Missing };
        let again: Vec<u64> = cells.started_again(&plan, now).iter().map(|cell| cell.seed).collect();
        assert_eq!(again, [2]);
        let ended: Vec<bool> = plan.cells.iter().map(|cell| cells.has_ended(cell)).collect();
        assert_eq!((ended.as_slice(), cells.any_has_failed()), (&[true, false, false][..], true));
        assert!(cells.started_again(&plan, now).is_empty(), "it is told once");
        assert_eq!(cells.started_again(&plan, |_| Outcome::Missing).len(), 1);
        assert!(!cells.any_has_failed() && !cells.all_have_ended(&plan));
    }
}
