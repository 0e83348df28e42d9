//! Where a report comes from: code, data, and the command that runs each cell again.

use moelt_schema::{Cell, CellResult, Digest};

use super::source::CellSource;
use crate::{
    Report,
    render::{Column, Document, Table, Text, data_sentence},
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
    document.heading(2, "Environment and data").list(facts);
    data.iter().for_each(|data| {
        document.paragraph(data_sentence(data));
    });
    document
}

/// A row per finished cell.
pub(super) fn cells(source: &CellSource) -> Document {
    let numbers =
        ["test %", "validation %", "best step", "of steps", "experts", "seconds"].map(Column::right);
    let columns = [Column::left("cell")].into_iter().chain(numbers).chain([Column::left("to run it again")]);
    let finished: Vec<(&Cell, &CellResult)> = source.finished().collect();
    let row = |(cell, result): &(&Cell, &CellResult)| {
        vec![
            cell.id.clone(),
            format!("{:.2}", 100.0 * result.test.accuracy),
            format!("{:.2}", 100.0 * result.validation.accuracy),
            result.best_step.to_string(),
            result.steps.to_string(),
            result.layout.n_experts().to_string(),
            format!("{:.1}", result.seconds),
            (source.command)(cell),
        ]
    };
    let table = Table { columns: columns.collect(), rows: finished.iter().map(row).collect() };
    let mut document = Document::default();
    document.arm_table(table, finished.iter().map(|(cell, _)| cell.arm.as_str()));
    document
}
