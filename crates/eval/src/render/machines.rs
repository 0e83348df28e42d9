//! That cells of a report were computed on machines that differ.

use moelt_schema::Machine;

use super::document::{Document, Text};
use crate::{MachineCells, Report};

/// What it means, and each machine with the seeds that it ran of each arm; nothing where none differ.
pub(super) fn document(report: &Report) -> Document {
    let arms = |cells: &MachineCells| {
        let arm = |(arm, seeds): (&String, &Vec<u64>)| format!("{arm} {}", ranges(seeds));
        let arms: Vec<String> = cells.seeds.iter().map(arm).collect();
        format!(", seeds of arms: {}", arms.join("; "))
    };
    told(&report.machines, arms)
}

/// The same without seeds.
pub(super) fn summary(report: &Report) -> Document {
    told(&report.machines, |_| String::new())
}

/// A machine in words, or that it is not known.
pub(super) fn words(machine: Option<&Machine>) -> String {
    machine.map_or_else(|| "not noted".to_owned(), Machine::to_string)
}

fn told(all: &[MachineCells], cells: impl Fn(&MachineCells) -> String) -> Document {
    let mut document = Document::default();
    if !all.is_empty() {
        document.paragraph(
            "NOTE: cells were computed on machines that differ. Their seconds cannot be compared, and the last digits of their \
             results would be others on another processor.",
        );
    }
    let item = |one: &MachineCells| -> Text {
        format!("{}: {} cells{}.", words(one.machine.as_ref()), one.n_cells(), cells(one)).into()
    };
    document.list(all.iter().map(item));
    document
}

/// `600–602, 605`: ascending seeds, those that follow one another as a range.
fn ranges(seeds: &[u64]) -> String {
    let runs = seeds.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let run = |run: &[u64]| match run {
        [first, .., last] => format!("{first}–{last}"),
        _ => run.iter().map(u64::to_string).collect(),
    };
    runs.map(run).collect::<Vec<String>>().join(", ")
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Cell, CellResult};

    use super::*;
    use crate::fixtures::{NOTHING, machine, outcomes_of, plan, result};

    fn report(cpu: fn(&Cell) -> &'static str) -> Report {
        let plan = plan(&["dense", "moe"], 4);
        let of = |cell: &Cell| CellResult { machine: Some(machine(cpu(cell))), ..result(cell, 0.9) };
        let outcomes = outcomes_of(&plan, plan.cells.iter().map(of).collect());
        Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap()
    }

    #[test]
    fn each_machine_is_named_with_its_cells() {
        let mixed = report(|cell| if cell.arm == "moe" && cell.seed != 2 { "EPYC" } else { "Xeon" });
        let text = mixed.to_markdown();
        assert!(text.contains("cells were computed on machines that differ."), "{text}");
        let xeon = "- Xeon (8 CPUs, linux x86_64; threads: 1): 5 cells, seeds of arms: dense 0–3; moe 2.\n";
        let epyc = "- EPYC (8 CPUs, linux x86_64; threads: 1): 3 cells, seeds of arms: moe 0–1, 3.\n";
        assert!(text.contains(&format!("{xeon}{epyc}")), "{text}");
        let text = mixed.to_terminal();
        assert!(text.contains("Xeon (8 CPUs, linux x86_64; threads: 1): 5 cells."), "{text}");
    }

    #[test]
    fn nothing_is_said_of_machines_that_are_alike() {
        let alike = report(|_| "Xeon");
        assert!(!alike.to_markdown().contains("Xeon") && !alike.to_terminal().contains("Xeon"));
    }

    #[test]
    fn seeds_that_follow_one_another_are_a_range() {
        assert_eq!(ranges(&[600, 601, 602, 605, 607, 608]), "600–602, 605, 607–608");
        assert_eq!((ranges(&[]), ranges(&[u64::MAX])), (String::new(), u64::MAX.to_string()));
    }
}
