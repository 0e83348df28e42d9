//! What arms cost and save against the frozen sweep, a row per comparison with the best of it.

use crate::{
    Compared, Cost, Ratios, Report,
    render::{ArmRow, Column, Document, Table, Text, arms::none},
};

/// Title, table and legend; nothing where no arm was compared with the best of several sizes.
pub(super) fn document(report: &Report) -> Document {
    let known = report.comparisons.iter().filter_map(|compared| Some((compared, compared.cost.as_ref()?)));
    let known: Vec<(&Compared, &Cost)> = known.collect();
    let mut document = Document::default();
    if known.is_empty() {
        return document;
    }
    let about = known.iter().map(|(compared, _)| ArmRow::from(compared.judged.declared.arm.as_str()));
    document.heading(2, "Regret, size and cost").arm_table(table(&known), about.collect::<Vec<_>>());
    document.paragraph(legend());
    document
}

fn table(known: &[(&Compared, &Cost)]) -> Table {
    let numbers = [
        "regret (pp)",
        "against N",
        "× experts",
        "× FLOPs of one run",
        "× seconds of one run",
        "× FLOPs of the sweep",
        "with needs",
        "× seconds of the sweep",
        "with needs",
        "runs it needs",
    ];
    let columns = [Column::left("arm")].into_iter().chain(numbers.map(Column::right));
    Table {
        columns: columns.chain([Column::left("of arms")]).collect(),
        rows: known.iter().map(|(compared, cost)| row(compared, cost)).collect(),
    }
}

fn row(compared: &Compared, cost: &Cost) -> Vec<String> {
    let interval = cost.interval_pp;
    let times = |ratio: Option<f64>| ratio.map_or_else(none, |ratio| format!("{ratio:.2}"));
    let Ratios { flops, seconds } = cost.by_one_run;
    let (sweep, all) = (cost.by_sweep, cost.by_sweep_with_needs);
    let needs = if cost.builds_on.is_empty() { none() } else { cost.builds_on.join(", ") };
    vec![
        compared.judged.declared.arm.clone(),
        format!("{:+.2} [{:+.2}, {:+.2}]", cost.regret_pp, interval.lower, interval.upper),
        compared.chosen.as_ref().map_or_else(none, |chosen| chosen.n_experts.to_string()),
        times(cost.size_ratio),
        times(flops),
        times(seconds),
        times(sweep.flops),
        times(all.flops),
        times(sweep.seconds),
        times(all.seconds),
        cost.needed_runs.map_or_else(none, |runs| format!("{runs:.0}")),
        needs,
    ]
}

fn legend() -> Text {
    Text::default()
        .emphasis("regret")
        .plain(" is how far the arm lies below the best frozen size, which validation chooses (N), with its interval; ")
        .emphasis("× experts")
        .plain(" its experts by those of the smallest size within 0.5 pp of the best; the others its training by that of one run of N, and of \
             one seed's whole sweep, which is what choosing N costs; ")
        .emphasis("with needs")
        .plain(" adds every run that it builds on, teachers included.")
}
