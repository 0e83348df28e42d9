//! Where a report comes from: code, data, and the command that runs each cell again.

use moelt_schema::{Cell, CellResult, Digest};

use super::source::CellSource;
use crate::{
    Report,
    render::{Column, Document, Table, Text, data_sentence, machines},
};

/// What was run, on what, and how it was judged.
pub(super) fn document(report: &Report) -> Document {
    let hash = |what: &str, digest: Digest| Text::default().plain(what).code(digest.to_string());
    let (bootstrap, os, arch) = (&report.bootstrap, std::env::consts::OS, std::env::consts::ARCH);
    let data = report.data.as_ref();
    let mut facts = vec![
        Text::default().plain(format!("Planned and run by moelt {}", report.moelt)),
        hash("Code that was planned with and ran the cells: ", report.code),
        hash("Code that judged: ", report.judged_by).plain(format!(", on {os} {arch}")),
        hash("Plan: ", report.plan),
    ];
    facts.extend(data.map(|data| hash("Data: ", data.digest)));
    facts.push(format!("Intervals: {} resamples, seed {}", bootstrap.resamples, bootstrap.seed).into());
    facts.extend(report.other_code().map(Text::from));
    let mut document = Document::default();
    document.heading(2, "Environment and data").list(facts).append(machines::document(report));
    data.iter().for_each(|data| {
        document.paragraph(data_sentence(data));
    });
    document
}

/// A row per finished cell. It names a machine where these differ.
pub(super) fn cells(report: &Report, source: &CellSource) -> Document {
    let numbers =
        ["test %", "validation %", "best step", "of steps", "experts", "seconds"].map(Column::right);
    let machines_differ = !report.machines.is_empty();
    let machine = machines_differ.then(|| Column::left("machine"));
    let columns = [Column::left("cell")].into_iter().chain(numbers).chain(machine);
    let columns = columns.chain([Column::left("to run it again")]);
    let finished: Vec<(&Cell, &CellResult)> = source.finished().collect();
    let row = |(cell, result): &(&Cell, &CellResult)| {
        let mut row = vec![
            cell.id.clone(),
            format!("{:.2}", 100.0 * result.test.accuracy),
            format!("{:.2}", 100.0 * result.validation.accuracy),
            result.best_step.to_string(),
            result.steps.to_string(),
            result.layout.n_experts().to_string(),
            format!("{:.1}", result.seconds),
        ];
        row.extend(machines_differ.then(|| machines::words(result.machine.as_ref())));
        row.push((source.command)(cell));
        row
    };
    let table = Table { columns: columns.collect(), rows: finished.iter().map(row).collect() };
    let mut document = Document::default();
    document.arm_table(table, finished.iter().map(|(cell, _)| cell.arm.as_str()));
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{NOTHING, machine, outcomes_of, plan, result},
        render::Block,
    };

    /// The title of each column of the cells, and the row of the second one, which ran on a Xeon.
    fn cells_of(first: &str) -> (Vec<String>, Vec<String>) {
        let plan = plan(&["moe"], 2);
        let of = |(cell, cpu): (&Cell, &str)| CellResult { machine: Some(machine(cpu)), ..result(cell, 0.9) };
        let outcomes = outcomes_of(&plan, plan.cells.iter().zip([first, "Xeon"]).map(of).collect());
        let report = Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap();
        let source = CellSource {
            plan: &plan,
            outcomes: &outcomes,
            log: &|_| Err(String::new()),
            command: &|_| "again".to_owned(),
        };
        let document = cells(&report, &source);
        let Some(Block::ArmTable { table, .. }) = document.blocks.first() else { panic!("{document:?}") };
        (table.columns.iter().map(|column| column.title.clone()).collect(), table.rows[1].clone())
    }

    #[test]
    fn cells_name_their_machines_where_these_differ() {
        let (columns, row) = cells_of("EPYC");
        assert_eq!(columns[6..], ["seconds", "machine", "to run it again"]);
        assert_eq!(row[6..], ["12.5", "Xeon (8 CPUs, linux x86_64; threads: 1)", "again"]);
        let (columns, row) = cells_of("Xeon");
        assert_eq!(columns[6..], ["seconds", "to run it again"]);
        assert_eq!(row[6..], ["12.5", "again"]);
    }
}
