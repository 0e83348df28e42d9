//! The arms of a report, a row per arm.

use super::document::{Column, Document, Table, Text};
use crate::{ArmReport, ArmResults, Summary, WithNeeds};

/// A column of the arms' table.
struct ArmColumn {
    title: &'static str,
    number: fn(&ArmResults) -> String,
}

/// The columns after `arm` and `cells`.
const COLUMNS: [ArmColumn; 13] = [
    column("test %", |results| results.test_accuracy.percent().to_string()),
    column("last %", |results| results.last_accuracy.percent().to_string()),
    column("validation %", |results| results.validation_accuracy.percent().to_string()),
    column("macro-F1", |results| format!("{:.2}", results.macro_f1.percent().mean)),
    column("ECE", |results| format!("{:.2}", results.ece.percent().mean)),
    column("to Bayes", |results| match results.gap_to_bayes {
        Some(gap) => format!("{:.2}", 100.0 * gap),
        None => "–".to_owned(),
    }),
    column("params", |results| format!("{:.0}", results.n_params.mean)),
    column("active", |results| format!("{:.0}", results.n_active_params.mean)),
    column("experts", |results| experts(&results.n_experts)),
    column("GFLOP", operations),
    column("unpadded", |results| gigaflops(results.unpadded_flops.mean)),
    column("with needs", |results| with_needs(results.with_needs.as_ref())),
    column("s/cell", |results| format!("{:.1}", results.seconds.mean)),
];

const fn column(title: &'static str, number: fn(&ArmResults) -> String) -> ArmColumn {
    ArmColumn { title, number }
}

/// Title, table and legend.
pub(super) fn document(arms: &[ArmReport]) -> Document {
    let mut document = Document::default();
    let rows = arms.iter().map(|arm| arm.arm.as_str());
    document.heading(2, "Arms").arm_table(table(arms), rows).paragraph(legend());
    if let Some(cost) = taught_cost(arms) {
        document.paragraph(cost);
    }
    document
}

/// What heads cost that were taught before any run, which no column holds.
pub(super) fn taught_cost(arms: &[ArmReport]) -> Option<String> {
    let of_arm = |arm: &ArmReport| {
        let once = arm.results.as_ref()?.taught_flops?;
        let (n, each) = (arm.finished, gigaflops(once / arm.finished as f64));
        Some(format!("{} {} GFLOP, which is {each} for each of the {n} cells here", arm.arm, gigaflops(once)))
    };
    let arms: Vec<String> = arms.iter().filter_map(of_arm).collect();
    (!arms.is_empty()).then(|| {
        format!(
            "Not counted above, as it was spent once for all runs there will be: teaching the head of {}.",
            arms.join("; that of ")
        )
    })
}

fn legend() -> Text {
    Text::default()
        .plain("Mean ± standard deviation over seeds. Accuracy, macro-F1 and calibration error (ECE) in percent, on the \
             test split unless the column says validation. ")
        .emphasis("test %")
        .plain(" is of the checkpoint that was best on validation (where the data drifts: of each time), ")
        .emphasis("last %")
        .plain(" of the last one, by which nothing is chosen; ")
        .emphasis("to Bayes")
        .plain(" is the distance to the best possible accuracy in percentage points. ")
        .emphasis("GFLOP")
        .plain(" is what training a cell computed, in brackets what of it was for measuring; ")
        .emphasis("unpadded")
        .plain(" is what it would take if experts computed no padding; ")
        .emphasis("with needs")
        .plain(" adds the runs that a cell builds on, in brackets how many.")
}

fn table(arms: &[ArmReport]) -> Table {
    let first = [Column::left("arm"), Column::right("cells")];
    let numbers = COLUMNS.iter().map(|column| Column::right(column.title));
    Table { columns: first.into_iter().chain(numbers).collect(), rows: arms.iter().map(row).collect() }
}

fn row(arm: &ArmReport) -> Vec<String> {
    let number =
        |column: &ArmColumn| arm.results.as_ref().map_or_else(none, |results| (column.number)(results));
    let first = [arm.arm.clone(), cells(arm)];
    first.into_iter().chain(COLUMNS.iter().map(number)).collect()
}

/// `4/5`: finished by planned.
pub(super) fn cells(arm: &ArmReport) -> String {
    format!("{}/{}", arm.finished, arm.planned)
}

/// What is shown where there is nothing.
pub(super) fn none() -> String {
    "–".to_owned()
}

/// `4`, and `4.5 ± 0.7` where the seeds differ.
pub(super) fn experts(n: &Summary) -> String {
    if n.sd.is_none_or(|sd| sd == 0.0) { format!("{}", n.mean) } else { format!("{n:.1}") }
}

/// Training's, and in brackets those of them that were for measuring.
fn operations(results: &ArmResults) -> String {
    let [all, measuring] = [results.flops.mean, results.measuring_flops.mean];
    let measuring = (measuring > 0.0).then(|| format!(" ({})", gigaflops(measuring)));
    gigaflops(all) + &measuring.unwrap_or_default()
}

/// Training with all that it builds on, and in brackets how many runs that is; `≥` where some are not of the plan.
pub(super) fn with_needs(needs: Option<&WithNeeds>) -> String {
    let Some(needs) = needs else { return "–".to_owned() };
    let at_least = if needs.foreign_runs > 0 { "≥ " } else { "" };
    let runs = if needs.runs.mean > 0.0 { format!(" (+{})", experts(&needs.runs)) } else { String::new() };
    format!("{at_least}{}{runs}", gigaflops(needs.flops.mean))
}

/// 10⁹ operations, with about three digits.
pub(super) fn gigaflops(flops: f64) -> String {
    let (giga, digits) = (flops / 1e9, if flops < 1e10 { 3 } else { usize::from(flops < 1e12) });
    format!("{giga:.digits$}")
}

#[cfg(test)]
mod tests {
    use moelt_schema::{Cell, CellResult, Flops};

    use super::*;
    use crate::{
        Report,
        fixtures::{NOTHING, outcomes_of, plan, result},
    };

    #[test]
    fn what_a_taught_head_cost_stands_beside_the_columns() {
        let plan = plan(&["transfer", "moe"], 2);
        let report = |taught: u64| {
            let of = |cell: &Cell| {
                let taught = if cell.arm == "transfer" { taught } else { 0 };
                CellResult { taught_flops: Flops::unpadded(taught), ..result(cell, 0.9) }
            };
            let outcomes = outcomes_of(&plan, plan.cells.iter().map(of).collect());
            Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap()
        };
        assert_eq!(taught_cost(&report(0).arms), None);
        let report = report(5_000_000_000);
        let cost = "teaching the head of transfer 5.000 GFLOP, which is 2.500 for each of the 2 cells here.";
        assert!(taught_cost(&report.arms).unwrap().ends_with(cost));
        assert!(report.to_markdown().matches(cost).count() == 2, "in the answer and below the arms");
    }
}
