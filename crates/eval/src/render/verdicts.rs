//! Verdicts for people: a table, then what could have been seen and what adapting costs.

use moelt_schema::{Comparison, Metric};

use super::{
    collapsed,
    document::{ArmRow, Column, Document, Gain, Table, Text},
};
use crate::{
    Compared, Cost, Interval, Judgement, POWER, PairedT, Power, Ratios, Report, SeedTest, Training, go_above,
    report::compared::a_margin_more,
};

/// A summary shows so many comparisons.
const SHORT: usize = 12;

/// Title, table, legend and one item per comparison; nothing without comparisons.
pub(super) fn document(report: &Report) -> Document {
    let comparisons = &report.comparisons;
    let mut document = Document::default();
    if !comparisons.is_empty() {
        document.heading(2, "Verdicts").append(judged(comparisons)).paragraph(legend(report));
        document.list(sentences(comparisons));
    }
    document
}

/// Title and table, if that is short, and why what is not judged is not; nothing without comparisons.
pub(super) fn summary(comparisons: &[Compared]) -> Document {
    let mut document = Document::default();
    if !comparisons.is_empty() {
        let unjudged = comparisons
            .iter()
            .map(|compared| &compared.judged)
            .filter(|judged| judged.interval.is_none() || !judged.missing.is_empty());
        let reasons = unjudged.map(|judged| format!("{}: {}.", judged.declared.name, judged.reason));
        document.heading(2, "Verdicts");
        if comparisons.len() <= SHORT {
            document.append(judged(comparisons));
        } else {
            document.paragraph(format!(
                "{} comparisons are judged: the full report has them.",
                comparisons.len()
            ));
        }
        document.list(reasons);
    }
    document
}

/// A row per comparison.
fn judged(comparisons: &[Compared]) -> Document {
    let about = |compared: &Compared| {
        let Judgement { declared, difference, interval, .. } = &compared.judged;
        let (metric, go_above) = (declared.metric, go_above(declared));
        let gain = difference.zip(*interval);
        let gain = gain.map(|(value, interval)| Gain { metric, value, interval, go_above });
        ArmRow { arm: declared.arm.clone(), gain }
    };
    let mut document = Document::default();
    document.arm_table(table(comparisons), comparisons.iter().map(about));
    document
}

fn table(comparisons: &[Compared]) -> Table {
    let columns = vec![
        Column::left("comparison"),
        Column::left("metric"),
        Column::left("claim"),
        Column::right("gain"),
        Column::left("verdict"),
        Column::right("min. detectable effect"),
        Column::right("× steps"),
        Column::right("× FLOPs"),
    ];
    Table { columns, rows: comparisons.iter().map(row).collect() }
}

fn legend(report: &Report) -> Text {
    let bootstrap = &report.bootstrap;
    let unseen = report.comparisons.iter().find_map(|compared| compared.judged.unseen.as_ref());
    Text::default()
        .plain(format!(
            "Gain over the opponent on the test split with its interval, Holm-adjusted within the family ({} resamples, seed \
             {}; crossed over seeds and texts where each text has a score, else over seeds); of what costs (loss, experts, \
             FLOPs, forgetting) the gain is what is saved; utility is accuracy less the price of the experts per layer; ",
            bootstrap.resamples, bootstrap.seed
        ))
        .emphasis("min. detectable effect")
        .plain(format!(" is the true gain that yields GO with probability {POWER}. "))
        .emphasis("× steps")
        .plain(" and ")
        .emphasis("× FLOPs")
        .plain(
            " are the training behind the arm by that behind its opponent (of several, the size that was chosen), that of \
             inherited weights included; FLOPs also with those of teachers.",
        )
        .plain(collapsed::condition(&report.collapse, unseen))
}

/// One sentence or more for every comparison.
fn sentences(comparisons: &[Compared]) -> Vec<String> {
    comparisons
        .iter()
        .map(|compared| format!("{}: {}", compared.judged.declared.name, words(compared)))
        .collect()
}

fn row(compared: &Compared) -> Vec<String> {
    let judged = &compared.judged;
    let of_training = |ratio: fn(&Training) -> Option<f64>| {
        let ratio = compared.training.as_ref().and_then(ratio);
        ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"))
    };
    vec![
        judged.declared.name.clone(),
        judged.declared.metric.name().to_owned(),
        claim(&judged.declared),
        gain(judged),
        judged.verdict.to_string(),
        compared
            .power
            .and_then(|power| power.detectable)
            .map_or("–".to_owned(), |gain| judged.declared.metric.shown(gain)),
        of_training(|training| training.steps),
        of_training(|training| training.flops),
    ]
}

/// `> +0.50 pp`: what the gain must be.
fn claim(declared: &Comparison) -> String {
    format!("> {}", declared.metric.shown(go_above(declared)))
}

/// `+0.30 [+0.16, +0.46] pp`.
pub(super) fn gain(judged: &Judgement) -> String {
    let numbers = difference(judged);
    if judged.interval.is_some() { numbers + judged.declared.metric.unit() } else { numbers }
}

/// The same without its unit.
pub(super) fn difference(judged: &Judgement) -> String {
    numbers(judged.declared.metric, judged.difference, judged.interval)
}

/// A difference with its interval, without a unit.
pub(super) fn numbers(metric: Metric, difference: Option<f64>, interval: Option<Interval>) -> String {
    let number = |gain| metric.number(gain);
    match (difference, interval) {
        (Some(difference), Some(Interval { lower, upper, .. })) => {
            format!("{} [{}, {}]", number(difference), number(lower), number(upper))
        }
        _ => "–".to_owned(),
    }
}

fn words(compared: &Compared) -> String {
    let mut parts =
        vec![format!("{} (adjusted {})", compared.judged.reason, p_words(compared.judged.p_adjusted))];
    parts.extend(compared.power.map(|power| power_words(&power, &compared.judged, compared.seeds.len())));
    parts.extend(compared.paired_t.map(|t| beside(&t, compared.mcnemar)));
    parts.extend(compared.cost.as_ref().map(|cost| cost_words(cost, compared)));
    parts.join(". ") + "."
}

/// What so many seeds could have seen.
pub(super) fn power_words(power: &Power, judged: &Judgement, seeds: usize) -> String {
    let declared = &judged.declared;
    let shown = |gain| declared.metric.shown(gain);
    let wanted = shown(a_margin_more(declared));
    let needed = match power.seeds_needed {
        _ if declared.margin == 0.0 => String::new(),
        Some(needed) => format!("; for one of {wanted} {needed} seeds would do"),
        None => format!("; for one of {wanted} no number of seeds would do on these examples"),
    };
    let Some(detectable) = power.detectable else {
        return format!("With {seeds} seeds no gain yields GO{needed}");
    };
    let unseen = judged.unseen.and_then(|unseen| unseen.to_spare).filter(|spare| *spare > 0.0);
    let of_it = unseen.map_or(String::new(), |spare| {
        format!(
            " ({} more than by the interval alone, for collapses they do not exclude)",
            shown(spare).trim_start_matches('+')
        )
    });
    format!(
        "With {seeds} seeds a true gain of {}{of_it} yields GO four times in five at least{needed}",
        shown(detectable)
    )
}

/// What decides nothing.
pub(super) fn beside(t: &PairedT, mcnemar: Option<SeedTest>) -> String {
    let t = t.p.map_or("the same in every seed".to_owned(), p_words);
    let mcnemar = mcnemar.map_or(String::new(), |SeedTest { seed, test }| {
        let (own, others, p) = (test.first_only, test.second_only, p_words(test.p_exact));
        format!("; McNemar on seed {seed} {own} : {others}, {p}")
    });
    format!("Beside it: paired t over seeds {t}{mcnemar}")
}

pub(super) fn p_words(p: f64) -> String {
    if p < 0.0005 { "p < 0.001".to_owned() } else { format!("p {p:.3}") }
}

fn cost_words(cost: &Cost, compared: &Compared) -> String {
    let Interval { lower, upper, .. } = cost.interval_pp;
    let chosen = compared.chosen.as_ref().map_or(String::new(), |chosen| {
        let choice = chosen.choices.iter().find(|choice| choice.n_experts == chosen.n_experts);
        let percent = choice.map_or(0.0, |choice| 100.0 * choice.fraction);
        let among: Vec<String> = chosen.choices.iter().map(|choice| choice.n_experts.to_string()).collect();
        let (n, among) = (chosen.n_experts, among.join(", "));
        format!(" against N = {n} of {among} (chosen in {percent:.0} % of the resamples)")
    });
    format!(
        "Regret {:+.2} pp [{lower:+.2}, {upper:+.2}]{chosen}; its own training took {} of a run of that N and {} of \
         the sweep{}; {} the experts of the smallest N within 0.5 pp of the best",
        cost.regret_pp,
        ratios(&cost.by_one_run),
        ratios(&cost.by_sweep),
        needs_words(cost),
        times(cost.size_ratio)
    )
}

/// `, with the 4 runs (lookahead) that it builds on …`; nothing where it builds on none.
fn needs_words(cost: &Cost) -> String {
    if cost.builds_on.is_empty() {
        return String::new();
    }
    let runs = match cost.needed_runs {
        Some(1.0) => "the run".to_owned(),
        Some(n) if n.fract() == 0.0 => format!("the {n} runs"),
        _ => "the runs".to_owned(),
    };
    let (arms, all) = (cost.builds_on.join(" and "), ratios(&cost.by_sweep_with_needs));
    format!(", with {runs} ({arms}) that it builds on {all} of the sweep")
}

fn ratios(ratios: &Ratios) -> String {
    format!("{} FLOPs and {} seconds", times(ratios.flops), times(ratios.seconds))
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2} ×"))
}
