//! Which cell comes next, when some need the results of others.

use std::collections::BTreeSet;

use moelt_schema::Cell;

/// Cells on their way, a few at a time; it starts nothing itself.
pub(super) struct Schedule<'a> {
    /// In the order of the plan.
    waiting: Vec<&'a Cell>,
    /// Ids.
    running: BTreeSet<&'a str>,
    /// Ids of cells with a result.
    finished: BTreeSet<&'a str>,
    jobs: usize,
}

/// What to do now.
#[derive(Debug, PartialEq)]
pub(super) enum Next<'a> {
    /// Start this cell.
    Start(&'a Cell),
    /// This cell can never start: it needs that one, which will have no result.
    Refuse(&'a Cell, &'a str),
    /// Wait until a cell has ended.
    Wait,
    /// Every cell has ended.
    Done,
}

impl<'a> Schedule<'a> {
    /// Of the cells `waiting`, at most `jobs` at a time; those in `finished` have their results already.
    pub(super) fn new(waiting: Vec<&'a Cell>, finished: BTreeSet<&'a str>, jobs: usize) -> Self {
        Self { waiting, running: BTreeSet::new(), finished, jobs }
    }

    /// The next thing to do; what it says to start counts as running from now on.
    pub(super) fn next(&mut self) -> Next<'a> {
        if self.running.len() >= self.jobs {
            return Next::Wait;
        }
        if let Some((at, needed)) = self.hopeless() {
            return Next::Refuse(self.waiting.remove(at), needed);
        }
        match self.waiting.iter().position(|cell| self.unmet(cell).is_none()) {
            Some(at) => {
                let cell = self.waiting.remove(at);
                self.running.insert(&cell.id);
                Next::Start(cell)
            }
            None => self.drain(),
        }
    }

    /// What is left to do when no cell is to be started any more.
    pub(super) fn drain(&self) -> Next<'a> {
        if self.running.is_empty() { Next::Done } else { Next::Wait }
    }

    /// A running cell has ended, with a result or without.
    pub(super) fn ended(&mut self, cell: &'a Cell, with_result: bool) {
        self.running.remove(cell.id.as_str());
        if with_result {
            self.finished.insert(&cell.id);
        }
    }

    /// A waiting cell that needs one which will have no result, and that one's id. Where nothing runs and
    /// nothing is ready, cells need one another in a circle: then the first of them.
    fn hopeless(&self) -> Option<(usize, &'a str)> {
        let cells = self.waiting.iter().enumerate();
        let unmet: Vec<_> = cells.filter_map(|(at, cell)| Some((at, self.unmet(cell)?))).collect();
        let stuck = self.running.is_empty() && unmet.len() == self.waiting.len();
        let hopeless = unmet.iter().find(|(_, needed)| !self.is_coming(needed));
        hopeless.or(unmet.first().filter(|_| stuck)).copied()
    }

    /// The first cell that `cell` still needs; one that will never have a result comes first.
    fn unmet(&self, cell: &'a Cell) -> Option<&'a str> {
        let unmet = || cell.needs.iter().map(String::as_str).filter(|id| !self.finished.contains(id));
        unmet().find(|id| !self.is_coming(id)).or_else(|| unmet().next())
    }

    fn is_coming(&self, id: &str) -> bool {
        self.running.contains(id) || self.waiting.iter().any(|cell| cell.id == id)
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::RunConfig;

    use super::*;

    /// A cell with this id that needs those.
    fn cell(id: &str, needs: &[&str]) -> Cell {
        let needs = needs.iter().map(|&id| id.to_owned()).collect();
        Cell { id: id.to_owned(), ..Cell::new(RunConfig::default()).after(needs) }
    }

    fn schedule<'a>(cells: &'a [Cell], finished: &[&'a str], jobs: usize) -> Schedule<'a> {
        Schedule::new(cells.iter().collect(), finished.iter().copied().collect(), jobs)
    }

    #[test]
    fn a_cell_waits_for_what_it_needs_while_others_run() {
        let cells = [cell("child", &["parent"]), cell("parent", &[]), cell("other", &[])];
        let mut schedule = schedule(&cells, &[], 2);
        assert_eq!(schedule.next(), Next::Start(&cells[1]));
        assert_eq!(schedule.next(), Next::Start(&cells[2]));
        assert_eq!(schedule.next(), Next::Wait);
        schedule.ended(&cells[2], true);
        assert_eq!(schedule.next(), Next::Wait);
        schedule.ended(&cells[1], true);
        assert_eq!(schedule.next(), Next::Start(&cells[0]));
        assert_eq!(schedule.next(), Next::Wait);
        schedule.ended(&cells[0], true);
        assert_eq!(schedule.next(), Next::Done);
    }

    #[test]
    fn a_failure_reaches_the_children_of_children() {
        let cells = [cell("parent", &[]), cell("grandchild", &["child"]), cell("child", &["parent"])];
        let mut schedule = schedule(&cells, &[], 1);
        assert_eq!(schedule.next(), Next::Start(&cells[0]));
        schedule.ended(&cells[0], false);
        assert_eq!(schedule.next(), Next::Refuse(&cells[2], "parent"));
        assert_eq!(schedule.next(), Next::Refuse(&cells[1], "child"));
        assert_eq!(schedule.next(), Next::Done);
    }

    #[test]
    fn a_need_that_is_not_run_now_must_be_finished_already() {
        let cells = [cell("child", &["parent"])];
        assert_eq!(schedule(&cells, &[], 1).next(), Next::Refuse(&cells[0], "parent"));
        assert_eq!(schedule(&cells, &["parent"], 1).next(), Next::Start(&cells[0]));
    }

    #[test]
    fn a_circle_ends_in_refusals() {
        let cells = [cell("a", &["b"]), cell("b", &["a"]), cell("c", &[])];
        let mut schedule = schedule(&cells, &[], 2);
        assert_eq!(schedule.next(), Next::Start(&cells[2]));
        assert_eq!(schedule.next(), Next::Wait);
        schedule.ended(&cells[2], true);
        assert_eq!(schedule.next(), Next::Refuse(&cells[0], "b"));
        assert_eq!(schedule.next(), Next::Refuse(&cells[1], "a"));
        assert_eq!(schedule.next(), Next::Done);
    }

    #[test]
    fn nothing_is_left_of_waiting_cells_when_none_is_to_start() {
        let cells = [cell("a", &[]), cell("b", &[])];
        let mut schedule = schedule(&cells, &[], 1);
        assert_eq!(schedule.next(), Next::Start(&cells[0]));
        assert_eq!(schedule.drain(), Next::Wait);
        schedule.ended(&cells[0], false);
        assert_eq!(schedule.drain(), Next::Done);
    }
}
