//! What experts do for single domains, for people.

use moelt_schema::Metric;

use super::{
    arms::{experts, none},
    document::{Column, Document, Table, Text},
    verdicts::numbers,
};
use crate::{ArmPurity, DomainEffect, DomainGain, Domains, Interval, Report, Summary};

/// Up to so many domains all are shown …
const ALL_UP_TO: usize = 30;

/// … and of more this many from either end.
const EITHER_END: usize = 10;

/// Title, domains with a legend, and arms with theirs; nothing where there are no domains.
pub(super) fn document(report: &Report) -> Document {
    let mut document = Document::default();
    let Some(domains) = &report.domains else { return document };
    document.heading(2, "Domains");
    if !domains.sizes.is_empty() {
        document.table(effects(domains)).paragraph(effects_legend(domains));
        left_out(domains).into_iter().for_each(|sentence| {
            document.paragraph(sentence);
        });
    }
    if !domains.purity.is_empty() {
        let rows = domains.purity.iter().map(|one| one.arm.as_str());
        document.arm_table(purities(report, &domains.purity), rows).paragraph(purity_legend());
    }
    document
}

/// One sentence; nothing where no gain is known.
pub(super) fn summary(report: &Report) -> Document {
    let mut document = Document::default();
    report.domains.as_ref().and_then(sentence).into_iter().for_each(|sentence| {
        document.heading(2, "Domains").paragraph(sentence);
    });
    document
}

/// `From N = 1 to N = 8 …, accuracy gains from -0.40 pp (books) to +9.10 pp (code); …`.
fn sentence(domains: &Domains) -> Option<String> {
    let gains: Vec<(&str, DomainGain)> =
        domains.domains.iter().filter_map(|one| Some((one.name.as_str(), one.gain?))).collect();
    let (largest, smallest) = (gains.first()?, gains.last()?);
    let told =
        |(name, gain): &(&str, DomainGain)| format!("{} ({name})", Metric::Accuracy.shown(gain.gain.mean));
    Some(format!(
        "From N = 1 to N = {}, which validation chooses, accuracy on a domain gains from {} to {}{}.",
        domains.chosen?,
        told(smallest),
        told(largest),
        interval_words(&gains)
    ))
}

/// `; of 8 intervals, above 0: 3, below 0: 0`; nothing where single seeds have no interval.
fn interval_words(gains: &[(&str, DomainGain)]) -> String {
    let intervals = || gains.iter().filter_map(|(_, gain)| gain.interval);
    let [above, below] = [
        intervals().filter(|interval| interval.lower > 0.0).count(),
        intervals().filter(|interval| interval.upper < 0.0).count(),
    ];
    match intervals().count() {
        0 => String::new(),
        n => format!("; of {n} intervals, above 0: {above}, below 0: {below}"),
    }
}

/// A row per domain that is shown.
fn effects(domains: &Domains) -> Table {
    let sizes = domains.sizes.iter().map(|n| Column::right(&format!("N = {n}")));
    let columns = [Column::left("domain"), Column::right("texts")].into_iter().chain(sizes);
    let last = ["gain (pp) [95 %]", "main expert %"].map(Column::right);
    Table { columns: columns.chain(last).collect(), rows: shown(&domains.domains).map(effect).collect() }
}

fn effect(one: &DomainEffect) -> Vec<String> {
    let percent = |summary: &Option<Summary>| {
        summary.map_or_else(none, |summary| format!("{:.2}", summary.percent().mean))
    };
    let first = [one.name.clone(), one.n.to_string()];
    let accuracies = one.accuracy.iter().map(percent);
    let last = [one.gain.map_or_else(none, gain), percent(&one.main_expert)];
    first.into_iter().chain(accuracies).chain(last).collect()
}

/// `+9.10 [+8.20, +10.00]`; of a single seed the gain alone.
fn gain(of: DomainGain) -> String {
    match of.interval {
        None => Metric::Accuracy.number(of.gain.mean),
        interval => numbers(Metric::Accuracy, Some(of.gain.mean), interval),
    }
}

/// All, or those at either end of many.
pub(super) fn shown(domains: &[DomainEffect]) -> impl Iterator<Item = &DomainEffect> {
    let n = domains.len();
    let is_shown = move |at: usize| n <= ALL_UP_TO || at < EITHER_END || at >= n - EITHER_END;
    domains.iter().enumerate().filter(move |(at, _)| is_shown(*at)).map(|(_, domain)| domain)
}

/// Of what is shown when not all is.
fn left_out(domains: &Domains) -> Option<String> {
    let n = domains.domains.len();
    let known = domains.domains.iter().any(|one| one.gain.is_some());
    let which = if known {
        format!("the {EITHER_END} with the largest gain and the {EITHER_END} with the smallest")
    } else {
        format!("the first {EITHER_END} and the last {EITHER_END}")
    };
    (n > ALL_UP_TO).then(|| format!("Of {n} domains {which} are shown; report.json has all."))
}

fn effects_legend(domains: &Domains) -> Text {
    let begin = "Test accuracy in percent by domain and number of experts per layer, mean over seeds. ";
    let chosen = domains.chosen.map_or(String::new(), |n| n.to_string());
    let gain = if domains.domains.iter().any(|one| one.gain.is_some()) {
        format!(
            " is that of N = {chosen}, which validation chooses, over N = 1, with a paired t interval over seeds; each interval \
             is of one domain alone, so that of twenty domains without a gain one seems to have one. "
        )
    } else {
        format!(" needs N = 1, and a larger size that validation chooses (it chooses N = {chosen}). ")
    };
    Text::default().plain(begin).emphasis("gain").plain(gain).emphasis("main expert").plain(format!(
        " is the share of the domain's tokens that go to the expert with the most of them, with N = {chosen}, mean over layers."
    ))
}

/// A row per arm.
fn purities(report: &Report, purity: &[ArmPurity]) -> Table {
    let columns = vec![
        Column::left("arm"),
        Column::right("experts"),
        Column::right("purity % [95 %]"),
        Column::right("one expert %"),
    ];
    let row = |one: &ArmPurity| {
        let arm = report.arms.iter().find(|arm| arm.arm == one.arm);
        let results = arm.and_then(|arm| arm.results.as_ref());
        vec![
            arm.map_or_else(none, crate::ArmReport::title),
            results.map_or_else(none, |results| experts(&results.n_experts)),
            purity_words(one),
            format!("{:.2}", one.one_expert.percent().mean),
        ]
    };
    Table { columns, rows: purity.iter().map(row).collect() }
}

/// `85.00 [70.10, 99.90]`.
fn purity_words(one: &ArmPurity) -> String {
    let interval = one.interval.map_or(String::new(), |Interval { lower, upper, .. }| {
        format!(" [{:.2}, {:.2}]", 100.0 * lower, 100.0 * upper)
    });
    format!("{:.2}{interval}", one.purity.percent().mean)
}

fn purity_legend() -> Text {
    Text::default()
        .emphasis("purity")
        .plain(
            " is the share of the tokens that are of the domain which their expert gets most of, mean over layers, with a t \
             interval over seeds: 100 where every expert serves one domain. ",
        )
        .emphasis("one expert")
        .plain(" is what a single expert would have: the share of the largest domain. More experts are purer by chance, too.")
}

#[cfg(test)]
mod tests {
    use moelt_schema::CellResult;

    use super::*;
    use crate::fixtures::{NOTHING, on_domains, outcomes_of, plan, result, routed};

    /// A sweep over one and four experts and an adaptive arm; the gain on domain d is 1 pp × d.
    fn report(n_domains: u32, seeds: u64) -> Report {
        let plan = plan(&["frozen-1", "frozen-4", "rule"], seeds);
        let of = |at: usize| -> CellResult {
            let cell = &plan.cells[at];
            let gain = |domain| if cell.arm == "frozen-1" { 0.0 } else { 0.01 * f64::from(domain) };
            let accuracies: Vec<f64> =
                (0..n_domains).map(|domain| 0.5 + gain(domain) + 0.001 * (at % 3) as f64).collect();
            let mut result = on_domains(result(cell, accuracies.iter().sum::<f64>() / 40.0), &accuracies);
            result.domains = (0..n_domains).map(|domain| format!("part {domain}")).collect();
            if cell.arm != "frozen-1" {
                let own = 30.0 + cell.seed as f64;
                result.routing = routed(&[&[&[own, 10.0]], &[&[5.0, 45.0]]]);
            }
            result
        };
        let results = (0..plan.cells.len()).map(of).collect();
        Report::new(&plan, &outcomes_of(&plan, results), &NOTHING, plan.code).unwrap()
    }

    fn section(report: &Report) -> String {
        let markdown = report.to_markdown();
        let section = markdown.split("## ").find(|section| section.starts_with("Domains")).unwrap();
        section.split("Planned by").next().unwrap().to_owned()
    }

    #[test]
    fn the_section_is_shown() {
        let report = report(3, 2);
        insta::assert_snapshot!(section(&report));
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn the_terminal_has_one_sentence() {
        let terminal = report(3, 2).to_terminal();
        let told = "accuracy on a domain gains from +0.05 pp (part 0) to +2.05 pp (part 2); of 3 intervals, above 0: 1, below 0: 0.";
        assert!(terminal.contains(told) && !terminal.contains("main expert"), "{terminal}");
    }

    #[test]
    fn of_many_domains_both_ends_are_shown() {
        assert_eq!(section(&report(30, 1)).matches("| part ").count(), 30);
        let section = section(&report(31, 1));
        assert_eq!(section.matches("| part ").count(), 20);
        assert!(section.contains("| part 30 ") && section.contains("| part 0 "));
        assert!(section.contains("| part 21 ") && !section.contains("| part 20 "), "{section}");
        assert!(section.contains("Of 31 domains the 10 with the largest gain and the 10 with the smallest"));
    }
}
