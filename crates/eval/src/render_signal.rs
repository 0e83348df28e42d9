//! For people: whether labels and features know anything.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle, presets};
use moelt_schema::LabelSource;

use crate::{Direction, FeatureSignal, Interval, RankCorrelation, Signal, SourceSignal};

/// Title of the section.
const TITLE: &str = "Does the signal know anything?";

/// A correlation within this of 0 is as good as none.
const NEGLIGIBLE: f64 = 0.1;

impl Signal {
    /// For the terminal: title, tables and sentences. Cells wrap when standard output is a narrow terminal.
    pub fn to_terminal(&self) -> String {
        let (style, arrangement) = (presets::UTF8_FULL_CONDENSED, ContentArrangement::Dynamic);
        let mut parts = vec![TITLE.to_owned(), sources(self, style, arrangement.clone())];
        parts.extend(sentences(self));
        parts.extend(of_features(self, style, arrangement));
        parts.join("\n")
    }

    /// For a report: the same with a legend.
    pub fn to_markdown(&self) -> String {
        let (style, arrangement) = (presets::ASCII_MARKDOWN, ContentArrangement::Disabled);
        let items = sentences(self).into_iter().map(|item| format!("- {item}"));
        let mut parts = vec![
            format!("## {TITLE}"),
            sources(self, style, arrangement.clone()),
            self.legend(),
            items.collect::<Vec<_>>().join("\n"),
        ];
        parts.extend(of_features(self, style, arrangement));
        parts.join("\n\n")
    }

    /// What the numbers are.
    pub fn legend(&self) -> String {
        format!(
            "Spearman's rank correlation between what a source says of a move and the gain of that move when it was \
             measured a second time, on other batches and other validation texts; interval over cells ({} \
             resamples). Both are ranked among moves of one direction: a source that asks to grow more often than \
             to prune would else seem to know which of the two is better just now.",
            self.bootstrap.resamples
        )
    }
}

/// The features, how to read them, and what is missing.
fn of_features(signal: &Signal, style: TableStyle, arrangement: ContentArrangement) -> Vec<String> {
    let parts = [features(signal, style, arrangement), features_sentence(signal)];
    parts.into_iter().flatten().chain(notes(signal)).collect()
}

/// The label sources.
fn sources(signal: &Signal, style: TableStyle, arrangement: ContentArrangement) -> String {
    let header = ["source", "records", "cells", "rank correlation [95 %]"];
    let row = |one: &SourceSignal| [vec![name(one.source).to_owned()], numbers(&one.correlation)].concat();
    table(&header, 1, signal.sources.iter().map(row), style, arrangement)
}

/// The strongest features; none when there are none.
fn features(signal: &Signal, style: TableStyle, arrangement: ContentArrangement) -> Option<String> {
    let header = ["feature", "moves", "records", "cells", "rank correlation [95 %]"];
    let row = |one: &FeatureSignal| {
        let moves = match one.direction {
            Direction::Grow => "grow",
            Direction::Prune => "prune",
        };
        [vec![one.feature.clone(), moves.to_owned()], numbers(&one.correlation)].concat()
    };
    let rows = || signal.features.iter().map(row);
    (!signal.features.is_empty()).then(|| table(&header, 2, rows(), style, arrangement))
}

/// One sentence for every source.
fn sentences(signal: &Signal) -> Vec<String> {
    signal.sources.iter().map(sentence).collect()
}

/// How to read the features.
fn features_sentence(signal: &Signal) -> Option<String> {
    (!signal.features.is_empty()).then(|| {
        format!(
            "The {} strongest of {} pairs of feature and direction that were looked at: chosen for their \
             strength, they are weaker than they look, and one in twenty that knows nothing seems to.",
            signal.features.len(),
            signal.features_tried
        )
    })
}

/// What is missing.
fn notes(signal: &Signal) -> Vec<String> {
    let left_out = (signal.left_out > 0)
        .then(|| format!("{} measured moves gave no number and are left out.", signal.left_out));
    let missing = signal.missing.iter().map(|reason| format!("NOTE: no decisions of {reason}."));
    left_out.into_iter().chain(missing).collect()
}

fn table(
    header: &[&str],
    words: usize,
    rows: impl Iterator<Item = Vec<String>>,
    style: TableStyle,
    arrangement: ContentArrangement,
) -> String {
    let mut table = Table::new();
    table.load_style(style).set_content_arrangement(arrangement).set_header(header);
    table.column_iter_mut().skip(words).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table.add_rows(rows);
    table.to_string()
}

fn name(source: LabelSource) -> &'static str {
    match source {
        LabelSource::Synthetic => "synthetic",
        LabelSource::Entropy => "entropy",
        LabelSource::Counterfactual => "counterfactual",
    }
}

/// Records, cells and the correlation.
fn numbers(correlation: &RankCorrelation) -> Vec<String> {
    vec![correlation.records.to_string(), correlation.cells.to_string(), correlation.to_string()]
}

fn sentence(one: &SourceSignal) -> String {
    let counterfactual = one.source == LabelSource::Counterfactual;
    let meaning = match (one.correlation.rho, one.correlation.interval) {
        (None, _) if one.correlation.records == 0 => "are not there".to_owned(),
        (None, _) => "say the same of every move, or nothing was gained by any: cannot tell".to_owned(),
        (Some(_), None) => "have no interval, with too few cells that vary: cannot tell".to_owned(),
        (Some(_), Some(interval)) => meaning(&interval, counterfactual).to_owned(),
    };
    format!("{} labels {meaning}.", name(one.source))
}

fn meaning(&Interval { lower, upper, .. }: &Interval, counterfactual: bool) -> &'static str {
    let negligible = -NEGLIGIBLE <= lower && upper <= NEGLIGIBLE;
    match (negligible, lower > 0.0, upper < 0.0) {
        (true, false, false) => "know nothing: the interval lies within ±0.1",
        (true, ..) => "know next to nothing: the interval lies within ±0.1, though not around 0",
        (_, true, _) if counterfactual => "repeat: the interval lies above 0",
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
        report::tests::{NOTHING, finished, plan},
        signal::tests::some_signal,
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
        let counterfactual = |interval| of(LabelSource::Counterfactual, Some(0.5), interval);
        assert_eq!(
            counterfactual(Some((0.4, 0.6))),
            "counterfactual labels repeat: the interval lies above 0."
        );
        assert!(counterfactual(None).contains("no interval"));
        assert!(of(LabelSource::Synthetic, None, None).contains("the same of every move"));
    }
}
