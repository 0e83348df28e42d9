//! How far an ablation is: what is known of each arm, and how long the rest will take.

use std::{collections::BTreeMap, time::Duration};

use moelt_eval::Summary;
use moelt_schema::Cell;

/// What is known of the cells of a plan so far.
pub(super) struct Standing {
    /// In the plan's order.
    arms: Vec<Arm>,
    /// Cells that are still to be run to their end, by id.
    open: BTreeMap<String, Open>,
}

struct Arm {
    name: String,
    planned: usize,
    failed: usize,
    /// On validation, of each finished cell: what somebody who watches may choose by.
    accuracies: Vec<f64>,
    /// What each finished cell took.
    seconds: Vec<f64>,
}

/// A cell on its way.
struct Open {
    arm: String,
    /// The part of its steps that is left.
    left: f64,
}

impl Standing {
    /// Of these cells, of which nothing is known and none is going to run.
    pub(super) fn new(cells: &[Cell]) -> Self {
        let mut standing = Self { arms: Vec::new(), open: BTreeMap::new() };
        for cell in cells {
            standing.arm(&cell.arm).planned += 1;
        }
        standing
    }

    /// A cell is going to run.
    pub(super) fn expect(&mut self, cell: &Cell) {
        self.open.insert(cell.id.clone(), Open { arm: cell.arm.clone(), left: 1.0 });
    }

    /// A cell has done this part of its steps.
    pub(super) fn advanced(&mut self, id: &str, done: f64) {
        if let Some(open) = self.open.get_mut(id) {
            open.left = (1.0 - done).clamp(0.0, 1.0);
        }
    }

    /// A cell has a result.
    pub(super) fn finished(&mut self, cell: &Cell, accuracy: f64, seconds: f64) {
        self.open.remove(&cell.id);
        let arm = self.arm(&cell.arm);
        arm.accuracies.push(accuracy);
        arm.seconds.push(seconds);
    }

    /// A cell has failed.
    pub(super) fn failed(&mut self, cell: &Cell) {
        self.open.remove(&cell.id);
        self.arm(&cell.arm).failed += 1;
    }

    /// A cell that has failed runs again.
    pub(super) fn again(&mut self, cell: &Cell) {
        let arm = self.arm(&cell.arm);
        arm.failed = arm.failed.saturating_sub(1);
        self.expect(cell);
    }

    fn arm(&mut self, name: &str) -> &mut Arm {
        let at = self.arms.iter().position(|arm| arm.name == name).unwrap_or_else(|| {
            let (name, accuracies, seconds) = (name.to_owned(), Vec::new(), Vec::new());
            self.arms.push(Arm { name, planned: 0, failed: 0, accuracies, seconds });
            self.arms.len() - 1
        });
        &mut self.arms[at]
    }

    /// A line per arm of which a cell has ended: how many are finished, and mean ± SD of their accuracies.
    pub(super) fn lines(&self) -> Vec<String> {
        let told: Vec<&Arm> =
            self.arms.iter().filter(|arm| arm.failed > 0 || !arm.accuracies.is_empty()).collect();
        let width = told.iter().map(|arm| arm.name.chars().count()).max().unwrap_or(0);
        told.into_iter().map(|arm| arm.line(width)).collect()
    }

    /// How long the open cells take, `jobs` at a time: each what the finished ones of its arm took in the mean, or those of
    /// all arms where there is none yet, times the part that is left; and no less than the longest of them. None while
    /// nothing is finished.
    pub(super) fn time_left(&self, jobs: usize) -> Option<Duration> {
        let of_all = Summary::of(self.arms.iter().flat_map(|arm| arm.seconds.iter().copied()))?.mean;
        let of_arm = |name: &str| {
            let arm = self.arms.iter().find(|arm| arm.name == name);
            arm.and_then(|arm| Summary::of(arm.seconds.iter().copied()))
                .map_or(of_all, |seconds| seconds.mean)
        };
        let costs = self.open.values().map(|open| open.left * of_arm(&open.arm));
        let (sum, longest) =
            costs.fold((0.0, 0.0), |(sum, longest): (f64, f64), cost| (sum + cost, longest.max(cost)));
        Duration::try_from_secs_f64(longest.max(sum / jobs.max(1) as f64)).ok()
    }
}

impl Arm {
    fn line(&self, width: usize) -> String {
        let count = format!("{}/{}", self.accuracies.len(), self.planned);
        let accuracy = Summary::of(self.accuracies.iter().copied());
        let accuracy = accuracy.map_or(String::new(), |mean| format!("  {} % on validation", mean.percent()));
        let failed = if self.failed > 0 { format!("  {} failed", self.failed) } else { String::new() };
        format!("{:width$}  {count:>7}{accuracy}{failed}", self.name)
    }
}

/// As people say it: `about 40 s left`.
pub(super) fn about(left: Duration) -> String {
    let seconds = left.as_secs_f64();
    let said = match seconds {
        ..90.0 => format!("{:.0} s", seconds.ceil()),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    };
    format!("about {said} left")
}

#[cfg(test)]
mod tests {
    use moelt_schema::RunConfig;

    use super::*;

    /// Two seeds of each arm.
    fn cells(arms: &[&str]) -> Vec<Cell> {
        let cell =
            |arm: &str, seed| Cell::new(RunConfig { arm: arm.to_owned(), seed, ..RunConfig::default() });
        arms.iter().flat_map(|arm| [0, 1].map(|seed| cell(arm, seed))).collect()
    }

    #[test]
    fn an_arm_is_told_of_when_a_cell_has_ended() {
        let cells = cells(&["dense", "split-and-drop", "moe"]);
        let mut standing = Standing::new(&cells);
        assert!(standing.lines().is_empty());
        standing.finished(&cells[0], 0.90, 1.0);
        standing.finished(&cells[1], 0.92, 1.0);
        standing.finished(&cells[2], 0.955, 1.0);
        standing.failed(&cells[3]);
        insta::assert_snapshot!(standing.lines().join("\n"), @r"
        dense               2/2  91.00 ± 1.41 % on validation
        split-and-drop      1/2  95.50 % on validation  1 failed
        ");
    }

    /// dense takes (1 + 3) / 2 = 2 s; moe is not known and takes (1 + 3 + 8) / 3 = 4 s. Half of a dense cell is left, and two of moe.
    #[test]
    fn the_time_left_is_that_of_the_arm_or_of_all() {
        let mut cells = cells(&["dense", "moe", "rule"]);
        cells.push(Cell::new(RunConfig { arm: "dense".to_owned(), seed: 2, ..RunConfig::default() }));
        let mut standing = Standing::new(&cells);
        assert_eq!(standing.time_left(1), None);
        standing.finished(&cells[0], 0.9, 1.0);
        standing.finished(&cells[1], 0.9, 3.0);
        standing.finished(&cells[4], 0.9, 8.0);
        for open in [2, 3, 6] {
            standing.expect(&cells[open]);
        }
        standing.advanced(&cells[6].id, 0.5);
        assert_eq!(standing.time_left(1), Some(Duration::from_secs(1 + 4 + 4)));
        assert_eq!(standing.time_left(2), Some(Duration::from_millis(4500)));
        assert_eq!(standing.time_left(9), Some(Duration::from_secs(4)), "no less than the longest");
        [2, 3, 6].into_iter().for_each(|open| standing.failed(&cells[open]));
        assert_eq!(standing.time_left(1), Some(Duration::ZERO));
    }

    #[test]
    fn a_cell_that_runs_again_has_not_failed() {
        let cells = cells(&["dense"]);
        let mut standing = Standing::new(&cells);
        standing.finished(&cells[0], 0.90, 8.0);
        standing.failed(&cells[1]);
        assert_eq!(standing.time_left(1), Some(Duration::ZERO));
        standing.again(&cells[1]);
        assert_eq!(standing.time_left(1), Some(Duration::from_secs(8)));
        assert_eq!(standing.lines(), ["dense      1/2  90.00 % on validation"]);
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let said = [0.2, 89.5, 90.0, 5000.0, 9000.0].map(|seconds| about(Duration::from_secs_f64(seconds)));
        assert_eq!(
            said.join(", "),
            "about 1 s left, about 90 s left, about 2 min left, about 83 min left, about 2.5 h left"
        );
    }
}
