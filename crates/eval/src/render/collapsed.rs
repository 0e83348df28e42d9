//! Collapsed seeds for people, and what verdicts would be without them.

use moelt_schema::CollapseRule;

use super::{document::Document, verdicts::numbers};
use crate::{ArmReport, CollapsedSeed, Compared, Fall, Report, Unseen, WithoutCollapsed};

/// A summary names so many seeds, and so many comparisons.
const SHORT: usize = 6;

/// Title, rule, every collapsed seed with what it looked like, and every comparison with and without them. Nothing while no
/// cell is finished.
pub(super) fn document(report: &Report) -> Document {
    let mut document = Document::default();
    if report.arms.iter().all(|arm| arm.results.is_none()) {
        return document;
    }
    document.heading(2, "Collapsed seeds").paragraph(rule_words(&report.collapse, any(report)));
    document.list(seeds(report).map(|(arm, seed)| long(arm, seed)));
    let left = comparisons(report).filter(|(_, without)| without.difference.is_some());
    document.list(left.map(|(compared, without)| both(compared, without)));
    document
}

/// The seeds, and the comparisons that their absence would change; nothing where none collapsed.
pub(super) fn summary(report: &Report) -> Document {
    let mut document = Document::default();
    if !any(report) {
        return document;
    }
    let changed =
        comparisons(report).filter(|(compared, without)| compared.judged.verdict != without.verdict);
    let words = seeds(report).map(|(arm, seed)| short(arm, seed));
    document.heading(2, "Collapsed seeds").list(few(words.collect()));
    document.list(few(changed.map(|(compared, without)| both(compared, without)).collect()));
    document
}

/// What a GO needs beside its interval, for the legend of verdicts.
pub(super) fn condition(rule: &CollapseRule, unseen: Option<&Unseen>) -> String {
    if rule.is_off() {
        return " This plan lets a GO rest on its interval alone: that some seeds collapse need not be excluded.".to_owned();
    }
    let seeds = unseen.map_or(String::new(), |unseen| format!(" ({} or more)", unseen.seeds_needed));
    format!(
        " A GO in accuracy (of a stream too), utility, loss or macro-F1 also takes seeds enough to exclude that {:.0} % of them collapse{seeds}; or, \
         but for losses, a lower bound so high that with fewer seeds unseen collapses by {:.0} pp each would not lower it too far.",
        100.0 * rule.rate,
        100.0 * rule.depth
    )
}

fn any(report: &Report) -> bool {
    seeds(report).next().is_some()
}

fn seeds(report: &Report) -> impl Iterator<Item = (&ArmReport, &CollapsedSeed)> {
    let results = report.arms.iter().filter_map(|arm| Some((arm, arm.results.as_ref()?)));
    results.flat_map(|(arm, results)| results.collapsed.iter().map(move |seed| (arm, seed)))
}

fn comparisons(report: &Report) -> impl Iterator<Item = (&Compared, &WithoutCollapsed)> {
    report.comparisons.iter().filter_map(|compared| Some((compared, compared.without_collapsed.as_ref()?)))
}

fn rule_words(rule: &CollapseRule, any: bool) -> String {
    let below = 100.0 * rule.below;
    let what = format!("lies more than {below:.2} pp below the median of its arm's seeds on the test split");
    if any {
        format!(
            "By the plan a seed is collapsed when it {what}. Without them no condition but the interval is asked."
        )
    } else {
        format!("None: no seed {what}.")
    }
}

/// `rule, seed 3: 91.20 %, 5.30 pp below its arm's median`.
fn short(arm: &ArmReport, seed: &CollapsedSeed) -> String {
    let (accuracy, fall) = (100.0 * seed.accuracy, 100.0 * (seed.median - seed.accuracy));
    format!("{}, seed {}: {accuracy:.2} %, {fall:.2} pp below its arm's median", arm.title(), seed.seed)
}

fn long(arm: &ArmReport, seed: &CollapsedSeed) -> String {
    let CollapsedSeed { best_step, steps, n_experts, .. } = seed;
    let [median, validation, last] =
        [seed.median, seed.validation_accuracy, seed.last_accuracy].map(|accuracy| 100.0 * accuracy);
    let furthest = seed.furthest.as_ref().map_or(String::new(), |Fall { part, accuracy, median }| {
        format!("; furthest down in {part}: {:.2} % (median {:.2} %)", 100.0 * accuracy, 100.0 * median)
    });
    format!(
        "{} of {median:.2} %; validation {validation:.2} %, last checkpoint {last:.2} %; best at step {best_step} of {steps}, with \
         {n_experts} experts{furthest}",
        short(arm, seed)
    )
}

/// `rule against dense: -0.90 [-1.20, -0.10] pp, NO-GO; without seeds 3 and 7 …`.
fn both(compared: &Compared, without: &WithoutCollapsed) -> String {
    let judged = &compared.judged;
    let metric = judged.declared.metric;
    let seeds: Vec<String> = without.seeds.iter().map(u64::to_string).collect();
    let plural = if seeds.len() == 1 { "" } else { "s" };
    let [with, left] = [(judged.difference, judged.interval), (without.difference, without.interval)]
        .map(|(difference, interval)| numbers(metric, difference, interval));
    let unit = metric.unit();
    format!(
        "{}: {with}{unit}, {}; without seed{plural} {} {left}{unit}, {} by its interval",
        judged.declared.name,
        judged.verdict,
        seeds.join(", "),
        without.verdict
    )
}

/// The first [`SHORT`], and how many more there are.
fn few(mut items: Vec<String>) -> Vec<String> {
    let more = items.len().saturating_sub(SHORT);
    items.truncate(SHORT);
    items.extend((more > 0).then(|| format!("{more} more are in the full report")));
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOTHING, finished, plan};

    #[test]
    fn a_summary_names_a_few() {
        let names = |n: usize| (0..n).map(|i| format!("seed {i}")).collect::<Vec<_>>();
        assert_eq!(few(names(SHORT)), names(SHORT));
        let some = few(names(SHORT + 2));
        assert_eq!((some.len(), some[SHORT].as_str()), (SHORT + 1, "2 more are in the full report"));
    }

    #[test]
    fn that_no_seed_collapsed_is_said_in_full_and_left_out_of_the_summary() {
        let plan = plan(&["moe"], 3);
        let report = Report::new(&plan, &finished(&plan, &[0.9, 0.91, 0.9]), &NOTHING, plan.code).unwrap();
        assert!(report.to_markdown().contains("None: no seed lies more than 2.00 pp below the median"));
        assert!(!report.to_terminal().contains("Collapsed seeds"));
    }

    #[test]
    fn the_legend_says_what_a_go_takes() {
        let off = condition(&CollapseRule::OFF, None);
        assert!(off.contains("lets a GO rest on its interval alone"), "{off}");
        let on = condition(&CollapseRule::default(), None);
        assert!(on.contains("exclude that 10 % of them collapse;") && on.contains("by 10 pp each"), "{on}");
    }
}
