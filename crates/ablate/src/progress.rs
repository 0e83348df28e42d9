//! What the user sees while cells run: bars and a line per arm on a terminal, else one line per cell that has ended.

use std::{
    io::{IsTerminal, stderr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use moelt_schema::Cell;

use super::{
    standing::{Standing, about},
    tail::Steps,
};

/// Ticks of the total bar per cell: its steps are not known beforehand.
const TICKS: u64 = 1000;

/// All bars of a run, and what they tell.
pub(super) struct Progress {
    bars: MultiProgress,
    total: ProgressBar,
    arms: ProgressBar,
    counts: Mutex<Counts>,
    cells: usize,
    terminal: bool,
}

struct Counts {
    standing: Standing,
    ended: usize,
    /// Cells that run at the same time.
    jobs: usize,
}

/// How a cell has ended.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// With this accuracy on validation, after so many seconds.
    Finished(f64, f64),
    Failed,
}

impl Progress {
    /// For `cells` that are going to run, `jobs` at a time; of others `standing` knows already.
    pub(super) fn new<'a>(
        mut standing: Standing,
        cells: impl IntoIterator<Item = &'a Cell>,
        jobs: usize,
    ) -> Self {
        let mut n = 0;
        for cell in cells {
            standing.expect(cell);
            n += 1;
        }
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new(n as u64 * TICKS));
        total.set_style(style("{msg:24!} {wide_bar} {percent:>3} %  {elapsed} elapsed{prefix}"));
        total.set_message(format!("0/{n} cells"));
        let arms = bars.add(ProgressBar::new(0));
        arms.set_style(style("{msg}"));
        arms.set_message(standing.lines().join("\n"));
        let terminal = stderr().is_terminal();
        if terminal {
            total.enable_steady_tick(Duration::from_millis(500));
        }
        let counts = Mutex::new(Counts { standing, ended: 0, jobs });
        Self { bars, total, arms, counts, cells: n, terminal }
    }

    /// A bar for a cell that starts now.
    pub(super) fn cell(&self, id: &str) -> CellBar<'_> {
        let bar = self.bars.insert_before(&self.total, ProgressBar::new(0));
        bar.set_style(style("{msg:24!} {wide_bar} {pos}/{len} steps"));
        bar.set_message(id.to_owned());
        CellBar { bar, progress: self, id: id.to_owned(), ticks: 0 }
    }

    /// Counts a cell that has ended, and says how.
    pub(super) fn ended(&self, cell: &Cell, end: End, message: &str) {
        let (number, left) = self.count(|counts| {
            counts.ended += 1;
            match end {
                End::Finished(accuracy, seconds) => counts.standing.finished(cell, accuracy, seconds),
                End::Failed => counts.standing.failed(cell),
            }
        });
        // What a failed cell printed last follows in lines of their own.
        let left = if matches!(end, End::Finished(..)) { left } else { String::new() };
        self.say(&format!("[{number}/{}] {message}{left}", self.cells));
    }

    /// Counts a cell that had failed before anybody looked.
    pub(super) fn had_failed(&self, cell: &Cell) {
        self.total.inc(TICKS);
        self.count(|counts| {
            counts.ended += 1;
            counts.standing.failed(cell);
        });
    }

    /// Counts a failed cell as one that is on its way again, and says so.
    pub(super) fn again(&self, cell: &Cell) {
        self.total.dec(TICKS);
        self.count(|counts| {
            counts.ended = counts.ended.saturating_sub(1);
            counts.standing.again(cell);
        });
        self.say(&format!("{} runs again", cell.id));
    }

    /// Changes the counts and shows them; gives how many cells have ended, and how long the rest will take.
    fn count(&self, change: impl FnOnce(&mut Counts)) -> (usize, String) {
        let mut counts = self.counts();
        change(&mut counts);
        self.total.set_message(format!("{}/{} cells", counts.ended, self.cells));
        self.arms.set_message(counts.standing.lines().join("\n"));
        let left = if counts.ended < self.cells { counts.left() } else { String::new() };
        self.total.set_prefix(left.clone());
        (counts.ended, left)
    }

    /// Cells seem to run so many at a time.
    pub(super) fn set_jobs(&self, jobs: usize) {
        self.counts().jobs = jobs;
    }

    /// Prints a line, above the bars when there are any.
    pub(super) fn say(&self, line: &str) {
        let above_bars = self.terminal && self.bars.println(line).is_ok();
        if !above_bars {
            crate::tell!("{line}");
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&self) {
        self.arms.finish_and_clear();
        self.total.finish_and_clear();
    }

    fn advanced(&self, id: &str, done: f64) {
        let mut counts = self.counts();
        counts.standing.advanced(id, done);
        self.total.set_prefix(counts.left());
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing is left half done where somebody panicked.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// `, about 3 min left`; nothing while nobody knows.
    fn left(&self) -> String {
        self.standing.time_left(self.jobs).map_or(String::new(), |left| format!(", {}", about(left)))
    }
}

/// The bar of one running cell.
pub(super) struct CellBar<'a> {
    bar: ProgressBar,
    progress: &'a Progress,
    id: String,
    /// How far it has moved the total.
    ticks: u64,
}

impl CellBar<'_> {
    /// Shows how far the cell has come.
    pub(super) fn show(&mut self, steps: Steps) {
        self.bar.set_length(steps.total);
        self.bar.set_position(steps.done.min(steps.total));
        let ticks = (TICKS * steps.done).checked_div(steps.total).unwrap_or(0);
        self.progress.advanced(&self.id, ticks as f64 / TICKS as f64);
        self.advance_total(ticks);
    }

    /// Takes the bar away; the cell has ended.
    pub(super) fn end(mut self) {
        self.advance_total(TICKS);
        self.bar.finish_and_clear();
    }

    /// Takes the bar away; the cell has not ended.
    pub(super) fn hide(self) {
        self.progress.total.dec(self.ticks);
        self.bar.finish_and_clear();
    }

    fn advance_total(&mut self, ticks: u64) {
        let ticks = ticks.clamp(self.ticks, TICKS);
        self.progress.total.inc(ticks - self.ticks);
        self.ticks = ticks;
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed").progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use moelt_schema::RunConfig;

    use super::*;

    #[test]
    fn a_failed_cell_that_runs_again_is_counted_once() {
        let cells = [0, 1].map(|seed| Cell::new(RunConfig { seed, ..RunConfig::default() }));
        let progress = Progress::new(Standing::new(&cells), &cells, 1);
        let shown = || (progress.total.message(), progress.total.position());
        progress.had_failed(&cells[0]);
        assert_eq!(shown(), ("1/2 cells".to_owned(), TICKS));
        progress.again(&cells[0]);
        assert_eq!(shown(), ("0/2 cells".to_owned(), 0));
        for cell in &cells {
            progress.cell(&cell.id).end();
            progress.ended(cell, End::Finished(0.9, 1.0), "finished");
        }
        assert_eq!(shown(), ("2/2 cells".to_owned(), 2 * TICKS));
    }
}
