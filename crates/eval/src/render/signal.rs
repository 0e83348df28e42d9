//! For people: whether labels and features know anything.

use std::collections::BTreeSet;

use super::document::{Column, Document, Table};
use crate::{
    CriterionSignal, Direction, FeatureSignal, Interval, LabelSource, RankCorrelation, Signal, SourceSignal,
};

/// Title of the section.
const TITLE: &str = "Does the signal know anything?";

/// A correlation within this of 0 is as good as none.
const NEGLIGIBLE: f64 = 0.1;

/// How to read the growth criteria.
const CRITERIA: &str = "Growth criteria: Spearman's rank correlation with the gain of growing (mean of its two measurements), and its \
    interval over cells; over all records, then among those of one number of experts at one step, then of one number of experts. What \
    correlates over all and not within only knows that small networks gain more.";

impl Signal {
    /// For the terminal: [`Signal::document`].
    pub fn to_terminal(&self) -> String {
        self.document().to_terminal()
    }

    /// Title, sources with a legend and a sentence for each, the strongest features, growth criteria, and what is missing.
    pub fn document(&self) -> Document {
        let mut document = Document::default();
        document.heading(2, TITLE).table(sources(self)).paragraph(legend(self));
        document.list(self.sources.iter().map(sentence));
        if !self.features.is_empty() {
            document.table(features(self)).paragraph(features_sentence(self));
        }
        if !self.criteria.is_empty() {
            document.table(criteria(self)).paragraph(CRITERIA);
        }
        notes(self).into_iter().for_each(|note| {
            document.paragraph(note);
        });
        document
    }
}

/// What the numbers are.
fn legend(signal: &Signal) -> String {
    format!(
        "Spearman's rank correlation between what a source says of a move and the gain of that move when it was \
         measured a second time, on other batches and other validation texts; interval over cells ({} \
         resamples). Both are ranked among moves of one direction: otherwise a source that asks to grow more often than \
         to prune would seem to know which of the two is better just now.",
        signal.bootstrap.resamples
    )
}

/// The label sources.
fn sources(signal: &Signal) -> Table {
    let columns = [vec![Column::left("source")], number_columns()].concat();
    let row = |one: &SourceSignal| [vec![name(one.source).to_owned()], numbers(&one.correlation)].concat();
    Table { columns, rows: signal.sources.iter().map(row).collect() }
}

/// The strongest features.
fn features(signal: &Signal) -> Table {
    let columns = [vec![Column::left("feature"), Column::left("moves")], number_columns()].concat();
    let row = |one: &FeatureSignal| {
        let moves = match one.direction {
            Direction::Grow => "grow",
            Direction::Prune => "prune",
        };
        [vec![one.feature.clone(), moves.to_owned()], numbers(&one.correlation)].concat()
    };
    Table { columns, rows: signal.features.iter().map(row).collect() }
}

/// How to read the features.
fn features_sentence(signal: &Signal) -> String {
    format!(
        "The {} strongest of {} pairs of feature and direction that were looked at: chosen for their \
         strength, they are weaker than they look, and one in twenty that knows nothing seems to.",
        signal.features.len(),
        signal.features_tried
    )
}

/// Growth criteria, with a column for each number of experts.
fn criteria(signal: &Signal) -> Table {
    let sizes: BTreeSet<usize> =
        signal.criteria.iter().flat_map(|one| one.by_size.iter().map(|size| size.n_experts)).collect();
    let of_size = |size: &usize| Column::right(&format!("n = {size}"));
    let columns = ["records", "all", "within size and step"].map(Column::right).into_iter();
    let row = |one: &CriterionSignal| {
        let of_size = |size: &usize| {
            let found = one.by_size.iter().find(|found| found.n_experts == *size);
            found.map_or("–".to_owned(), |found| found.correlation.to_string())
        };
        let first = [one.criterion.clone(), one.overall.records.to_string()];
        let correlations = [one.overall.to_string(), one.within.to_string()];
        first.into_iter().chain(correlations).chain(sizes.iter().map(of_size)).collect()
    };
    Table {
        columns: [Column::left("criterion")]
            .into_iter()
            .chain(columns)
            .chain(sizes.iter().map(of_size))
            .collect(),
        rows: signal.criteria.iter().map(row).collect(),
    }
}

/// What is missing.
fn notes(signal: &Signal) -> Vec<String> {
    let left_out = (signal.left_out > 0)
        .then(|| format!("{} measured moves gave no number and are left out.", signal.left_out));
    let missing = signal.missing.iter().map(|reason| format!("NOTE: no decisions of {reason}."));
    left_out.into_iter().chain(missing).collect()
}

fn name(source: LabelSource) -> &'static str {
    match source {
        LabelSource::Random => "random",
        LabelSource::Entropy => "entropy",
        LabelSource::Effect => "measured effect",
    }
}

fn number_columns() -> Vec<Column> {
    ["records", "cells", "rank correlation [95 %]"].map(Column::right).into()
}

/// What stands in these columns.
fn numbers(correlation: &RankCorrelation) -> Vec<String> {
    vec![correlation.records.to_string(), correlation.cells.to_string(), correlation.to_string()]
}

fn sentence(one: &SourceSignal) -> String {
    let repeats = one.source == LabelSource::Effect;
    let meaning = match (one.correlation.rho, one.correlation.interval) {
        (None, _) if one.correlation.records == 0 => "are not there".to_owned(),
        (None, _) => "say the same of every move, or nothing was gained by any: cannot tell".to_owned(),
        (Some(_), None) => "have no interval, with too few cells that vary: cannot tell".to_owned(),
        (Some(_), Some(interval)) => meaning(&interval, repeats).to_owned(),
    };
    format!("{} labels {meaning}.", name(one.source))
}

fn meaning(&Interval { lower, upper, .. }: &Interval, repeats: bool) -> &'static str {
    let negligible = -NEGLIGIBLE <= lower && upper <= NEGLIGIBLE;
    match (negligible, lower > 0.0, upper < 0.0) {
        (true, false, false) => "know nothing: the interval lies within ±0.1",
        (true, ..) => "know next to nothing: the interval lies within ±0.1, though not around 0",
        (_, true, _) if repeats => "repeat: the interval lies above 0",
        (_, true, _) => "know something: the interval lies above 0",
        (_, _, true) => "mislead: the interval lies below 0",
        _ => {
            "may know something or nothing: the interval holds 0 and reaches beyond ±0.1, so one cannot tell"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Report,
        fixtures::{NOTHING, finished, plan},
        report::signal::tests::some_signal,
    };

    #[test]
    fn the_section_is_shown() {
        let plan = plan(&["study"], 2);
        let report = Report::new(&plan, &finished(&plan, &[0.9, 0.9]), &NOTHING, plan.code).unwrap();
        assert!(!report.to_terminal().contains(TITLE) && !report.to_markdown().contains(TITLE));
        let report = Report { signal: Some(some_signal()), ..report };
        let markdown = report.to_markdown();
        let section = markdown.split("## ").find(|section| section.starts_with(TITLE)).unwrap();
        insta::assert_snapshot!("markdown", section.split("Planned by").next().unwrap());
        let terminal = report.to_terminal();
        insta::assert_snapshot!("terminal", &terminal[terminal.find(TITLE).unwrap()..]);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn intervals_have_a_plain_meaning() {
        let of = |source, rho, interval: Option<(f64, f64)>| {
            let interval = interval.map(|(lower, upper)| Interval { level: 0.95, lower, upper });
            sentence(&SourceSignal {
                source,
                correlation: RankCorrelation { records: 9, cells: 3, rho, interval },
            })
        };
        let entropy = |lower, upper| of(LabelSource::Entropy, Some(0.0), Some((lower, upper)));
        assert!(entropy(-0.1, 0.1).contains("know nothing"));
        assert!(entropy(0.01, 0.09).contains("know next to nothing"));
        assert!(entropy(0.01, 0.2).contains("know something"));
        assert!(entropy(-0.2, -0.01).contains("mislead"));
        assert!(entropy(-0.2, 0.01).contains("one cannot tell"));
        let effect = |interval| of(LabelSource::Effect, Some(0.5), interval);
        assert_eq!(effect(Some((0.4, 0.6))), "measured effect labels repeat: the interval lies above 0.");
        assert!(effect(None).contains("no interval"));
        assert!(of(LabelSource::Random, None, None).contains("the same of every move"));
    }
}
