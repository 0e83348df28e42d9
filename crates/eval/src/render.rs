//! A report for people. Everything that is printed is a [`Document`], which a terminal, a Markdown file and a page show
//! in their own ways.

pub(crate) mod a_a;
mod answer;
mod arms;
mod collapsed;
mod document;
mod domains;
mod figure;
mod history;
#[cfg(feature = "html")]
mod html;
mod machines;
mod markdown;
mod signal;
mod stream;
mod sweep;
mod systems;
mod terminal;
mod verdicts;

pub use document::{Alignment, ArmRow, Block, Column, Document, Gain, Item, Span, Table, Text};
pub use figure::{Dot, Figure, Plot, Series};
#[cfg(feature = "html")]
pub use html::CellSource;

use crate::{DataFacts, Report, Unfinished};

impl Report {
    /// For the terminal: [`Report::summary`].
    pub fn to_terminal(&self) -> String {
        self.summary().to_terminal()
    }

    /// `report.md`: [`Report::document`].
    pub fn to_markdown(&self) -> String {
        self.document().to_markdown()
    }

    /// The answer, a short table and the verdicts; of comparisons that could not be judged, why; seeds that collapsed; arms on a stream; a sentence on
    /// single domains; of labels, what they know; and the cells without a result.
    pub fn summary(&self) -> Document {
        let mut document = self.beginning();
        document.append(verdicts::summary(&self.comparisons));
        document.append(collapsed::summary(self));
        document.append(stream::document(self));
        document.append(domains::summary(self));
        self.signal.iter().for_each(|signal| {
            document.append(signal.document());
        });
        document.append(self.unfinished_cells());
        document.append(machines::summary(self));
        document.list(self.other_code());
        document
    }

    /// Everything: what the summary says, each verdict in sentences, what collapsed seeds looked like, arms on a stream, all numbers
    /// of all arms, the frozen sweep, single domains, and experts over time.
    pub fn document(&self) -> Document {
        let mut document = self.beginning();
        document.append(verdicts::document(self));
        document.append(collapsed::document(self));
        document.append(stream::document(self));
        document.append(arms::document(&self.arms));
        self.data.iter().for_each(|data| {
            document.paragraph(data_sentence(data));
        });
        self.sweep.iter().for_each(|sweep| {
            document.append(sweep::document(sweep));
        });
        document.append(domains::document(self));
        if !self.experts_over_time.is_empty() {
            document.append(history::document(&self.experts_over_time));
        }
        self.signal.iter().for_each(|signal| {
            document.append(signal.document());
        });
        document.append(self.unfinished_cells());
        document.append(machines::document(self));
        self.other_code().into_iter().for_each(|note| {
            document.paragraph(note);
        });
        let planned = Text::default().plain(format!("Planned by moelt {}; plan ", self.moelt));
        document.paragraph(planned.code(self.plan.to_string()).plain("."));
        document
    }

    /// Title, answer and short table.
    fn beginning(&self) -> Document {
        let mut document = Document::default();
        let answer = self.answer();
        document.heading(1, self.name.as_str()).append(answer::sentences(self, &answer));
        document.append(answer::short(self, &answer));
        document
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

    /// Nothing where every cell has a result.
    fn unfinished_cells(&self) -> Document {
        let mut document = Document::default();
        if !self.unfinished.is_empty() {
            let items = self.unfinished.iter().map(unfinished);
            document.heading(2, "Cells without a result").list(items);
        }
        document
    }
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

fn unfinished(cell: &Unfinished) -> Item {
    let text = match &cell.failure {
        Some(reason) => {
            Text::default().strong("FAILED").plain("  ").code(&cell.cell).plain(format!(": {reason}"))
        }
        None => Text::default().plain("missing ").code(&cell.cell).plain(": has not run to its end"),
    };
    Item { text, verbatim: cell.log_tail.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use moelt_schema::{AblationPlan, ClaimKind, CollapseRule, Flops};

    use crate::{
        Outcome, Report, Verdict,
        fixtures::{NOTHING, declare, finished, grown, judged_plan, only, plan, reader, result},
    };

    fn report() -> Report {
        let mut plan: AblationPlan =
            plan(&["dense", "moe", "frozen-1", "frozen-4", "rule", "placebo-time"], 2);
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
        let arms = [
            ("dense", 0.70),
            ("frozen-2", 0.78),
            ("frozen-4", 0.85),
            ("rule", 0.853),
            ("placebo-time", 0.85),
        ];
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
            let (missing, reason) = (!comparison.judged.missing.is_empty(), &comparison.judged.reason);
            assert_eq!(
                terminal.contains(reason),
                missing,
                "why something is missing is told at once: {terminal}"
            );
        }
    }

    #[test]
    fn what_few_seeds_do_not_exclude_is_told() {
        let arms = [("frozen-2", 0.78), ("frozen-4", 0.85), ("rule", 0.853)];
        let declared = declare("rule", &["frozen-2", "frozen-4"], ClaimKind::NonInferiority);
        let (mut plan, outcomes) = judged_plan(&arms, vec![declared]);
        plan.collapse = CollapseRule::default();
        let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
        assert_eq!(report.comparisons[0].judged.verdict, Verdict::Inconclusive);
        let text = report.to_markdown();
        for told in [
            "Not shown: against the best frozen size the interval of rule lies above 0, but so few seeds may hold no collapse",
            "with 5 seeds (which do not exclude that up to 45 % of seeds collapse)",
            "the interval says GO (the lower bound +0.14 pp is above -0.50 pp), but 5 seeds do not exclude that up to 45 % of \
             seeds collapse: that takes 29 seeds",
            "a true gain of +4.21 pp (4.51 pp more than by the interval alone, for collapses they do not exclude) yields GO four times in \
             five at least; for one of +0.00 pp 29 seeds would do",
            "seeds enough to exclude that 10 % of them collapse (29 or more)",
        ] {
            assert!(text.contains(told), "{told}\n\n{text}");
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
