//! On which machines the cells of a report were computed, where these differ.

use std::collections::BTreeMap;

use moelt_schema::{Cell, CellResult, Machine};
use serde::{Deserialize, Serialize};

/// The cells that came to their end on machines that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineCells {
    /// What they are like; none where the results do not say.
    pub machine: Option<Machine>,
    /// The seeds of each arm, in the plan's order.
    pub seeds: BTreeMap<String, Vec<u64>>,
}

impl MachineCells {
    /// In the order of their first cells; nothing unless two machines are known to differ.
    pub(crate) fn of(finished: &[(&Cell, &CellResult)]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (cell, result) in finished {
            let at = all.iter().position(|known| known.machine == result.machine).unwrap_or_else(|| {
                all.push(Self { machine: result.machine.clone(), seeds: BTreeMap::new() });
                all.len() - 1
            });
            all[at].seeds.entry(cell.arm.clone()).or_default().push(cell.seed);
        }
        let known = all.iter().filter(|cells| cells.machine.is_some()).count();
        if known > 1 { all } else { Vec::new() }
    }

    /// How many cells they are.
    pub fn n_cells(&self) -> usize {
        self.seeds.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Report,
        fixtures::{NOTHING, machine, outcomes_of, plan, result},
    };

    /// Two arms with two seeds each, run on these machines.
    fn machines(on: [Option<&str>; 4]) -> Vec<MachineCells> {
        let plan = plan(&["dense", "moe"], 2);
        let of =
            |(cell, on): (&Cell, Option<&str>)| CellResult { machine: on.map(machine), ..result(cell, 0.9) };
        let outcomes = outcomes_of(&plan, plan.cells.iter().zip(on).map(of).collect());
        Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap().machines
    }

    #[test]
    fn machines_are_told_where_two_are_known_to_differ() {
        assert!(machines([None; 4]).is_empty());
        assert!(machines([Some("A"); 4]).is_empty());
        assert!(machines([None, Some("A"), Some("A"), None]).is_empty(), "nobody knows of the others");
        let told = |cells: &MachineCells| {
            let cpu = cells.machine.as_ref().map_or("unknown", |machine| &machine.cpu);
            format!("{cpu}: {} of {:?}", cells.n_cells(), cells.seeds)
        };
        assert_eq!(
            machines([Some("B"), Some("A"), None, Some("B")]).iter().map(told).collect::<Vec<_>>(),
            [
                r#"B: 2 of {"dense": [0], "moe": [1]}"#,
                r#"A: 1 of {"dense": [1]}"#,
                r#"unknown: 1 of {"moe": [0]}"#
            ]
        );
    }

    #[test]
    fn a_report_has_no_such_key_where_machines_do_not_differ() {
        let plan = plan(&["dense"], 2);
        let results = |on: [&str; 2]| {
            let of =
                |(cell, on): (&Cell, &str)| CellResult { machine: Some(machine(on)), ..result(cell, 0.9) };
            outcomes_of(&plan, plan.cells.iter().zip(on).map(of).collect())
        };
        let json = |on| {
            let report = Report::new(&plan, &results(on), &NOTHING, plan.code).unwrap();
            serde_json::to_string(&report).unwrap()
        };
        assert!(!json(["A", "A"]).contains("\"machines\""));
        let report: Report = serde_json::from_str(&json(["A", "B"])).unwrap();
        assert_eq!(report.machines.len(), 2);
    }

    #[test]
    fn a_result_that_notes_no_machine_is_read() {
        let result = result(&plan(&["dense"], 1).cells[0], 0.9);
        let json = serde_json::to_string(&result).unwrap();
        assert!(!json.contains("machine"), "as it was written before machines were noted");
        assert_eq!(serde_json::from_str::<CellResult>(&json).unwrap(), result);
    }
}
