//! What a page shows beside its report: single cells.

use std::collections::BTreeMap;

use moelt_schema::{AblationPlan, Cell, CellResult};

use crate::{Outcome, TrainingLog};

/// The cells of a report, for what a page tells of each.
#[derive(Clone, Copy)]
pub struct CellSource<'a> {
    /// The plan that the report is of.
    pub plan: &'a AblationPlan,
    /// What became of its cells, by id.
    pub outcomes: &'a BTreeMap<String, Outcome>,
    /// Reads how training a finished cell went, or says why it cannot.
    pub log: &'a dyn Fn(&Cell) -> Result<TrainingLog, String>,
    /// What to type to run a cell again.
    pub command: &'a dyn Fn(&Cell) -> String,
}

impl<'a> CellSource<'a> {
    /// The cells with a result, in the plan's order.
    pub(super) fn finished(&self) -> impl Iterator<Item = (&'a Cell, &'a CellResult)> {
        let outcomes = self.outcomes;
        self.plan.cells.iter().filter_map(move |cell| match outcomes.get(&cell.id) {
            Some(Outcome::Finished(result)) => Some((cell, &**result)),
            _ => None,
        })
    }

    /// As many of them as `budget` allows, when each takes `cost`: the first seed of every arm, then the second, and so on. In the
    /// plan's order.
    pub(super) fn within(
        &self,
        budget: usize,
        cost: impl Fn(&CellResult) -> usize,
    ) -> Vec<(&'a Cell, &'a CellResult)> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut ranked: Vec<(usize, usize, (&Cell, &CellResult))> = Vec::new();
        for (at, (cell, result)) in self.finished().enumerate() {
            let rank = seen.entry(&cell.arm).or_default();
            ranked.push((*rank, at, (cell, result)));
            *rank += 1;
        }
        ranked.sort_by_key(|(rank, at, _)| (*rank, *at));
        let mut spent = 0;
        ranked.retain(|(.., (_, result))| {
            spent += cost(result);
            spent <= budget
        });
        ranked.sort_by_key(|(_, at, _)| *at);
        ranked.into_iter().map(|(.., cell)| cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{finished, plan};

    #[test]
    fn a_budget_goes_round_the_arms() {
        let plan = plan(&["rule", "moe"], 3);
        let outcomes = finished(&plan, &[0.9; 6]);
        let source = CellSource {
            plan: &plan,
            outcomes: &outcomes,
            log: &|_| Err(String::new()),
            command: &|_| String::new(),
        };
        let shown = |budget| -> Vec<(&str, u64)> {
            source.within(budget, |_| 10).iter().map(|(cell, _)| (cell.arm.as_str(), cell.seed)).collect()
        };
        assert_eq!(shown(35), [("rule", 0), ("rule", 1), ("moe", 0)]);
        assert_eq!((shown(60).len(), shown(9).len()), (6, 0));
    }
}
