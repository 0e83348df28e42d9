//! What the user sees while cells run: bars on a terminal, else one line per finished cell.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::tail::Steps;

/// Ticks of the total bar per cell: its steps are not known beforehand.
const TICKS: u64 = 1000;

/// All bars of a run.
pub(super) struct Progress {
    bars: MultiProgress,
    total: ProgressBar,
    cells: usize,
    terminal: bool,
}

impl Progress {
    /// For `cells` cells that are going to run.
    pub(super) fn new(cells: usize) -> Self {
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new(cells as u64 * TICKS));
        total.set_style(style("{msg:24!} {wide_bar} {percent:>3} %  {elapsed} elapsed, {eta} left"));
        total.set_message(format!("0/{cells} cells"));
        let terminal = stderr().is_terminal();
        if terminal {
            total.enable_steady_tick(Duration::from_millis(500));
        }
        Self { bars, total, cells, terminal }
    }

    /// A bar for a cell that starts now.
    pub(super) fn cell(&self, id: &str) -> CellBar {
        let bar = self.bars.insert_before(&self.total, ProgressBar::new(0));
        bar.set_style(style("{msg:24!} {wide_bar} {pos}/{len} steps"));
        bar.set_message(id.to_owned());
        CellBar { bar, total: self.total.clone(), ticks: 0 }
    }

    /// Counts a cell that has ended, and says how.
    pub(super) fn ended(&self, done: usize, message: &str) {
        self.total.set_message(format!("{done}/{} cells", self.cells));
        self.say(&format!("[{done}/{}] {message}", self.cells));
    }

    /// Prints a line, above the bars when there are any.
    pub(super) fn say(&self, line: &str) {
        let above_bars = self.terminal && self.bars.println(line).is_ok();
        if !above_bars {
            eprintln!("{line}");
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&self) {
        self.total.finish_and_clear();
    }
}

/// The bar of one running cell.
pub(super) struct CellBar {
    bar: ProgressBar,
    total: ProgressBar,
    /// How far it has moved the total.
    ticks: u64,
}

impl CellBar {
    /// Shows how far the cell has come.
    pub(super) fn show(&mut self, steps: Steps) {
        self.bar.set_length(steps.total);
        self.bar.set_position(steps.done.min(steps.total));
        self.advance_total((TICKS * steps.done).checked_div(steps.total).unwrap_or(0));
    }

    /// Takes the bar away; the cell has ended.
    pub(super) fn end(mut self) {
        self.advance_total(TICKS);
        self.bar.finish_and_clear();
    }

    fn advance_total(&mut self, ticks: u64) {
        let ticks = ticks.clamp(self.ticks, TICKS);
        self.total.inc(ticks - self.ticks);
        self.ticks = ticks;
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed").progress_chars("━╸─")
}
