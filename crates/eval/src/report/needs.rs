//! What an arm's training takes together with the runs that it builds on.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, CellResult};
use serde::{Deserialize, Serialize};

use crate::Summary;

/// Training of a cell together with every run that it could not do without: those whose weights, size, edits, budget
/// or measurements it takes, and those which they in turn build on, each counted once per cell. Means over the seeds
/// of an arm. Cells of an arm share runs, so that a whole arm costs less than its cells one by one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithNeeds {
    /// Other cells of the plan that a cell builds on.
    pub runs: Summary,
    /// Their arms.
    pub arms: Vec<String>,
    /// Runs outside of the plan that its configs name. What they took is not known here and not counted.
    pub foreign_runs: usize,
    /// Floating-point operations that were computed, its own included.
    pub flops: Summary,
    /// Wall-clock seconds, its own included.
    pub seconds: Summary,
}

/// Operations behind what a cell's model knows: its own, those of the weights that it started from, and those of its
/// teachers. A run that gives no more than its size, its edits or its budget is not behind it.
pub(crate) fn training_flops(
    plan: &AblationPlan,
    arm: &[&Cell],
    finished: &BTreeMap<&str, &CellResult>,
) -> Option<Summary> {
    let of_cell = |cell: &&Cell| {
        let ids = reached(plan, cell, |cell| cell.teachers().collect());
        let all = ids.into_iter().chain([cell.id.as_str()]);
        all.map(|id| finished.get(id).map(|result| (result.flops + result.inherited.flops).computed as f64))
            .sum::<Option<f64>>()
    };
    Summary::of(arm.iter().map(of_cell).collect::<Option<Vec<f64>>>()?)
}

impl WithNeeds {
    /// Of these finished cells of one arm; none while a run that one builds on has no result.
    pub(crate) fn of(
        plan: &AblationPlan,
        arm: &[&Cell],
        finished: &BTreeMap<&str, &CellResult>,
    ) -> Option<Self> {
        let needed: Vec<BTreeSet<&str>> = arm.iter().map(|cell| reached(plan, cell, needs)).collect();
        let over_seeds = |number: fn(&CellResult) -> f64| -> Option<Summary> {
            let of_cell = |cell: &&Cell| sum_with_needs(plan, cell, finished, number);
            Summary::of(arm.iter().map(of_cell).collect::<Option<Vec<f64>>>()?)
        };
        let all: BTreeSet<&str> = needed.iter().flatten().copied().collect();
        let builds_on: Vec<&Cell> = plan.cells.iter().filter(|cell| all.contains(cell.id.as_str())).collect();
        let arms: BTreeSet<String> = builds_on.iter().map(|cell| cell.arm.clone()).collect();
        let foreign: BTreeSet<String> = builds_on
            .iter()
            .chain(arm)
            .flat_map(|cell| cell.foreign_runs())
            .map(|other| other.run.to_string())
            .collect();
        Some(Self {
            runs: Summary::of(needed.iter().map(|needed| needed.len() as f64))?,
            arms: arms.into_iter().collect(),
            foreign_runs: foreign.len(),
            flops: over_seeds(computed)?,
            seconds: over_seeds(|result| result.seconds)?,
        })
    }
}

/// Operations of training a cell and every run that it builds on; none while one of those has no result.
pub(crate) fn flops_with_needs(
    plan: &AblationPlan,
    cell: &Cell,
    finished: &BTreeMap<&str, &CellResult>,
) -> Option<f64> {
    sum_with_needs(plan, cell, finished, computed)
}

fn computed(result: &CellResult) -> f64 {
    result.flops.computed as f64
}

/// The sum over a cell and every run that it builds on; none while one of those has no result.
fn sum_with_needs(
    plan: &AblationPlan,
    cell: &Cell,
    finished: &BTreeMap<&str, &CellResult>,
    number: fn(&CellResult) -> f64,
) -> Option<f64> {
    let ids = reached(plan, cell, needs).into_iter().chain([cell.id.as_str()]);
    ids.map(|id| finished.get(id).map(|result| number(result))).sum()
}

/// Ids of the cells that one cell needs.
fn needs(cell: &Cell) -> Vec<&str> {
    cell.needs.iter().map(String::as_str).collect()
}

/// Ids of the cells that `cell` leads to, of those that they lead to, and so on.
fn reached<'a>(
    plan: &'a AblationPlan,
    cell: &'a Cell,
    leads_to: impl Fn(&'a Cell) -> Vec<&'a str>,
) -> BTreeSet<&'a str> {
    let (mut found, mut next) = (BTreeSet::new(), vec![cell]);
    while let Some(cell) = next.pop() {
        let new: Vec<&str> = leads_to(cell).into_iter().filter(|id| found.insert(*id)).collect();
        next.extend(plan.cells.iter().filter(|cell| new.contains(&cell.id.as_str())));
    }
    found
}

#[cfg(test)]
mod tests {
    use moelt_schema::RunConfig;

    use super::*;
    use crate::fixtures::{plan, result, taught_by};

    /// Two look-aheads teach `head`; `final` takes the size of `head`; a run outside of the plan teaches, too.
    fn family() -> AblationPlan {
        let mut plan = plan(&["lookahead", "head", "final", "moe"], 2);
        let ids: Vec<String> = plan.cells.iter().map(|cell| cell.id.clone()).collect();
        for (at, needs) in [(2, vec![1]), (3, vec![0]), (4, vec![2, 1]), (5, vec![3])] {
            plan.cells[at].needs = needs.into_iter().map(|need: usize| ids[need].clone()).collect();
        }
        plan
    }

    fn with_needs(plan: &AblationPlan, arm: &str, lost: Option<usize>) -> Option<WithNeeds> {
        let results: Vec<CellResult> = plan.cells.iter().map(|cell| result(cell, 0.9)).collect();
        let mut finished: BTreeMap<&str, &CellResult> =
            plan.cells.iter().map(|cell| cell.id.as_str()).zip(&results).collect();
        lost.map(|at| finished.remove(plan.cells[at].id.as_str()));
        let cells: Vec<&Cell> = plan.cells.iter().filter(|cell| cell.arm == arm).collect();
        WithNeeds::of(plan, &cells, &finished)
    }

    #[test]
    fn what_is_needed_by_what_is_needed_counts_once() {
        let plan = family();
        let own = result(&plan.cells[0], 0.9).flops.computed as f64;
        let of = |arm| {
            let found = with_needs(&plan, arm, None).unwrap();
            (found.runs.mean, found.flops.mean / own, found.arms.join(" "), found.seconds.mean)
        };
        assert_eq!(of("moe"), (0.0, 1.0, String::new(), 12.5));
        assert_eq!(of("head"), (1.0, 2.0, "lookahead".to_owned(), 25.0));
        assert_eq!(of("final"), (2.0, 3.0, "head lookahead".to_owned(), 37.5));
    }

    #[test]
    fn nothing_is_said_while_a_needed_run_has_no_result() {
        let plan = family();
        assert_eq!(with_needs(&plan, "head", Some(0)), None);
        assert!(with_needs(&plan, "moe", Some(0)).is_some());
    }

    /// `head` learns from a look-ahead, which had inherited as much as it spent; `final` takes no more than a size.
    #[test]
    fn teachers_and_inherited_weights_are_training_and_sizes_are_not() {
        let mut plan = family();
        for at in [2, 3] {
            let run = format!("runs/test/cells/{}", plan.cells[at].needs[0]);
            plan.cells[at].config.control.policy = taught_by(&[run]);
        }
        let mut results: Vec<CellResult> = plan.cells.iter().map(|cell| result(cell, 0.9)).collect();
        let own = results[0].flops;
        results[..2].iter_mut().for_each(|result| result.inherited.flops = own);
        let finished = plan.cells.iter().map(|cell| cell.id.as_str()).zip(&results).collect();
        let of = |arm: &str| {
            let cells: Vec<&Cell> = plan.cells.iter().filter(|cell| cell.arm == arm).collect();
            training_flops(&plan, &cells, &finished).unwrap().mean / own.computed as f64
        };
        assert_eq!(["lookahead", "head", "final", "moe"].map(of), [2.0, 3.0, 1.0, 1.0]);
    }

    #[test]
    fn runs_outside_of_the_plan_are_noticed() {
        let mut plan = family();
        let config = RunConfig { arm: "head".into(), ..RunConfig::default() };
        let mut cell = Cell::new(config);
        cell.config.control.policy = taught_by(&["runs/old".to_owned()]);
        plan.cells[2].config = cell.config;
        assert_eq!(with_needs(&plan, "head", None).unwrap().foreign_runs, 1);
        assert_eq!(with_needs(&plan, "final", None).unwrap().foreign_runs, 1, "by what it builds on");
        assert_eq!(with_needs(&plan, "moe", None).unwrap().foreign_runs, 0);
    }
}
