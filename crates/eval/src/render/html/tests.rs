//! The page as a whole: what it shows, how large it is, and that nothing in it is loaded or run that should not be.

use std::collections::{BTreeMap, BTreeSet};

use moelt_schema::{AblationPlan, Cell, CellResult, ClaimKind, Flops};

use super::*;
use crate::{
    LogRouting, LogValidation, LogWindow, Outcome, TrainingLog,
    fixtures::{declare, grown, on_domains, only, plan, predictions, result, routed},
};

/// Accuracies by arm, and a spread over seeds.
fn accuracy(cell: &Cell) -> f64 {
    let arm = cell.arm.bytes().map(usize::from).sum::<usize>() % 40;
    0.80 + 0.003 * arm as f64 + 0.0015 * ((cell.seed * 7) % 5) as f64
}

/// Of arms that are no frozen size, cells whose experts grow.
fn outcome(cell: &Cell, domains: &[&str]) -> Outcome {
    let accuracies: Vec<f64> = (0..domains.len()).map(|at| accuracy(cell) - 0.01 * at as f64).collect();
    let mut result = on_domains(result(cell, accuracy(cell)), &accuracies);
    result.domains = domains.iter().map(|&name| name.to_owned()).collect();
    if cell.sweep.is_none() && cell.arm != "dense" {
        result = grown(result, &[10 + cell.seed, 20 + 2 * cell.seed, 60]);
    }
    let tokens: Vec<f64> = (0..result.layout.n_experts()).map(|at| 10.0 + at as f64).collect();
    result.routing = routed(&vec![&[tokens.as_slice()][..]; domains.len()]);
    result.flops = Flops::unpadded(1_000_000_000 * (1 + result.layout.n_experts() as u64));
    Outcome::Finished(Box::new(result))
}

/// A log with a window per step.
fn log(cell: &Cell, outcomes: &BTreeMap<String, Outcome>) -> Result<TrainingLog, String> {
    let Some(Outcome::Finished(result)) = outcomes.get(&cell.id) else {
        return Err(format!("{} has none", cell.id));
    };
    let routing = |step| {
        let n = result.edits.layout_at(step).map_or(0, |layout| layout.n_experts());
        let share = |at: usize| (1.0 + ((at * 5 + step as usize / 9) % 7) as f64) / (4.0 * n as f64);
        LogRouting {
            utilization: (0..n).map(share).collect(),
            routing_entropy: 1.0,
            load_entropy: (n as f64).ln(),
        }
    };
    let window = |step: u64| {
        let loss = 0.3 + 0.4 / (1.0 + step as f64 / 20.0);
        LogWindow { step, loss, grad_norm: 0.5 + loss, layers: vec![routing(step)] }
    };
    let validation =
        |step: u64| LogValidation { step, loss: 0.4 + 0.3 / (1.0 + step as f64 / 20.0), accuracy: 0.9 };
    let validations = (1..=10).map(|at| validation(10 * at)).collect();
    Ok(TrainingLog { windows: (1..=100).map(window).collect(), validations })
}

/// A page of a plan whose arms are all judged against the best of its frozen sizes.
fn page_of(arms: &[&str], seeds: u64, domains: &[&str], name: &str) -> String {
    let sizes: Vec<&str> = arms.iter().copied().filter(|arm| arm.starts_with("frozen-")).collect();
    let judged = arms.iter().filter(|arm| !arm.starts_with("frozen-"));
    let comparisons = judged.map(|arm| declare(arm, &sizes, ClaimKind::NonInferiority)).collect();
    let plan = AblationPlan { name: name.to_owned(), comparisons, ..plan(arms, seeds) };
    let outcomes: BTreeMap<String, Outcome> =
        plan.cells.iter().map(|cell| (cell.id.clone(), outcome(cell, domains))).collect();
    let read = |cell: &Cell, _: &str| Ok(predictions(400, accuracy(cell), cell.seed));
    let report = Report::new(&plan, &outcomes, &only(&read), plan.code).unwrap();
    report.to_html(&CellSource {
        plan: &plan,
        outcomes: &outcomes,
        log: &|cell| log(cell, &outcomes),
        command: &|cell| format!("moelt train {}.toml --out again/{}", cell.arm, cell.arm),
    })
}

/// The page up to the scripts at its end.
fn shown(page: &str) -> &str {
    page.split("</main>").next().unwrap()
}

fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).map(move |rest| rest.split(after).next().unwrap())
}

const DOMAINS: [&str; 2] = ["books", "code"];

#[test]
fn every_section_is_linked_from_the_side() {
    let page = page_of(&["frozen-1", "frozen-4", "rule"], 3, &DOMAINS, "test");
    let ids: BTreeSet<&str> = between(shown(&page), "<h2 id=\"", "\"").collect();
    let links: BTreeSet<&str> = between(shown(&page), "<li><a href=\"#", "\"").collect();
    assert_eq!(ids, links);
    insta::assert_snapshot!(between(shown(&page), "<h2 id=\"", "\"").collect::<Vec<_>>().join("\n"));
    let titles = between(shown(&page), "<h2 id=\"", "\"").count();
    assert_eq!(
        (ids.len(), page.matches("<section").count()),
        (titles, titles),
        "one title each, no two alike"
    );
}

#[test]
fn arms_and_domains_are_text_wherever_they_stand() {
    let evil = "<script>alert(1)</script>";
    let page = page_of(&["frozen-1", "frozen-4", evil], 3, &[evil, "</script><img src=x>"], evil);
    assert!(
        !page.contains("<script>alert") && !page.contains("</script><img") && !page.contains("<img src=x")
    );
    assert!(shown(&page).contains("data-arm=\"&lt;script&gt;alert(1)&lt;/script&gt;\""));
    // The one in the head, plotly.js, the one that draws, and one for the numbers of each view.
    let data = page.matches("<script type=\"application/json\"").count();
    let own = page.replace(&plotly_script(), "");
    assert_eq!((own.matches("<script").count(), own.matches("</script>").count()), (data + 3, data + 3));
    for json in between(&page, "<script type=\"application/json\"", "</script>") {
        let json = json.split_once('>').unwrap().1;
        let figure: serde_json::Value = serde_json::from_str(json).unwrap();
        let texts = figure["data"].to_string();
        assert!(
            !texts.contains("\"<script>alert(1)</script>, seed"),
            "a chart takes tags in words for a format"
        );
    }
}

#[test]
fn nothing_is_loaded() {
    let page = page_of(&["frozen-1", "frozen-4", "rule"], 2, &DOMAINS, "test");
    let own = page.replace(&plotly_script(), "");
    for attribute in [" src=", " srcset=", "@import", "url(", "<link", "<iframe", "fetch(", "import("] {
        assert!(!own.contains(attribute), "{attribute}");
    }
    assert!(between(&own, "href=\"", "\"").all(|target| target.starts_with('#')));
    assert!(!own.contains("http://") && !own.contains("https://"));
    assert!(page.contains("default-src 'none'"));
    let plotly = plotly_script();
    assert!(
        plotly.trim_start().starts_with("/**\n* plotly.js v3") && plotly.len() < 5_000_000,
        "without MathJax"
    );
    assert!(!plotly.contains("<script") && page.len() > plotly.len());
}

#[test]
fn fifteen_arms_of_fifteen_seeds_stay_below_eight_megabytes() {
    let mut arms: Vec<String> = [1, 2, 4, 8, 16].map(|n| format!("frozen-{n}")).into();
    arms.extend((0..10).map(|at| format!("arm-{at}")));
    let arms: Vec<&str> = arms.iter().map(String::as_str).collect();
    let page = page_of(&arms, 15, &["a", "b", "c", "d", "e", "f", "g", "h"], "large");
    assert!(page.len() < 8_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<script type=\"application/json\" id=\"training-chart-").count(), 225);
}

#[test]
fn nothing_finished_is_a_page_too() {
    let plan = plan(&["dense", "frozen-2"], 1);
    let report = Report::new(&plan, &BTreeMap::new(), &crate::fixtures::NOTHING, plan.code).unwrap();
    let source = CellSource {
        plan: &plan,
        outcomes: &BTreeMap::new(),
        log: &|_| Err(String::new()),
        command: &|_| String::new(),
    };
    let page = report.to_html(&source);
    assert!(page.contains("0 of 2 cells finished") && !page.contains("<script type=\"application/json\""));
    assert!(page.contains("has not run to its end"));
}

#[test]
fn a_cell_without_a_log_is_named() {
    let plan = plan(&["rule"], 1);
    let result: CellResult = result(&plan.cells[0], 0.9);
    let outcomes = crate::fixtures::outcomes_of(&plan, vec![result]);
    let report = Report::new(&plan, &outcomes, &crate::fixtures::NOTHING, plan.code).unwrap();
    let source = CellSource {
        plan: &plan,
        outcomes: &outcomes,
        log: &|_| Err("events.jsonl: is gone".to_owned()),
        command: &|_| String::new(),
    };
    assert!(report.to_html(&source).contains("<li>events.jsonl: is gone</li>"));
}
