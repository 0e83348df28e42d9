//! Arms on a stream, for people.

use super::{
    arms::{experts, none},
    document::{Column, Document, Table, Text},
};
use crate::{ArmReport, ArmResults, Report, StreamResults, Summary};

/// Title, a row for each arm of the short table, and a legend. Nothing where domains do not come and go.
pub(super) fn document(report: &Report) -> Document {
    let mut document = Document::default();
    let on_stream = |arm: &&ArmReport| arm.results.as_ref().is_some_and(|results| results.stream.is_some());
    let shown: Vec<&ArmReport> = report.answer().arms.into_iter().filter(on_stream).collect();
    if shown.is_empty() {
        return document;
    }
    let left_out = report.arms.iter().filter(on_stream).count() - shown.len();
    let rows = shown.iter().map(|arm| arm.arm.as_str());
    document.heading(2, "Stream").arm_table(table(&shown), rows).paragraph(legend(left_out));
    document
}

fn table(arms: &[&ArmReport]) -> Table {
    let columns = vec![
        Column::left("arm"),
        Column::right("at the end %"),
        Column::right("over the whole stream %"),
        Column::right("forgetting pp"),
        Column::right("experts"),
    ];
    let row = |arm: &&ArmReport| {
        let results = arm.results.as_ref();
        let numbers = results.and_then(|results| Some(numbers(results, results.stream.as_ref()?)));
        [vec![arm.title()], numbers.unwrap_or_default()].concat()
    };
    Table { columns, rows: arms.iter().map(row).collect() }
}

fn numbers(results: &ArmResults, stream: &StreamResults) -> Vec<String> {
    let percent = |summary: &Summary| summary.percent().to_string();
    vec![
        percent(&stream.final_accuracy),
        percent(&stream.stream_accuracy),
        stream.forgetting.as_ref().map_or_else(none, percent),
        experts(&results.n_experts),
    ]
}

fn legend(left_out: usize) -> Text {
    let legend = Text::default()
        .plain("Test accuracy, mean ± standard deviation over seeds; every domain counts the same. ")
        .emphasis("at the end")
        .plain(" is over the domains that are asked about at the last evaluation time, ")
        .emphasis("over the whole stream")
        .plain(" the mean over all times of the same, ")
        .emphasis("forgetting")
        .plain(
            " how far accuracy on a domain that was asked about before has fallen by the end from its best, mean over such domains: \
             less is better. Experts over all layers, at the end.",
        );
    if left_out == 0 {
        return legend;
    }
    legend.plain(format!(" Arms that are left out: {left_out}; they are in ")).code("report.json").plain(".")
}

#[cfg(test)]
mod tests {
    use crate::{
        Report,
        fixtures::{NOTHING, asked_at, finished, outcomes_of, plan, result},
    };

    #[test]
    fn streams_have_a_table() {
        let plan = plan(&["frozen-4", "rule"], 2);
        let without = Report::new(&plan, &finished(&plan, &[0.8; 4]), &NOTHING, plan.code).unwrap();
        assert!(!without.to_markdown().contains("## Stream"));
        let mut results: Vec<_> = plan.cells.iter().map(|cell| result(cell, 0.8)).collect();
        for (result, last) in results.iter_mut().zip([0.5, 0.6, 0.8, 0.9]) {
            result.per_time = vec![asked_at(0.5, &[(0, 0.9)]), asked_at(1.0, &[(0, last), (1, 0.8)])];
        }
        let report = Report::new(&plan, &outcomes_of(&plan, results), &NOTHING, plan.code).unwrap();
        let markdown = report.to_markdown();
        let section = markdown.split("## ").find(|section| section.starts_with("Stream")).unwrap();
        insta::assert_snapshot!(section);
        assert!(report.to_terminal().contains("over the whole stream %"));
    }
}
