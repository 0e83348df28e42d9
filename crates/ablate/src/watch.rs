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
    let mut news = !cells.all_have_ended(plan);
    while !cells.all_have_ended(plan) {
        if news && Instant::now() >= next_report {
            let begun = Instant::now();
            write_report(site, folder, plan, &cells.outcomes)?;
            next_report = Instant::now() + REPORTING * begun.elapsed();
            news = false;
        }
        watch.show_running(&cells);
        thread::sleep(every);
        news |= watch.show_ended(&mut cells);
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

    /// Bars for those that have not ended; the others are known.
    fn progress(&self, plan: &AblationPlan) -> Progress {
        let mut standing = Standing::new(&plan.cells);
        for cell in &plan.cells {
            match self.outcomes.get(&cell.id) {
                Some(Outcome::Finished(result)) => {
                    standing.finished(cell, result.validation.accuracy, result.seconds);
                }
                Some(Outcome::Failed { .. }) => standing.failed(cell),
                Some(Outcome::Missing) | None => {}
            }
        }
        Progress::new(standing, plan.cells.iter().filter(|cell| !self.has_ended(cell)), 1)
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
        let quiet = self.running.is_empty();
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
