//! A report for people: as a terminal table and as Markdown.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle, presets};

use crate::{
    ArmReport, ArmResults, CLOSE_TO_BEST_PP, DataFacts, ExpertHistory, POWER, Report, Signal, Summary, Sweep,
    Unfinished, WithNeeds, render_verdicts,
};

/// A column of the arms' table.
struct Column {
    title: &'static str,
    /// Whether a terminal has it too; a report has all.
    in_terminal: bool,
    number: fn(&ArmResults) -> String,
}

/// The columns after `arm` and `cells`.
const COLUMNS: [Column; 13] = [
    column("verdict %", |results| results.test_accuracy.percent().to_string()),
    column("last %", |results| results.last_accuracy.percent().to_string()),
    column("validation %", |results| results.validation_accuracy.percent().to_string()),
    in_report("macro-F1", |results| format!("{:.2}", results.macro_f1.percent().mean)),
    in_report("ECE", |results| format!("{:.2}", results.ece.percent().mean)),
    column("to Bayes", |results| match results.gap_to_bayes {
        Some(gap) => format!("{:.2}", 100.0 * gap),
        None => "–".to_owned(),
    }),
    in_report("params", |results| format!("{:.0}", results.n_params.mean)),
    column("active", |results| format!("{:.0}", results.n_active_params.mean)),
    column("experts", |results| experts(&results.n_experts)),
    column("GFLOP", operations),
    column("unpadded", |results| gigaflops(results.unpadded_flops.mean)),
    column("with needs", |results| with_needs(results.with_needs.as_ref())),
    column("s/cell", |results| format!("{:.1}", results.seconds.mean)),
];

const fn column(title: &'static str, number: fn(&ArmResults) -> String) -> Column {
    Column { title, in_terminal: true, number }
}

const fn in_report(title: &'static str, number: fn(&ArmResults) -> String) -> Column {
    Column { title, in_terminal: false, number }
}

/// Title of what tells how experts came and went.
const EXPERTS_OVER_TIME: &str = "Experts over time";

impl Report {
    /// For the terminal: a table, then sentences. Cells wrap when standard output is a narrow terminal.
    pub fn to_terminal(&self) -> String {
        let mut parts =
            vec![self.table(presets::UTF8_FULL_CONDENSED, ContentArrangement::Dynamic, |column| {
                column.in_terminal
            })];
        if !self.comparisons.is_empty() {
            let (style, arrangement) = (presets::UTF8_FULL_CONDENSED, ContentArrangement::Dynamic);
            parts.push(render_verdicts::table(&self.comparisons, style, arrangement));
            parts.extend(render_verdicts::sentences(&self.comparisons));
        }
        parts.extend(self.other_code());
        parts.extend(self.data.as_ref().map(data_sentence));
        parts.extend(self.sweep.as_ref().map(sweep_sentences));
        if !self.experts_over_time.is_empty() {
            parts.push(EXPERTS_OVER_TIME.to_owned());
            parts.extend(history_lines(&self.experts_over_time));
        }
        parts.extend(self.signal.as_ref().map(Signal::to_terminal));
        parts.extend(self.unfinished.iter().map(|cell| {
            let log: String = cell.log_tail.iter().map(|line| format!("\n    {line}")).collect();
            unfinished_sentence(cell) + &log
        }));
        parts.join("\n") + "\n"
    }

    /// `report.md`.
    pub fn to_markdown(&self) -> String {
        let mut parts = vec![
            format!("# {}", self.name),
            self.table(presets::ASCII_MARKDOWN, ContentArrangement::Disabled, |_| true),
            "Mean ± standard deviation over seeds. Accuracy, macro-F1 and calibration error (ECE) in \
             percent, on the test split unless the column says validation. *Verdict %* is of the checkpoint that was \
             best on validation (where the data drifts: of each time), *last %* of the last one, by which nothing is \
             chosen; *to Bayes* is the distance to \
             the best possible accuracy in percentage points. *GFLOP* is what training a cell computed, in brackets \
             what of it was for measuring; *unpadded* is what it would take if experts computed no padding; *with \
             needs* adds the runs that a cell builds on, in brackets how many."
                .to_owned(),
        ];
        parts.extend(self.verdicts_markdown());
        parts.extend(self.data.as_ref().map(data_sentence));
        if let Some(sweep) = &self.sweep {
            parts.extend(["## Frozen sweep".to_owned(), sweep_sentences(sweep)]);
        }
        if !self.experts_over_time.is_empty() {
            let items = self.experts_over_time.iter().map(history_markdown);
            parts.extend([format!("## {EXPERTS_OVER_TIME}"), items.collect::<Vec<_>>().join("\n")]);
        }
        parts.extend(self.signal.as_ref().map(Signal::to_markdown));
        if !self.unfinished.is_empty() {
            parts.push("## Cells without a result".to_owned());
            parts.extend(self.unfinished.iter().map(unfinished_markdown));
        }
        parts.extend(self.other_code());
        parts.push(format!("Planned by moelt {}; plan `{}`.", self.moelt, self.plan));
        parts.join("\n\n") + "\n"
    }

    /// Says so when other code judges than was planned with.
    fn other_code(&self) -> Option<String> {
        (self.code != self.judged_by).then(|| {
            let (planned, judged) = (self.code.short(), self.judged_by.short());
            format!(
                "NOTE: judged by other code ({judged}…) than it was planned with and run by ({planned}…)."
            )
        })
    }

    /// Title, table, legend and one item a comparison.
    fn verdicts_markdown(&self) -> Vec<String> {
        if self.comparisons.is_empty() {
            return Vec::new();
        }
        let (style, arrangement) = (presets::ASCII_MARKDOWN, ContentArrangement::Disabled);
        let items = render_verdicts::sentences(&self.comparisons).into_iter().map(|item| format!("- {item}"));
        vec![
            "## Verdicts".to_owned(),
            render_verdicts::table(&self.comparisons, style, arrangement),
            format!(
                "Difference in test accuracy with its interval, Holm-adjusted within the family ({} crossed \
                 resamples, seed {}); *min. detectable effect* is the true difference that yields GO with \
                 probability {POWER}. *× steps* and *× FLOPs* are the training behind the arm by that behind its \
                 opponent (of several, the size that was chosen), that of inherited weights included; FLOPs also \
                 with those of teachers.",
                self.bootstrap.resamples, self.bootstrap.seed
            ),
            items.collect::<Vec<_>>().join("\n"),
        ]
    }

    fn table(
        &self,
        style: TableStyle,
        arrangement: ContentArrangement,
        shown: fn(&Column) -> bool,
    ) -> String {
        let columns: Vec<&Column> = COLUMNS.iter().filter(|column| shown(column)).collect();
        let titles = ["arm", "cells"].into_iter().chain(columns.iter().map(|column| column.title));
        let mut table = Table::new();
        table.load_style(style).set_content_arrangement(arrangement).set_header(titles);
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table.add_rows(self.arms.iter().map(|arm| row(arm, &columns)));
        table.to_string()
    }
}

fn row(arm: &ArmReport, columns: &[&Column]) -> Vec<String> {
    let number = |column: &&Column| {
        arm.results.as_ref().map_or_else(|| "–".to_owned(), |results| (column.number)(results))
    };
    let first = [arm.arm.clone(), format!("{}/{}", arm.finished, arm.planned)];
    first.into_iter().chain(columns.iter().map(number)).collect()
}

/// `4`, and `4.5 ± 0.7` where the seeds differ.
fn experts(n: &Summary) -> String {
    if n.sd.is_none_or(|sd| sd == 0.0) { format!("{}", n.mean) } else { format!("{n:.1}") }
}

/// Training's, and in brackets those of them that were for measuring.
fn operations(results: &ArmResults) -> String {
    let [all, measuring] = [results.flops.mean, results.measuring_flops.mean];
    let measuring = (measuring > 0.0).then(|| format!(" ({})", gigaflops(measuring)));
    gigaflops(all) + &measuring.unwrap_or_default()
}

/// Training with all that it builds on, and in brackets how many runs that is; `≥` where some are not of the plan.
fn with_needs(needs: Option<&WithNeeds>) -> String {
    let Some(needs) = needs else { return "–".to_owned() };
    let at_least = if needs.foreign_runs > 0 { "≥ " } else { "" };
    let runs = if needs.runs.mean > 0.0 { format!(" (+{})", experts(&needs.runs)) } else { String::new() };
    format!("{at_least}{}{runs}", gigaflops(needs.flops.mean))
}

/// 10⁹ operations, with about three digits.
fn gigaflops(flops: f64) -> String {
    let (giga, digits) = (flops / 1e9, if flops < 1e10 { 3 } else { usize::from(flops < 1e12) });
    format!("{giga:.digits$}")
}

fn data_sentence(data: &DataFacts) -> String {
    let splits = data.splits;
    let bayes = data.bayes_accuracy.map_or(String::new(), |bayes| {
        format!(" No classifier can beat {:.2} % (Bayes accuracy).", 100.0 * bayes)
    });
    let notes: String = data.notes.iter().map(|note| format!(" Note: {note}.")).collect();
    format!(
        "Data {}: {} training, {} validation and {} test examples.{bayes}{notes}",
        data.digest.short(),
        splits.train,
        splits.validation,
        splits.test
    )
}

fn sweep_sentences(sweep: &Sweep) -> String {
    let verdict_of = |n: usize| {
        let point = sweep.points.iter().find(|point| point.n_experts == n);
        point.map_or(String::new(), |point| format!(" ({} % on test)", point.verdict.percent()))
    };
    let one = sweep
        .one_expert_gap_pp
        .map_or(String::new(), |gap| format!(" One expert lies {gap:.2} pp below the best."));
    format!(
        "Validation chooses N = {}{}; best on test is N = {}{}; the smallest N within \
         {CLOSE_TO_BEST_PP} pp of it is {}.{one}",
        sweep.chosen_on_validation,
        verdict_of(sweep.chosen_on_validation),
        sweep.best_on_test,
        verdict_of(sweep.best_on_test),
        sweep.smallest_close,
    )
}

/// One line a cell, arms padded to the longest.
fn history_lines(histories: &[ExpertHistory]) -> impl Iterator<Item = String> {
    let width = histories.iter().map(|history| history.arm.chars().count()).max().unwrap_or(0);
    histories.iter().map(move |history| format!("  {:width$}  seed {}: {history}", history.arm, history.seed))
}

fn history_markdown(history: &ExpertHistory) -> String {
    format!("- `{}` seed {}: {history}", history.arm, history.seed)
}

fn unfinished_sentence(cell: &Unfinished) -> String {
    match &cell.failure {
        Some(reason) => format!("FAILED  {}: {reason}", cell.cell),
        None => format!("missing {}: has not run to its end", cell.cell),
    }
}

fn unfinished_markdown(cell: &Unfinished) -> String {
    let sentence = match &cell.failure {
        Some(reason) => format!("- **failed** `{}`: {reason}", cell.cell),
        None => format!("- missing `{}`: has not run to its end", cell.cell),
    };
    if cell.log_tail.is_empty() {
        return sentence;
    }
    // An indented block needs no fence that the log could break out of.
    let log: String = cell.log_tail.iter().map(|line| format!("\n      {line}")).collect();
    format!("{sentence}\n{log}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use moelt_schema::{AblationPlan, ClaimKind, Flops};

    use crate::{
        Outcome, Report,
        compared::tests::{declare, judged_plan, reader},
        report::tests::{NOTHING, finished, grown, only, plan, result},
    };

    fn report() -> Report {
        let mut plan: AblationPlan = plan(&["dense", "moe", "frozen-1", "frozen-4", "rule", "placebo-time"], 2);
        for (index, cell) in plan.cells.iter_mut().enumerate() {
            cell.id = format!("{}-s{}-{index}", cell.arm, cell.seed);
        }
        let mut outcomes =
            finished(&plan, &[0.8, 0.84, 0.9, 0.9, 0.7, 0.71, 0.9, 0.91, 0.92, 0.93, 0.88, 0.89]);
        let log_tail = vec!["step 40".to_owned(), "Error: the loss is NaN".to_owned()];
        outcomes.insert("dense-s1-1".into(), Outcome::Failed { reason: "exit code 1".into(), log_tail });
        for (at, steps) in
            [(8, &[30, 60][..]), (9, &[45]), (11, &[15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75])]
        {
            let mut edited = grown(result(&plan.cells[at], 0.9), steps);
            edited.measuring_flops = Flops::unpadded(1_000_000);
            outcomes.insert(plan.cells[at].id.clone(), Outcome::Finished(Box::new(edited)));
        }
        outcomes.remove("moe-s0-2");
        outcomes.remove("moe-s1-3");
        Report {
            plan: moelt_schema::Digest::of_bytes(b"plan"),
            ..Report::new(&plan, &outcomes, &NOTHING, plan.code).unwrap()
        }
    }

    /// One comparison each: GO, with costs; missing a cell; without any evidence.
    #[test]
    fn verdicts_are_shown_with_what_stands_behind_them() {
        let arms =
            [("dense", 0.70), ("frozen-2", 0.78), ("frozen-4", 0.85), ("rule", 0.853), ("placebo-time", 0.85)];
        let comparisons = vec![
            declare("rule", &["frozen-2", "frozen-4"], ClaimKind::NonInferiority),
            declare("rule", &["placebo-time"], ClaimKind::Superiority),
            declare("frozen-4", &["dense"], ClaimKind::Superiority),
        ];
        let (mut plan, outcomes) = judged_plan(&arms, comparisons);
        let read = reader(&arms);
        let mut named = BTreeMap::new();
        for cell in &mut plan.cells {
            let outcome = outcomes.get(&cell.id).cloned();
            cell.id = format!("{}-s{}", cell.arm, cell.seed);
            if cell.arm == "rule" {
                cell.needs = vec![format!("frozen-2-s{}", cell.seed)];
            }
            let missing = cell.arm == "placebo-time" && cell.seed == 3 || cell.arm == "dense";
            named.extend(outcome.filter(|_| !missing).map(|outcome| (cell.id.clone(), outcome)));
        }
        let report = Report::new(&plan, &named, &only(&read), plan.code).unwrap();
        insta::assert_snapshot!(report.to_markdown().split("Planned by").next().unwrap());
        let terminal = report.to_terminal();
        for comparison in &report.comparisons {
            assert!(terminal.contains(&comparison.judged.declared.name), "{terminal}");
            assert!(terminal.contains(&comparison.judged.reason), "{terminal}");
        }
    }

    #[test]
    fn the_terminal_form_shows_everything() {
        insta::assert_snapshot!(report().to_terminal());
    }

    #[test]
    fn the_markdown_form_shows_everything() {
        insta::assert_snapshot!(report().to_markdown());
    }
}
