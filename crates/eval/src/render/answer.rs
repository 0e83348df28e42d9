//! The first screen of a report: three questions with their answers, and a short table.

use moelt_schema::ClaimKind;

use super::{
    arms::{cells, experts, gigaflops, none, taught_cost, with_needs},
    document::{Column, Document, Table, Text},
    verdicts::difference,
};
use crate::{
    Answer, ArmCost, ArmReport, ArmResults, CLOSE_TO_BEST_PP, Compared, Enough, Interval, Report, Spent,
    Unseen, Verdict,
};

/// Of so many comparisons each difference is told; of more only the largest.
const FEW: usize = 2;

/// The three questions with their answers. Where no frozen size was planned none of them has one; then the comparisons that were
/// declared are the questions.
pub(super) fn sentences(report: &Report, answer: &Answer) -> Document {
    let mut document = Document::default();
    let has_sizes = report.arms.iter().any(|arm| arm.sweep.is_some());
    if !has_sizes && !report.comparisons.is_empty() {
        let asked = |compared: &Compared| {
            Text::default().strong(question(compared)).plain(format!(" {}", says(compared)))
        };
        document.list(report.comparisons.iter().map(asked));
        return document;
    }
    document.list([
        Text::default().strong("Does adapting pay?").plain(format!(" {}", pays(report, answer))),
        Text::default().strong("How many experts are enough?").plain(format!(" {}", enough(report, answer))),
        Text::default().strong("What did finding out cost?").plain(format!(" {}", cost_of(report, answer))),
    ]);
    document
}

/// `Is moe better than dense?`
fn question(compared: &Compared) -> String {
    let declared = &compared.judged.declared;
    let is = match declared.kind {
        ClaimKind::Superiority => "better than",
        ClaimKind::NonInferiority => "at least not worse than",
    };
    format!("Is {} {is} {}?", declared.arm, declared.against.join(", "))
}

/// The verdict, with the difference that it rests on.
fn says(compared: &Compared) -> String {
    let judged = &compared.judged;
    match judged.interval {
        Some(interval) => {
            let (metric, n) = (judged.declared.metric, seeds(&[(compared, interval)]));
            format!("{}: {}{} in {metric}, with {n}.", judged.verdict, difference(judged), metric.unit())
        }
        None => format!("{}: {}.", judged.verdict, judged.reason),
    }
}

/// The short table, its legend, and how many arms it leaves out.
pub(super) fn short(report: &Report, answer: &Answer) -> Document {
    let mut document = Document::default();
    let rows = answer.arms.iter().map(|arm| arm.arm.as_str());
    document.arm_table(table(report, answer), rows).paragraph(legend(report, answer));
    document
}

/// Whether an arm is worth having, or better than the best frozen size; the verdicts; the largest difference.
fn pays(report: &Report, answer: &Answer) -> String {
    let adaptive = &answer.adaptive;
    let Some(first) = adaptive.first() else {
        return "Not judged: the plan declares no comparison with the best frozen size.".to_owned();
    };
    let complete: Vec<(&Compared, Interval)> = adaptive
        .iter()
        .filter(|compared| compared.judged.missing.is_empty())
        .filter_map(|compared| Some((*compared, compared.judged.interval?)))
        .collect();
    if complete.is_empty() {
        let reason = &first.judged.reason;
        return format!(
            "Not known: no comparison with the best frozen size is complete ({}: {reason}).",
            arm(first)
        );
    }
    let utilities: Vec<(&str, Verdict)> = adaptive
        .iter()
        .filter_map(|compared| Some((arm(compared), report.utility_of(arm(compared))?.0)))
        .collect();
    let of_accuracy = |arm: &str| {
        let verdict = adaptive.iter().find(|compared| compared.judged.declared.arm == arm);
        verdict.is_some_and(|compared| compared.judged.verdict == Verdict::Go)
    };
    let begin = if utilities.is_empty() { gain(&complete) } else { worth(&utilities, of_accuracy) };
    let utility = match by_verdict(&utilities) {
        verdicts if verdicts.is_empty() => String::new(),
        verdicts => format!("; utility is {verdicts}"),
    };
    format!(
        "{begin}; the claim “{}” in accuracy is {}{utility}; {}, with {}{}.",
        claim(adaptive),
        verdicts(adaptive),
        differences(&complete),
        seeds(&complete),
        left_out(answer.left_out)
    )
}

/// The arms that the answer is not about.
fn left_out(n: usize) -> String {
    match n {
        0 => String::new(),
        1 => "; one more arm, which edited nothing, is among the verdicts".to_owned(),
        n => format!("; {n} more arms, which edited nothing, are among the verdicts"),
    }
}

/// Whether an arm is GO in both accuracy and utility.
fn worth(utilities: &[(&str, Verdict)], of_accuracy: impl Fn(&str) -> bool) -> String {
    let both = utilities.iter().filter(|(arm, verdict)| *verdict == Verdict::Go && of_accuracy(arm));
    let both: Vec<&str> = both.map(|(arm, _)| *arm).collect();
    if both.is_empty() {
        return "Not shown: no arm is GO in both accuracy and utility".to_owned();
    }
    format!(
        "Yes, for {}: as accurate as the best fixed size, and better in utility than a size picked without looking",
        list(&both)
    )
}

/// Whether an interval lies above 0, or all lie below.
fn gain(complete: &[(&Compared, Interval)]) -> String {
    let above = |least: fn(&Compared) -> f64| -> Vec<&str> {
        let above = complete.iter().filter(|(compared, interval)| interval.lower > least(compared));
        above.map(|(compared, _)| arm(compared)).collect()
    };
    let by_interval = above(|_| 0.0);
    let shown = above(|compared| {
        compared.judged.unseen.map_or(0.0, |unseen| unseen.to_spare.unwrap_or(f64::INFINITY))
    });
    if !shown.is_empty() {
        format!(
            "Yes, in accuracy: against the best frozen size the interval of {} lies above 0",
            list(&shown)
        )
    } else if !by_interval.is_empty() {
        format!(
            "Not shown: against the best frozen size the interval of {} lies above 0, but so few seeds may hold no collapse",
            list(&by_interval)
        )
    } else if complete.iter().all(|(_, interval)| interval.upper < 0.0) {
        "No: against the best frozen size every interval lies below 0".to_owned()
    } else {
        "A gain in accuracy is not shown: against the best frozen size no interval lies above 0".to_owned()
    }
}

/// Each difference where there are few, else the largest.
fn differences(complete: &[(&Compared, Interval)]) -> String {
    let told = |compared: &Compared| format!("{} pp for {}", difference(&compared.judged), arm(compared));
    let of = |compared: &Compared| compared.judged.difference.unwrap_or(f64::NEG_INFINITY);
    let largest = complete.iter().map(|(compared, _)| *compared).max_by(|a, b| of(a).total_cmp(&of(b)));
    match largest {
        Some(largest) if complete.len() > FEW => format!("the largest difference is {}", told(largest)),
        _ => {
            let all: Vec<String> = complete.iter().map(|(compared, _)| told(compared)).collect();
            format!("the difference is {}", all.join(" and "))
        }
    }
}

fn arm(compared: &Compared) -> &str {
    &compared.judged.declared.arm
}

/// What is claimed of every arm.
fn claim(adaptive: &[&Compared]) -> String {
    let of = |compared: &Compared| {
        let margin = 100.0 * compared.judged.declared.margin;
        match compared.judged.declared.kind {
            ClaimKind::Superiority => format!("better by more than {margin:.2} pp"),
            ClaimKind::NonInferiority => format!("not worse by more than {margin:.2} pp"),
        }
    };
    let mut claims: Vec<String> = adaptive.iter().map(|compared| of(compared)).collect();
    claims.dedup();
    claims.join(" or ")
}

fn verdicts(adaptive: &[&Compared]) -> String {
    let arms: Vec<(&str, Verdict)> =
        adaptive.iter().map(|compared| (arm(compared), compared.judged.verdict)).collect();
    by_verdict(&arms)
}

/// `GO for rule and 8, INCONCLUSIVE for dynmoe`.
fn by_verdict(arms: &[(&str, Verdict)]) -> String {
    let of = |verdict: Verdict| {
        let arms: Vec<&str> = arms.iter().filter(|(_, own)| *own == verdict).map(|(arm, _)| *arm).collect();
        (!arms.is_empty()).then(|| format!("{verdict} for {}", list(&arms)))
    };
    let all = [Verdict::Go, Verdict::Inconclusive, Verdict::NoGo].into_iter().filter_map(of);
    all.collect::<Vec<_>>().join(", ")
}

/// `5 seeds`, or from the fewest to the most; with what the fewest do not exclude, where they should.
fn seeds(complete: &[(&Compared, Interval)]) -> String {
    let of = || complete.iter().map(|(compared, _)| compared.seeds.len());
    let (fewest, most) = (of().min().unwrap_or(0), of().max().unwrap_or(0));
    let n = if fewest < most { format!("{fewest} to {most} seeds") } else { format!("{most} seeds") };
    let unseen = complete.iter().filter_map(|(compared, _)| compared.judged.unseen);
    let rates = unseen.filter(Unseen::is_too_high).map(|unseen| unseen.rate);
    rates.max_by(f64::total_cmp).map_or(n.clone(), |rate| {
        format!("{n} (which do not exclude that up to {:.0} % of seeds collapse)", 100.0 * rate)
    })
}

/// `a`, `a and b`, `a, b and c`.
fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn enough(report: &Report, answer: &Answer) -> String {
    let Some(Enough { smallest, best, chosen_on_validation, smaller_tried, larger_tried }) = answer.enough
    else {
        return match &report.sweep {
            Some(sweep) => {
                format!("Not known: of the frozen sizes only N = {} has a result.", sweep.best_on_test)
            }
            None => "Not known: no frozen size has a result.".to_owned(),
        };
    };
    let n = smallest.n_experts;
    let best = if best.n_experts == n {
        format!(
            "the best frozen size ({} %), and none smaller is within {CLOSE_TO_BEST_PP} pp of it,",
            smallest.test.percent()
        )
    } else {
        let (own, of_best) = (smallest.test.percent(), best.test.percent());
        let (best, close) = (best.n_experts, CLOSE_TO_BEST_PP);
        format!("the smallest frozen size ({own} %) within {close} pp of the best (N = {best}, {of_best} %)")
    };
    let untried = match (smaller_tried, larger_tried) {
        (true, true) => "",
        (false, true) => "; no smaller size was tried",
        (true, false) => "; no larger size than the best was tried",
        (false, false) => "; neither a smaller size nor one larger than the best was tried",
    };
    format!(
        "{n} per layer: N = {n} is {best} by mean accuracy on the test split, without an interval{untried}; the \
         validation split chooses N = {chosen_on_validation}."
    )
}

/// What the report's own runs cost, and what was spent before any of them.
fn cost_of(report: &Report, answer: &Answer) -> String {
    let taught = taught_cost(&report.arms).map(|taught| format!(" {taught}"));
    cost(&answer.cost) + &taught.unwrap_or_default()
}

fn cost(spent: &Spent) -> String {
    let Some(sweep) = spent.sweep else {
        return "Not known: without all frozen sizes there is no sweep to compare with.".to_owned();
    };
    let sweep = format!("The frozen sweep ({}) took {} GFLOP per seed", sizes(spent.sizes), gigaflops(sweep));
    if spent.arms.is_empty() {
        return format!("{sweep}; no arm was judged against it.");
    }
    let of = |ArmCost { arm, by_sweep, at_least }: &ArmCost| {
        let at_least = if *at_least { "at least " } else { "" };
        by_sweep
            .map_or(format!("an unknown part for {arm}"), |ratio| format!("{at_least}{ratio:.2} × for {arm}"))
    };
    let arms: Vec<String> = spent.arms.iter().map(of).collect();
    let arms: Vec<&str> = arms.iter().map(String::as_str).collect();
    format!("{sweep}; an arm with every run that it builds on took, of that, {}.", list(&arms))
}

fn sizes(n: usize) -> String {
    if n == 1 { "1 size".to_owned() } else { format!("{n} sizes") }
}

fn table(report: &Report, answer: &Answer) -> Table {
    let columns = vec![
        Column::left("arm"),
        Column::right("cells"),
        Column::right("accuracy %"),
        Column::right("experts"),
        Column::right("to best frozen (pp)"),
        Column::left("accuracy"),
        Column::left("utility"),
        Column::right("GFLOP with needs"),
    ];
    Table { columns, rows: answer.arms.iter().map(|arm| row(report, arm)).collect() }
}

fn row(report: &Report, arm: &ArmReport) -> Vec<String> {
    let of = |words: fn(&ArmResults) -> String| arm.results.as_ref().map_or_else(none, words);
    let judged =
        report.against_best().map(|compared| &compared.judged).find(|judged| judged.declared.arm == arm.arm);
    let chosen = report.sweep.as_ref().is_some_and(|sweep| arm.sweep == Some(sweep.chosen_on_validation));
    let verdict = match judged {
        Some(judged) => judged.verdict.to_string(),
        None if chosen => "best frozen".to_owned(),
        None => none(),
    };
    vec![
        arm.title(),
        cells(arm),
        of(|results| results.test_accuracy.percent().to_string()),
        of(|results| experts(&results.n_experts)),
        judged.map_or_else(none, difference),
        verdict,
        report.utility_of(&arm.arm).map_or_else(none, |(verdict, _)| verdict.to_string()),
        of(|results| with_needs(results.with_needs.as_ref())),
    ]
}

fn legend(report: &Report, answer: &Answer) -> String {
    let left_out = report.arms.len() - answer.arms.len();
    let left_out = match left_out {
        0 => String::new(),
        1 => " One more arm is in the full report.".to_owned(),
        n => format!(" {n} more arms are in the full report."),
    };
    format!(
        "Mean ± standard deviation over seeds, on the test split; experts over all layers of the judged checkpoint; best frozen: \
         the size that the validation split chooses; accuracy: not worse than that; utility: better than every opponent it \
         is declared against; with needs: with the runs that an arm builds on, in brackets how many.{left_out}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use moelt_schema::{AblationPlan, Comparison, Metric, RoutingConfig};

    use super::*;
    use crate::{
        Outcome,
        fixtures::{NOTHING, accuracy, declare, finished, grown, judged_plan, only, plan, reader, result},
    };

    const SIZES: [&str; 2] = ["frozen-2", "frozen-4"];

    fn answers(report: &Report) -> [String; 3] {
        let answer = report.answer();
        [pays(report, &answer), enough(report, &answer), cost(&answer.cost)]
    }

    /// Five seeds of `rule` against the best of two sizes, without the cells that `lost` names.
    fn judged(arms: &[(&'static str, f64)], kind: ClaimKind, lost: fn(&str, u64) -> bool) -> Report {
        let comparisons: Vec<Comparison> =
            arms[2..].iter().map(|(arm, _)| declare(arm, &SIZES, kind)).collect();
        let (mut plan, outcomes) = judged_plan(arms, comparisons);
        let mut named = BTreeMap::new();
        for cell in &mut plan.cells {
            let outcome = outcomes.get(&cell.id).cloned();
            cell.id = format!("{}-s{}", cell.arm, cell.seed);
            named.extend(
                outcome.filter(|_| !lost(&cell.arm, cell.seed)).map(|outcome| (cell.id.clone(), outcome)),
            );
        }
        Report::new(&plan, &named, &only(&reader(arms)), plan.code).unwrap()
    }

    #[test]
    fn without_frozen_sizes_the_comparisons_are_the_questions() {
        let arms = [("dense", 0.78), ("moe", 0.86)];
        let (plan, outcomes) = judged_plan(&arms, vec![declare("moe", &["dense"], ClaimKind::Superiority)]);
        let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
        let text = sentences(&report, &report.answer()).to_markdown();
        assert!(
            text.contains("**Is moe better than dense?** GO: +8.00 [") && text.contains("with 5 seeds"),
            "{text}"
        );
        assert!(!text.contains("Not known") && !text.contains("Does adapting pay"), "{text}");
    }

    #[test]
    fn a_clear_gain_is_told() {
        let arms = [("frozen-2", 0.78), ("frozen-4", 0.80), ("rule", 0.86)];
        let [pays, enough, cost] = answers(&judged(&arms, ClaimKind::Superiority, |_, _| false));
        let start = "Yes, in accuracy: against the best frozen size the interval of rule lies above 0; the claim “better by more \
                     than 0.50 pp” in accuracy is GO for rule; the difference is +6.00 [";
        assert!(pays.starts_with(start) && pays.ends_with("with 5 seeds."), "{pays}");
        let start = "4 per layer: N = 4 is the best frozen size (80.08 ± 0.08 %), and none smaller is within 0.5 pp of it,";
        assert!(
            enough.starts_with(start) && enough.contains("no larger size than the best was tried"),
            "{enough}"
        );
        let expected = "The frozen sweep (2 sizes) took 0.006 GFLOP per seed; an arm with every run that it builds on took, of \
                        that, 0.50 × for rule.";
        assert_eq!(cost, expected);
    }

    /// As accurate as eight experts with two, and with eight.
    #[test]
    fn an_arm_pays_that_is_as_accurate_and_smaller() {
        let arms = [("frozen-2", 0.70), ("frozen-8", 0.80), ("small", 0.80), ("large", 0.80)];
        let against = ["frozen-2", "frozen-8"];
        let of = |arm| {
            let metric = Metric::Utility { price: 0.001 };
            let utility =
                Comparison { metric, margin: 0.0, ..declare(arm, &["frozen-8"], ClaimKind::Superiority) };
            let utility = Comparison { name: format!("{arm} in utility"), ..utility };
            [declare(arm, &against, ClaimKind::NonInferiority), utility]
        };
        let (mut plan, _) = judged_plan(&arms, ["small", "large"].into_iter().flat_map(of).collect());
        let experts = |arm: &str| if arm == "small" { 3 } else { 8 };
        for cell in plan.cells.iter_mut().filter(|cell| cell.sweep.is_none()) {
            let n_experts = experts(&cell.arm);
            cell.config.model.routing = RoutingConfig::TopK { n_experts };
        }
        let accuracies: Vec<f64> = plan.cells.iter().map(|cell| accuracy(&arms, cell)).collect();
        let outcomes = finished(&plan, &accuracies);
        let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
        let pays = pays(&report, &report.answer());
        let start = "Yes, for small: as accurate as the best fixed size, and better in utility than a size picked \
                     without looking; the claim “not worse by more than 0.50 pp” in accuracy is GO for small and large; \
                     utility is GO for small, INCONCLUSIVE for large;";
        assert!(pays.starts_with(start), "{pays}");
        let gain = report.utility_of("small").unwrap().1.judged.difference.unwrap();
        assert!((gain - 0.005).abs() < 1e-9, "five experts fewer at 0.1 pp: {gain}");
        let table = table(&report, &report.answer());
        let row = table.rows.iter().find(|row| row[0] == "small").unwrap();
        assert_eq!(row[5..7], ["GO", "GO"]);
    }

    #[test]
    fn no_gain_and_a_clear_loss_are_told() {
        let arms = [("frozen-2", 0.80), ("frozen-4", 0.80), ("rule", 0.801)];
        let [pays, enough, _] = answers(&judged(&arms, ClaimKind::NonInferiority, |_, _| false));
        let start = "A gain in accuracy is not shown: against the best frozen size no interval lies above 0; the claim “not \
                     worse by more than 0.50 pp” in accuracy is GO for rule;";
        assert!(pays.starts_with(start), "{pays}");
        assert!(enough.starts_with("2 per layer") && enough.contains("no smaller size"), "{enough}");
        let arms = [("frozen-2", 0.80), ("frozen-4", 0.80), ("rule", 0.7), ("head", 0.7), ("9", 0.71)];
        let [pays, ..] = answers(&judged(&arms, ClaimKind::NonInferiority, |_, _| false));
        assert!(pays.starts_with("No: against the best frozen size every interval lies below 0;"), "{pays}");
        assert!(
            pays.contains("in accuracy is NO-GO for rule, head and 9; the largest difference is -9.00 ["),
            "{pays}"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let arms = [("frozen-2", 0.78), ("frozen-4", 0.80), ("rule", 0.86)];
        let [pays, _, cost] =
            answers(&judged(&arms, ClaimKind::Superiority, |arm, seed| arm == "rule" && seed == 3));
        let expected = "Not known: no comparison with the best frozen size is complete (rule: incomplete: rule-s3: has not run to its \
                        end).";
        assert_eq!(pays, expected);
        assert!(cost.ends_with("took, of that, an unknown part for rule."), "{cost}");
        let [_, _, cost] = answers(&judged(&arms, ClaimKind::Superiority, |arm, _| arm == "frozen-2"));
        assert_eq!(cost, "Not known: without all frozen sizes there is no sweep to compare with.");
        let one_seed: fn(&str, u64) -> bool = |_, seed| seed > 0;
        let [pays, ..] = answers(&judged(&arms, ClaimKind::Superiority, one_seed));
        assert!(pays.starts_with("Not known: "), "{pays}");
    }

    #[test]
    fn without_comparisons_or_a_sweep_nothing_is_claimed() {
        let of = |plan: AblationPlan, accuracies: &[f64]| {
            Report::new(&plan, &finished(&plan, accuracies), &NOTHING, plan.code).unwrap()
        };
        let [pays, enough, cost] = answers(&of(plan(&["dense", "moe"], 1), &[0.8, 0.9]));
        assert_eq!(pays, "Not judged: the plan declares no comparison with the best frozen size.");
        assert_eq!(enough, "Not known: no frozen size has a result.");
        assert_eq!(cost, "Not known: without all frozen sizes there is no sweep to compare with.");
        let [_, enough, cost] = answers(&of(plan(&["dense", "frozen-4"], 1), &[0.8, 0.9]));
        assert_eq!(enough, "Not known: of the frozen sizes only N = 4 has a result.");
        assert_eq!(
            cost,
            "The frozen sweep (1 size) took 0.003 GFLOP per seed; no arm was judged against it."
        );
    }

    /// The best frozen size, the first arm and those that edited come before everything else; the plan's order stays.
    #[test]
    fn the_short_table_has_sixteen_rows() {
        let names = [
            "dense", "moe", "frozen-1", "frozen-2", "frozen-4", "a", "b", "c", "d", "e", "f", "g", "h", "i",
            "j", "k", "l", "m", "n",
        ];
        let arms: Vec<(&'static str, f64)> =
            names.iter().map(|name| (*name, if *name == "frozen-4" { 0.9 } else { 0.8 })).collect();
        let against = ["frozen-1", "frozen-2", "frozen-4"];
        let comparisons =
            names[5..].iter().map(|arm| declare(arm, &against, ClaimKind::Superiority)).collect();
        let (plan, mut outcomes) = judged_plan(&arms, comparisons);
        for cell in plan.cells.iter().filter(|cell| ["b", "f"].contains(&cell.arm.as_str())) {
            let edited = grown(result(cell, 0.8), &[30]);
            outcomes.insert(cell.id.clone(), Outcome::Finished(Box::new(edited)));
        }
        let report = Report::new(&plan, &outcomes, &only(&reader(&arms)), plan.code).unwrap();
        let answer = report.answer();
        let shown: Vec<&str> = answer.arms.iter().map(|arm| arm.arm.as_str()).collect();
        let expected = ["dense", "moe", "frozen-1", "frozen-2", "frozen-4", "a", "b", "c", "d", "e", "f"];
        assert_eq!((&shown[..11], shown.len()), (&expected[..], 16));
        let adaptive: Vec<&str> = answer.adaptive.iter().map(|compared| arm(compared)).collect();
        assert_eq!((adaptive, answer.left_out), (vec!["b", "f"], 12), "those that edited");
        assert!(
            pays(&report, &answer).ends_with("; 12 more arms, which edited nothing, are among the verdicts.")
        );
        assert!(legend(&report, &answer).ends_with("3 more arms are in the full report."));
    }
}
